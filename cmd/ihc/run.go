package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ihc-pipeline/ihc/embedded"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/source"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor"
)

// requestFlags are the flags that become fields of a run request.
type requestFlags struct {
	request                     ihcv1.RunRequest
	redistribution, modelParams string
}

func (f *requestFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.request.StartDate, "start-date", "", "first `date` of the conversions, YYYY-MM-DD, UTC")
	fs.StringVar(&f.request.EndDate, "end-date", "", "last `date` of the conversions, included")
	f.addScoring(cmd)
	fs.Uint32Var(&f.request.MaxSessions, "max-sessions", run.DefaultMaxSessions, "most sessions in a request; longer journeys are excluded")
	fs.Uint32Var(&f.request.MaxJourneys, "max-journeys", run.DefaultMaxJourneys, "most journeys in a request")
	fs.Uint32Var(&f.request.LookbackDays, "lookback-days", 0, "how many `days` before the conversion a session still counts (0: any)")
	fs.BoolVar(&f.request.IncludeSimultaneous, "include-simultaneous", false, "let sessions at the very second of the conversion count")
}

// addScoring adds those that say how to score.
func (f *requestFlags) addScoring(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.request.Model, "model", "", "what scores: builtin or api (default: api if IHC_API_KEY is set, else builtin)")
	fs.StringVar(&f.request.ConvTypeId, "conv-type-id", "", "conversion `type` the API was trained for (IHC_CONV_TYPE_ID)")
	fs.StringVar(&f.redistribution, "redistribution", "", "JSON `file` with the API's redistribution_parameter")
	fs.StringVar(&f.modelParams, "model-params", "", "JSON `file` with parameters of the built-in model")
	fs.Uint64Var(&f.request.MaxRequests, "max-requests", 0, "most requests to send to the API before the run is paused (0: as many as it takes)")
}

// complete reads the files and returns the request as it is to be published.
func (f *requestFlags) complete() (*ihcv1.RunRequest, error) {
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

// runFlags are the flags of `ihc run`.
type runFlags struct {
	requestFlags
	natsFlags
	db, out, dataDir string
	apiURL, payloads string
	concurrency      int
	rate             float64
	json, verbose    bool
	profile          string
}

func newRunCmd() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run --db FILE",
		Short: "Attribute a database's conversions and report by channel",
		Long: `run takes a SQLite database with the tables session_sources, conversions and
session_costs through the whole pipeline, once: it fills the tables
attribution_customer_journey and channel_reporting and writes
channel_reporting.csv and reconciliation.json to --out.

Everything runs in this process, on an embedded NATS server. With --nats (or
NATS_URL and no --db) the request is published to a running stack instead,
and its run is followed to the end.`,
		Example: `  ihc run --db shop.db
  ihc run --db shop.db --start-date 2023-09-01 --end-date 2023-09-30 --out september
  IHC_API_KEY=… ihc run --db shop.db --conv-type-id my_type --max-sessions 3000
  ihc run --nats nats://127.0.0.1:4222 --start-date 2023-09-01`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.requestFlags.add(cmd)
	f.natsFlags.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.db, "db", "", "SQLite database `file` (IHC_DB)")
	fs.StringVar(&f.out, "out", ".", "`directory` for the report's files (IHC_OUT)")
	fs.StringVar(&f.dataDir, "data-dir", "", "`directory` to keep the streams in, so that an interrupted run goes on (default: a temporary one)")
	fs.StringVar(&f.apiURL, "api-url", "", "base `URL` of the IHC API (IHC_API_URL)")
	fs.StringVar(&f.payloads, "payloads", "", "`directory` to save each API request's body in, such as request_payloads")
	fs.IntVar(&f.concurrency, "concurrency", 4, "chunks scored, and API requests sent, at once (IHC_CONCURRENCY)")
	fs.Float64Var(&f.rate, "request-rate", 0, "most API requests a second (IHC_REQUEST_RATE; 0: no bound)")
	fs.BoolVar(&f.json, "json", false, "print the result as one JSON object on standard output")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "log what the services do")
	fs.StringVar(&f.profile, "cpu-profile", "", "write a CPU profile to `file`, for go tool pprof")
	_ = fs.MarkHidden("cpu-profile")
	return cmd
}

