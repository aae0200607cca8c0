package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// requestFlags are the flags that become fields of a run request.
type requestFlags struct {
	dates                       dateFlags
	request                     ihcv1.RunRequest
	redistribution, modelParams string
}

func (f *requestFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	f.dates.add(cmd, "the conversions")
	f.addScoring(cmd)
	f.addReport(cmd)
	fs.Uint32Var(&f.request.MaxSessions, "max-sessions", run.DefaultMaxSessions, "most sessions in a request to the API")
	fs.StringVar(&f.request.LongJourneys, "long-journeys", "", "what becomes of journeys with more: "+strings.Join(run.LongJourneys(), ", ")+" (IHC_LONG_JOURNEYS; default: "+run.DefaultLongJourneys+")")
	fs.Uint32Var(&f.request.MaxJourneys, "max-journeys", run.DefaultMaxJourneys, "most journeys in a request")
	fs.Uint32Var(&f.request.LookbackDays, "lookback-days", 0, "how many `days` before the conversion a session still counts (0: any)")
	fs.BoolVar(&f.request.IncludeSimultaneous, "include-simultaneous", false, "let sessions at the very second of the conversion count")
	fs.BoolVar(&f.request.Full, "full", false, "score journeys again that were scored before and are the same")
	fs.Uint32Var(&f.request.MaxAgeDays, "max-age", 0, "score such journeys again after so many `days` (0: never)")
}

// addReport adds those that say what the report tells.
func (f *requestFlags) addReport(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.request.Refunds, "refunds", "", "how ihc and CPO have a conversion with negative revenue: count (one more) or subtract (one less) (default count)")
}

// addScoring adds those that say how to score.
func (f *requestFlags) addScoring(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.request.Model, "model", "", "what scores: builtin or api (default: api if IHC_API_KEY is set, else builtin), or a model of ihc models, such as linear, time-decay=14, position=20/20/60, last-non-direct=Direct")
	fs.StringVar(&f.request.ConvTypeId, "conv-type-id", "", "conversion `type` the API was trained for (IHC_CONV_TYPE_ID)")
	fs.StringVar(&f.redistribution, "redistribution", "", "JSON `file` with the API's redistribution_parameter")
	fs.StringVar(&f.modelParams, "model-params", "", "JSON `file` with parameters of the built-in model")
	fs.Uint64Var(&f.request.MaxRequests, "max-requests", 0, "most requests to send to the API before the run is paused (0: as many as it takes)")
}

// complete reads the files and returns the request as it is to be published.
func (f *requestFlags) complete() (_ *ihcv1.RunRequest, err error) {
	if f.dates.zone != "" { // of a command that has them
		if f.request.StartDate, f.request.EndDate, err = f.dates.resolve(time.Now()); err != nil {
			return nil, err
		}
	}
	if f.redistribution != "" {
		data, err := readFile("--redistribution", f.redistribution)
		if err != nil {
			return nil, err
		}
		if _, err := ihcmodel.ParseRedistribution(data); err != nil {
			return nil, errkind.Inputf("--redistribution %s: %w", f.redistribution, err)
		}
		f.request.RedistributionParameter = &ihcv1.RedistributionParameter{}
		if err := protojson.Unmarshal(data, f.request.GetRedistributionParameter()); err != nil {
			return nil, errkind.Inputf("--redistribution %s: %w", f.redistribution, err)
		}
	}
	if f.modelParams != "" {
		data, err := readFile("--model-params", f.modelParams)
		if err != nil {
			return nil, err
		}
		if _, err := ihcmodel.ParseParams(data); err != nil {
			return nil, errkind.Inputf("--model-params %s: %w", f.modelParams, err)
		}
		f.request.ModelParams = string(data)
	}
	return run.Complete(&f.request)
}

func readFile(flag, path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, errkind.Inputf("%s: %w", flag, err)
	}
	return data, nil
}
