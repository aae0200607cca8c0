package ops

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Last is what people call the run that was asked for last.
const Last = "last"

// Find returns the id of the run that a person names: by its id, by the
// beginning of it where that is of no other run, or as [Last]. That there is no
// such run is an input fault with [ErrUnknown], and so is one of several.
func (r *Runs) Find(ctx context.Context, name string) (id string, err error) {
	if _, err := r.Get(ctx, name); !errors.Is(err, ErrUnknown) {
		return name, err
	}
	all, err := r.List(ctx)
	if err != nil {
		return "", err
	}
	ids := make([]string, len(all))
	for i, s := range all {
		ids[i] = s.ID
	}
	return Pick(ids, name)
}

// Pick returns which of some ids, the latest last, a person means by a name, as
// [Runs.Find] does.
func Pick(ids []string, name string) (id string, err error) {
	if slices.Contains(ids, name) {
		return name, nil
	}
	if name == Last {
		if len(ids) == 0 {
			return "", errkind.Inputf("the last run is %w: there are no runs yet", ErrUnknown)
		}
		return ids[len(ids)-1], nil
	}
	var found []string
	for _, id := range ids {
		if name != "" && strings.HasPrefix(id, name) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", errkind.Inputf("run %s is %w; `ihc runs` lists those that are", name, ErrUnknown)
	case 1:
		return found[0], nil
	default:
		return "", errkind.Inputf("several runs begin with %s, %s and %s among them: name one with more of its id", name, found[0], found[1])
	}
}
