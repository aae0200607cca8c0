package run

import (
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Which stored messages a replay starts from.
const (
	FromJourneys = "journeys"
	FromResults  = "results"
)

// RequestsOf returns how many requests a run has sent whose results came of so
// many: none, where it writes again what another run has.
func RequestsOf(r *ihcv1.RunRequest, requests uint64) uint64 {
	if r.GetReplayFrom() == FromResults {
		return 0
	}
	return requests
}

// checkReplay says what is wrong with a request as that of a replay.
func checkReplay(r *ihcv1.RunRequest) error {
	of, from := r.GetReplayOf(), r.GetReplayFrom()
	switch {
	case of == "" && from == "":
		return nil
	case of == "" || from == "":
		return errkind.Inputf("a replay names both replay_of (a run) and replay_from (%q or %q)", FromJourneys, FromResults)
	case !ValidID(of):
		return errkind.Inputf("replay_of %q is no run id", of)
	case of == r.GetRunId():
		return errkind.Inputf("run %s cannot replay itself: leave run_id empty or choose a new one", of)
	case from != FromJourneys && from != FromResults:
		return errkind.Inputf("replay_from %q: use %q or %q", from, FromJourneys, FromResults)
	case from == FromResults:
		return checkUnscored(r)
	}
	return nil
}

// checkUnscored refuses settings of scoring where nothing is scored.
func checkUnscored(r *ihcv1.RunRequest) error {
	for _, setting := range []struct {
		name string
		set  bool
	}{
		{"model", r.GetModel() != ""},
		{"conv_type_id", r.GetConvTypeId() != ""},
		{"redistribution_parameter", r.GetRedistributionParameter() != nil},
		{"model_params", r.GetModelParams() != ""},
		{"max_requests", r.GetMaxRequests() != 0},
	} {
		if setting.set {
			return errkind.Inputf("%s says how to score, and results are scored already: use replay_from %q", setting.name, FromJourneys)
		}
	}
	return nil
}

// Replay returns what is to be announced of a replay, the settings it has and
// where its results are, and the run under whose name the messages are stored
// that it starts from. The origin's state decides: it is an input fault if it
// was not extracted to its end. The replay's request is one that [Complete]
// made.
func Replay(origin *State, replay *ihcv1.RunRequest) (announce *ihcv1.RunAccepted, stored string, err error) {
	if err := Replayable(origin); err != nil {
		return nil, "", err
	}
	if n := origin.Planned.GetCounts().GetReused(); n > 0 && rescores(replay) {
		return nil, "", errkind.Inputf("run %s used %d attributions of earlier runs, so not all its journeys are in its messages and they cannot be scored otherwise: ask for a run of its own, with full", origin.ID, n)
	}
	announce = &ihcv1.RunAccepted{Request: replayed(origin.Request, replay), Database: origin.Database}
	if !rescores(replay) {
		announce.Scoring = origin.Scoring
	}
	stored = origin.ID
	if origin.ResultsRun != "" {
		stored = origin.ResultsRun // the origin had no messages of its own
	}
	if replay.GetReplayFrom() == FromResults {
		announce.ResultsRun = stored
	}
	return announce, stored, nil
}

// rescores says whether a replay names anything of what scores it.
func rescores(r *ihcv1.RunRequest) bool {
	return r.GetModel() != "" || r.GetConvTypeId() != "" || r.GetModelParams() != "" || r.GetRedistributionParameter() != nil
}

// ToSettle returns the request by which it is settled what scores a replay that
// names something of it: the rest is as it was settled for the origin. announce
// is that of [Replay].
func ToSettle(origin *State, announce *ihcv1.RunAccepted) *ihcv1.RunRequest {
	r := proto.CloneOf(announce.GetRequest())
	was := origin.Scoring
	if r.GetModel() == "" {
		r.Model = was.GetModel()
	}
	if r.GetModel() != was.GetModel() {
		return r
	}
	if r.GetConvTypeId() == "" {
		r.ConvTypeId = was.GetConvTypeId()
	}
	if r.GetModelParams() == "" {
		r.ModelParams = was.GetModelParams()
	}
	return r
}

// Replayable returns nil for a run that can be replayed, and for any other an
// input fault that says why not.
func Replayable(origin *State) error {
	if origin.Planned == nil {
		return errkind.Inputf("run %s was not extracted to its end (it is %s), so it cannot be replayed", origin.ID, origin.Status())
	}
	return nil
}

// replayed returns the request of a replay of origin, whose settings hold
// where replay itself sets none. What decides which journeys there are (range,
// limits, lookback) is always the origin's, since its chunks are used again.
func replayed(origin, replay *ihcv1.RunRequest) *ihcv1.RunRequest {
	r := &ihcv1.RunRequest{}
	proto.Merge(r, origin)
	r.RunId, r.ReplayOf, r.ReplayFrom = replay.GetRunId(), replay.GetReplayOf(), replay.GetReplayFrom()
	r.MaxRequests = replay.GetMaxRequests()
	if replay.GetRefunds() != "" {
		r.Refunds = replay.GetRefunds()
	}
	if replay.GetReplayFrom() == FromResults {
		return r // what was scored is scored: its model stays
	}
	if replay.GetModel() != "" {
		r.Model = replay.GetModel()
	}
	if replay.GetConvTypeId() != "" {
		r.ConvTypeId = replay.GetConvTypeId()
	}
	if replay.GetModelParams() != "" {
		r.ModelParams = replay.GetModelParams()
	}
	if replay.GetRedistributionParameter() != nil {
		r.RedistributionParameter = replay.GetRedistributionParameter()
	}
	return r
}
