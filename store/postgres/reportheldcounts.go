package postgres

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/unit"
)

// outcome is what became of conversions, and how many of them.
type outcome struct {
	name, reason string
	conversions  uint64
	example      string // the least id
	there, left  int64  // of them in range; and without an attribution
	revenue      unit.Sum
	sessions     int64
}

// tally counts conversions by outcome.
type tally map[[2]string]*outcome

// of returns the count of an outcome, with one more conversion.
func (t tally) of(name, reason, conv []byte) *outcome {
	o := t[[2]string{string(name), string(reason)}]
	if o == nil {
		o = &outcome{name: string(name), reason: string(reason), example: string(conv)}
		t[[2]string{o.name, o.reason}] = o
	}
	o.conversions++
	if string(conv) < o.example {
		o.example = string(conv)
	}
	return o
}

// countOutcomes is readOutcomes where all conversions are held.
func (s *summing) countOutcomes(ctx context.Context, h *held) error {
	e, err := s.findEntry(ctx)
	if err != nil || e.run == 0 {
		return err
	}
	all := tally{}
	err = s.raw(ctx, numbered(`SELECT outcome, reason, conv_id, sessions FROM pipeline_outcomes WHERE run = {run}`, e.run), func(row [][]byte) error {
		o := all.of(row[0], row[1], row[2])
		o.sessions += integer(row[3])
		if v := h.found(row[2]); v != nil && v.inRange {
			o.there++
			if !v.attributed {
				o.left++
				o.revenue.Add(v.units)
			}
		}
		return nil
	})
	for _, o := range slices.SortedFunc(maps.Values(all), func(a, b *outcome) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(b.conversions, a.conversions), cmp.Compare(a.reason, b.reason))
	}) {
		s.addOutcome(o)
	}
	return err
}

// countUnattributed is readUnattributed where all conversions are held.
func (s *summing) countUnattributed(ctx context.Context, h *held) error {
	last, err := s.lastOutcomes(ctx)
	if err != nil {
		return err
	}
	all := tally{}
	err = s.raw(ctx, `SELECT v.conv_id, o.outcome, o.reason FROM {conversions} v LEFT JOIN `+last+` o ON o.conv_id = v.conv_id`, func(row [][]byte) error {
		if v := h.found(row[0]); v != nil && v.inRange && !v.attributed {
			all.of(row[1], row[2], row[0]).revenue.Add(v.units)
		}
		return nil
	})
	for _, o := range slices.SortedFunc(maps.Values(all), func(a, b *outcome) int {
		return cmp.Or(cmp.Compare(b.conversions, a.conversions), cmp.Compare(a.name, b.name), cmp.Compare(a.reason, b.reason))
	}) {
		s.addUnattributed(o)
	}
	return err
}
