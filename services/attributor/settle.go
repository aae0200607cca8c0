package attributor

import (
	"bytes"
	"context"
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor/internal/scoring"
)

// A run is scored by one thing from its first chunk to its last (invariant 12).
// What that is is settled once, of the request and the settings of whichever
// attributor was asked, and holds for all of them, whatever their own settings.

// Settle returns what a run with the request is scored with by these settings.
// That the API is asked for and there is no key is an environment fault, that
// there is no conversion type an input fault.
func (c Config) Settle(r *ihcv1.RunRequest) (*ihcv1.Scoring, error) {
	model := r.GetModel()
	if model == "" {
		model = c.DefaultModel()
	}
	s := &ihcv1.Scoring{Model: model, RedistributionParameter: r.GetRedistributionParameter()}
	if run.IsRule(model) {
		return s, nil
	}
	if model == run.ModelBuiltin || r.GetLongJourneys() == run.LongBuiltin {
		params, err := c.ModelParams(r.GetModelParams())
		if err != nil {
			return nil, err
		}
		s.ModelParams, s.Formulas = string(params.JSON()), ihcmodel.Formulas
	}
	if model == run.ModelBuiltin {
		return s, nil
	}
	s.ApiUrl, s.ConvTypeId = run.Address(c.APIURL), r.GetConvTypeId()
	if s.ConvTypeId == "" {
		s.ConvTypeId = c.ConvTypeID
	}
	switch {
	case c.APIKey == "":
		return nil, errkind.Environmentf("the run asks for the IHC API, but the attributor has no key: set IHC_API_KEY")
	case s.ConvTypeId == "":
		return nil, errkind.Inputf("the IHC API needs a conversion type: set IHC_CONV_TYPE_ID or the request's conv_type_id")
	}
	return s, nil
}

// settle is [Config.Settle] for a run that begins now.
func (a *attributor) settle(r *ihcv1.RunRequest) (*ihcv1.Scoring, error) {
	cfg, _, err := a.api()
	if err != nil {
		return nil, err
	}
	return cfg.Settle(r)
}

// answer tells the extractor what a run would be scored with.
func (a *attributor) answer(r *ihcv1.RunRequest) *ihcv1.ScoringAnswer {
	s, err := a.settle(r)
	if err != nil {
		return &ihcv1.ScoringAnswer{Refused: run.Failed(r.GetRunId(), stream.StageAttributor, err).GetFailed()}
	}
	return &ihcv1.ScoringAnswer{Scoring: s}
}

// settled returns what scores a run that was accepted.
func (a *attributor) settled(ctx context.Context, accepted *ihcv1.RunAccepted, id string) (*ihcv1.Scoring, error) {
	if s := accepted.GetScoring(); s != nil {
		return s, nil
	}
	return a.Bus.Settle(ctx, id, accepted.GetAsked(), func() (*ihcv1.Scoring, error) { return a.settle(accepted.GetRequest()) })
}

// lackError says what this attributor lacks to score a run as was settled.
// Another one may have it, and so may this one when it is started again.
type lackError struct{ error }

func lack(s *ihcv1.Scoring, format string, args ...any) error {
	return &lackError{errkind.Environmentf("the run is scored by %s, and this attributor %s", run.DescribeScoring(s), fmt.Sprintf(format, args...))}
}

// scorer returns what does what was settled for a run with the request, or a
// [lackError].
func (a *attributor) scorer(s *ihcv1.Scoring, r *ihcv1.RunRequest) (scoring.Scorer, error) {
	if run.IsRule(s.GetModel()) {
		return scoring.NewRule(s.GetModel())
	}
	redistribution := run.Redistribution(s.GetRedistributionParameter())
	var builtin *scoring.Builtin
	if s.GetModel() == run.ModelBuiltin || s.GetModelParams() != "" {
		var err error
		if builtin, err = builtinOf(s, redistribution); err != nil {
			return nil, err
		}
	}
	if s.GetModel() == run.ModelBuiltin {
		return builtin, nil
	}
	cfg, calls, err := a.api()
	switch {
	case err != nil:
		return nil, err
	case calls == nil:
		return nil, lack(s, "has no key: set IHC_API_KEY")
	case run.Address(cfg.APIURL) != s.GetApiUrl():
		return nil, lack(s, "asks the one at %s: set IHC_API_URL", run.Address(cfg.APIURL))
	}
	api := &scoring.API{Calls: calls, ConvTypeID: s.GetConvTypeId(), Redistribution: redistribution, Spend: a.spend(r.GetMaxRequests())}
	if builtin == nil {
		return api, nil
	}
	return scoring.ByStrategy{Scorer: api, Builtin: builtin}, nil
}

// builtinOf returns the built-in model as it was settled: for all journeys, or
// for those too long for the API.
func builtinOf(s *ihcv1.Scoring, redistribution *ihcmodel.Redistribution) (*scoring.Builtin, error) {
	if s.GetFormulas() != ihcmodel.Formulas {
		return nil, lack(s, "has version %d of its formulas, not %d: let the run end with the release it was begun with, or cancel it", ihcmodel.Formulas, s.GetFormulas())
	}
	params, err := ihcmodel.ParseParams([]byte(s.GetModelParams()))
	if err != nil {
		return nil, errkind.Inputf("model parameters of the run: %w", err)
	}
	m, err := ihcmodel.New(params)
	if err != nil {
		return nil, errkind.As(errkind.Input, err)
	}
	return scoring.NewBuiltin(m, redistribution), nil
}

// checkSettled returns an error if a chunk is to be scored otherwise than its run.
func (s *settings) checkSettled(chunk *ihcv1.JourneyChunk) error {
	if want := chunk.GetScoring(); len(want) > 0 && !bytes.Equal(want, s.digest) {
		return errkind.Inputf("chunk %d of run %s is to be scored otherwise than was settled for the run: ask for the run again", chunk.GetChunk(), chunk.GetRunId())
	}
	return nil
}