func (f *runFlags) run(cmd *cobra.Command) error {
	start := time.Now()
	if f.profile != "" {
		file, err := os.Create(f.profile)
		if err != nil {
			return errkind.Inputf("--cpu-profile: %w", err)
		}
		defer file.Close() //nolint:errcheck // a profile that is cut short says so
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	report, err := f.execute(cmd)
	return conclude(cmd, report, err, f.request.GetRunId(), start, f.json)
}

// conclude prints how a run ended, for people or as JSON, and returns what the
// exit code follows from.
func conclude(cmd *cobra.Command, report *ihcv1.Report, err error, id string, start time.Time, asJSON bool) error {
	if err != nil && !asJSON {
		return err
	}
	if err == nil {
		err = verdict(report)
	}
	if !asJSON {
		printReport(cmd.OutOrStdout(), report, time.Since(start))
		return err
	}
	return errors.Join(err, printJSON(cmd.OutOrStdout(), summary(report, err, id, time.Since(start))))
}

func (f *runFlags) execute(cmd *cobra.Command) (*ihcv1.Report, error) {
	req, err := f.complete()
	if err != nil {
		return nil, err
	}
	remote := f.url(f.db == "")
	if f.db == "" && remote == "" {
		f.db = os.Getenv("IHC_DB")
	}
	if !cmd.Flags().Changed("out") {
		f.out = cmp.Or(os.Getenv("IHC_OUT"), f.out)
	}
	switch {
	case f.db != "" && remote != "":
		return nil, errkind.Inputf("--db runs here and --nats on a running stack: give one of them")
	case remote != "":
		for _, local := range []string{"out", "data-dir", "api-url", "payloads", "concurrency", "request-rate"} {
			if cmd.Flags().Changed(local) {
				return nil, errkind.Inputf("--%s is a setting of the stack that --nats names, not of one run", local)
			}
		}
		return f.remote(cmd, req)
	case f.db == "":
		return nil, errkind.Inputf("name a database with --db FILE, or a running stack with --nats URL")
	}
	db, err := source.Open(cmd.Context(), f.db, source.Read)
	if err != nil {
		return nil, err // told before anything else is said or begun
	}
	_ = db.Close()
	config, err := f.attributor(cmd, req)
	if err != nil {
		return nil, err
	}
	report, err := runLocally(cmd.Context(), cmd, localRun{
		request: req, config: config, db: f.db, out: f.out, dataDir: f.dataDir, log: quietLog(f.verbose), progress: newProgress(cmd.ErrOrStderr()),
	})
	f.request.RunId = req.GetRunId() // a run that failed has its id all the same
	return report, err
}

// attributor returns the scoring settings: flags before the environment.
func (f *runFlags) attributor(cmd *cobra.Command, req *ihcv1.RunRequest) (attributor.Config, error) {
	c, err := service.FromEnv[attributor.Config]()
	if err != nil {
		return c, err
	}
	changed := cmd.Flags().Changed
	if changed("api-url") {
		c.APIURL = f.apiURL
	}
	if changed("concurrency") {
		c.Workers = f.concurrency
	}
	if changed("request-rate") {
		c.Rate = f.rate
	}
	if changed("payloads") {
		c.Payloads = f.payloads
	}
	if err := c.Validate(); err != nil {
		return c, err
	}
	err = chooseModel(cmd.Context(), cmd, &c, req)
	return c, err
}

// chooseModel settles what scores the run, says so in one line, and finds out
// what would keep it from scoring before anything is begun.
func chooseModel(ctx context.Context, cmd *cobra.Command, c *attributor.Config, req *ihcv1.RunRequest) error {
	why := ""
	if req.GetModel() == "" {
		req.Model = c.DefaultModel()
		why = ", since IHC_API_KEY is not set"
		if req.GetModel() == run.ModelAPI {
			why = ", since IHC_API_KEY is set"
		}
	}
	if req.GetModel() == run.ModelBuiltin {
		params, err := c.ModelParams(req.GetModelParams())
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "scoring with the built-in model, parameters %q%s\n", params.Name, why)
		return nil
	}
	switch {
	case c.APIKey == "":
		return errkind.Inputf("the IHC API needs a key: set IHC_API_KEY, or use --model builtin")
	case req.GetConvTypeId() == "" && c.ConvTypeID == "":
		return errkind.Inputf("the IHC API needs a conversion type: use --conv-type-id or set IHC_CONV_TYPE_ID")
	}
	client, err := ihcapi.NewClient(ihcapi.ClientConfig{BaseURL: c.APIURL, Key: string(c.APIKey), Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return errkind.Environmentf("cannot reach the IHC API at %s: %w", c.APIURL, err)
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "scoring with the IHC API at %s%s\n", c.APIURL, why)
	return nil
}

// localRun is one run on an embedded server.
type localRun struct {
	request          *ihcv1.RunRequest
	config           attributor.Config
	db, out, dataDir string
	log              *slog.Logger
	progress         *progress
}

func runLocally(ctx context.Context, cmd *cobra.Command, l localRun) (*ihcv1.Report, error) {
	config, err := embedded.FromEnv(l.config)
	if err == nil {
		err = config.At(l.db, l.out)
	}
	if err == nil {
		err = makeWritable(config.Reporter.Out)
	}
	if err != nil {
		return nil, err
	}
	dir, done, err := dataDir(l.dataDir)
	if err != nil {
		return nil, err
	}
	defer done()
	config.Dir, config.Keep, config.Log = dir, l.dataDir != "", l.log
	p, running, err := embedded.Start(ctx, config)
	if err != nil {
		return nil, err
	}
	defer p.Stop()
	client := p.Client
	id, err := l.resume(running, cmd, client)
	if err != nil {
		return nil, err
	}
	if id == "" {
		id = newRunID()
		l.request.RunId = id
		if err := client.PublishRequest(running, l.request); err != nil {
			return nil, err
		}
	}
	l.request.RunId = id
	report, err := follow(running, client, id, l.progress)
	if cause := embedded.Cause(running); err != nil && cause != nil {
		return nil, cause // a service gave up
	}
	var stop *stoppedError
	if errors.As(err, &stop) && stop.status == statusPaused {
		if l.dataDir != "" {
			return nil, &stoppedError{statusPaused, fmt.Errorf("%w; the same command goes on with run %s", errSpent, id)}
		}
		return nil, &stoppedError{statusPaused, fmt.Errorf("%w; with --data-dir a run can go on later", errSpent)}
	}
	if err != nil && ctx.Err() != nil {
		if l.dataDir != "" {
			return nil, fmt.Errorf("interrupted; the same command goes on with run %s", id)
		}
		return nil, errors.New("interrupted; with --data-dir a run can go on later")
	}
	return report, err
}

// resume returns the id of an unfinished run that a kept data directory holds,
// "" if there is none. One with other settings is an input fault, since two
// runs that nobody asked for at once would write over each other.
func (l *localRun) resume(ctx context.Context, cmd *cobra.Command, client *stream.Client) (string, error) {
	if l.dataDir == "" {
		return "", nil
	}
	runs, err := listRuns(ctx, client, "*")
	if err != nil {
		return "", err
	}
	for _, r := range runs {
		if r.Ended() || r.Request == nil {
			continue
		}
		if !run.Same(r.Request, l.request) {
			return "", errkind.Inputf("data directory %s holds run %s, unfinished and with other settings (%s): finish it with those, or use another --data-dir",
				l.dataDir, r.ID, run.Describe(r.Request))
		}
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "going on with run %s\n", r.ID)
		return r.ID, l.renew(ctx, client, r)
	}
	return "", nil
}

// renew gives a run that goes on the budget of requests that is asked for now,
// if it has used its own up or that was another.
func (l *localRun) renew(ctx context.Context, client *stream.Client, r *runState) error {
	was, now := r.MaxRequests, l.request.GetMaxRequests()
	switch {
	case r.Status == statusPaused, r.Request.GetMaxRequests() > 0 && was != now:
		return resumeRun(ctx, client, r.ID, now)
	case was != now:
		return errkind.Inputf("run %s was begun without --max-requests: let it finish without, or use another --data-dir", r.ID)
	}
	return nil
}

// remote publishes the request to a running stack and follows its run.
func (f *runFlags) remote(cmd *cobra.Command, req *ihcv1.RunRequest) (*ihcv1.Report, error) {
	client, closeClient, err := f.connect(cmd.Context(), f.verbose)
	if err != nil {
		return nil, err
	}
	defer closeClient()
	req.RunId = newRunID()
	f.request.RunId = req.GetRunId()
	if err := client.PublishRequest(cmd.Context(), req); err != nil {
		return nil, err
	}
	return watch(cmd, client, req.GetRunId())
}

// quietLog logs to standard error: everything when asked to, else what a
// person waiting for a run should not miss.
func quietLog(verbose bool) *slog.Logger {
	if verbose {
		return service.Log(slog.LevelInfo)
	}
	return slog.New(slog.DiscardHandler)
}
