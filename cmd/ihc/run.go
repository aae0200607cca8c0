package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/store/open"
)

// runFlags are the flags of `ihc run`.
type runFlags struct {
	requestFlags
	natsFlags
	lifeFlags
	records          recordFlags
	detach           bool
	db, out, dataDir string
	apiURL, payloads string
	concurrency      int
	rate             float64
	verbose          bool
	dryRun           bool
	profile          string

	flags   *pflag.FlagSet
	changed func(flag string) bool // whether one was given
}

func newRunCmd() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run [FILE]",
		Short: "Attribute a database's conversions and report by channel",
		Long: `run takes a SQLite database with the tables session_sources, conversions and
session_costs through the whole pipeline, once: it fills the tables
attribution_customer_journey and channel_reporting and writes
report.html, channel_reporting.csv and reconciliation.json to --out.

Everything runs in this process, on an embedded NATS server. With --nats (or
NATS_URL and no --db) the request is published to a running stack instead,
and its run is followed to the end.

Where --run-id names a run that there is already, in --data-dir or on the
stack, that run is followed, or its result given, and no other is begun: a
scheduler that tries again need not know how far the first try came.

` + exitCodes,
		Example: `  ihc run --db shop.db
  ihc run --db shop.db --start-date 2023-09 --end-date 2023-09 --out september
  ihc run --db shop.db --start-date -7d --end-date yesterday --timezone Europe/Berlin
  IHC_API_KEY=… ihc run --db shop.db --conv-type-id my_type --max-sessions 3000
  ihc run --nats nats://127.0.0.1:4222 --start-date 2023-09-01`,
		Args: databaseArgument(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.requestFlags.add(cmd)
	f.natsFlags.add(cmd)
	f.lifeFlags.add(cmd)
	f.records.add(cmd)
	fs := cmd.Flags()
	f.flags, f.changed = fs, fs.Changed
	fs.StringVar(&f.request.RunId, "run-id", "", "`name` of the run: a run that has it already is followed instead (default: one made of the time); keeps the streams, in "+defaultDataDir+" where --data-dir names no other directory")
	fs.BoolVar(&f.detach, "detach", false, "with --nats: print the run's id and do not follow it")
	fs.StringVar(&f.db, "db", "", "SQLite database `file`, or postgres://… (IHC_DB)")
	fs.StringVar(&f.out, "out", ".", "`directory` for the report's files (IHC_OUT)")
	fs.StringVar(&f.dataDir, "data-dir", "", "`directory` to keep the streams in, so that an interrupted run goes on (default: a temporary one)")
	fs.StringVar(&f.apiURL, "api-url", "", "base `URL` of the IHC API (IHC_API_URL)")
	fs.StringVar(&f.payloads, "payloads", "", "`directory` to save each API request's body in, such as request_payloads")
	fs.IntVar(&f.concurrency, "concurrency", 4, "chunks scored, and API requests sent, at once (IHC_CONCURRENCY)")
	fs.Float64Var(&f.rate, "request-rate", 0, "most API requests a second (IHC_REQUEST_RATE; 0: no bound)")
	fs.BoolVar(&f.dryRun, "dry-run", false, "say what the run would do, as ihc plan does, and what --redistribution would move, and do nothing")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "log what the services do")
	fs.StringVar(&f.profile, "cpu-profile", "", "write a CPU profile to `file`, for go tool pprof")
	_ = fs.MarkHidden("cpu-profile")
	return cmd
}

func (f *runFlags) run(ctx context.Context, out, say io.Writer) (err error) {
	if f.dryRun {
		return f.plan(ctx, out)
	}
	now, err := f.begin()
	if err != nil {
		return err
	}
	if f.profile != "" {
		var profile bytes.Buffer
		if err := pprof.StartCPUProfile(&profile); err != nil {
			return err
		}
		defer func() {
			pprof.StopCPUProfile()
			if failed := atomicfile.WriteBytes(f.profile, 0o644, profile.Bytes()); failed != nil {
				err = errors.Join(err, fmt.Errorf("--cpu-profile: %w", failed))
			}
		}()
	}
	id, report, err := f.execute(ctx, say, now)
	err = named(f.flags, err)
	if err == nil && f.detach {
		return f.detached(out, id)
	}
	return f.conclude(ctx, out, now.since, id, report, err)
}

// execute runs here or on a running stack, and returns the run's id, if it came
// that far, and its report or what kept it from having one.
func (f *runFlags) execute(ctx context.Context, say io.Writer, now following) (id string, report *ihcv1.Report, err error) {
	req, err := f.complete()
	if err != nil {
		return "", nil, err
	}
	remote := f.url(f.db == "")
	if f.db == "" && remote == "" {
		f.db = os.Getenv("IHC_DB")
	}
	if !f.changed("out") {
		f.out = cmp.Or(os.Getenv("IHC_OUT"), f.out)
	}
	switch {
	case f.db != "" && remote != "":
		return "", nil, errkind.Inputf("--db runs here and --nats on a running stack: give one of them")
	case remote != "":
		for _, local := range ofAProcess {
			if f.changed(local) {
				return "", nil, errkind.Inputf("--%s is a setting of the stack that --nats names, not of one run", local)
			}
		}
		return f.remote(ctx, say, req, now)
	case f.db == "":
		return "", nil, errkind.Inputf("name a database with --db FILE, or a running stack with --nats URL")
	case f.detach:
		return "", nil, errkind.Inputf("--detach leaves a run to a running stack: name that with --nats URL")
	}
	if err := open.Database(f.db).Check(ctx); err != nil {
		return "", nil, err // told before anything else is said or begun
	}
	if f.request.GetRunId() != "" {
		f.dataDir = cmp.Or(f.dataDir, defaultDataDir)
	}
	f.failed = "the table pipeline_outcomes of the database has each with its reason"
	if f.dataDir != "" {
		f.failed = fmt.Sprintf("`ihc status last --failed --data-dir %s` lists them", f.dataDir)
	}
	config, err := f.attributor()
	if err != nil {
		return "", nil, err
	}
	if err := chooseModel(ctx, say, &config, req); err != nil {
		return "", nil, err
	}
	if req.GetModel() == run.ModelBuiltin && (req.GetMaxRequests() > 0 || config.Payloads != "") {
		_, _ = fmt.Fprintln(say, "note: the built-in model sends no requests: --max-requests and --payloads do nothing")
	}
	return localRun{request: req, config: config, db: f.db, out: f.out, dataDir: f.dataDir, records: f.records,
		log: quietLog(f.verbose), say: say, progress: newProgress(say), life: now, file: f.result}.do(ctx)
}

// attributor returns the scoring settings: flags before the environment.
func (f *runFlags) attributor() (attributor.Config, error) {
	c, err := service.FromEnv[attributor.Config]()
	if err != nil {
		return c, err
	}
	if f.changed("api-url") {
		c.APIURL = f.apiURL
	}
	if f.changed("concurrency") {
		c.Workers = f.concurrency
	}
	if f.changed("request-rate") {
		c.Rate = f.rate
	}
	if f.changed("payloads") {
		c.Payloads = f.payloads
	}
	return c, c.Validate()
}

// remote publishes the request to a running stack and follows its run.
func (f *runFlags) remote(ctx context.Context, say io.Writer, req *ihcv1.RunRequest, now following) (id string, report *ihcv1.Report, err error) {
	client, done, err := f.connect(ctx, f.verbose)
	if err != nil {
		return "", nil, err
	}
	defer done()
	runs := ops.New(client)
	if id, err = runs.Start(ctx, req); err != nil {
		return id, nil, err
	}
	if f.detach {
		return id, nil, nil
	}
	report, err = now.watch(ctx, runs, id, newProgress(say))
	return id, report, err
}

// detached prints a run that was asked for and is not followed.
func (f *runFlags) detached(out io.Writer, id string) error {
	asked := run.Result{RunID: id, Status: run.StatusRequested}
	err := writeResult(f.result, asked)
	if f.json {
		return errors.Join(err, printJSON(out, asked))
	}
	_, _ = fmt.Fprintln(out, id)
	return err
}

// chooseModel settles what scores the run, says so in one line, and finds out
// what would keep it from scoring before anything is begun.
func chooseModel(ctx context.Context, say io.Writer, c *attributor.Config, req *ihcv1.RunRequest) error {
	why := ""
	if req.GetModel() == "" {
		req.Model = c.DefaultModel()
		why = ", since IHC_API_KEY is not set"
		if req.GetModel() == run.ModelAPI {
			why = ", since IHC_API_KEY is set"
		}
	}
	if run.IsRule(req.GetModel()) {
		_, _ = fmt.Fprintf(say, "scoring with the model %s\n", req.GetModel())
		return nil
	}
	if req.GetModel() == run.ModelBuiltin {
		params, err := c.ModelParams(req.GetModelParams())
		if err != nil {
			return err
		}
		wrapped(say, "scoring with the built-in model, parameters %q%s", params.Name, why)
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
	tell := func() { _, _ = fmt.Fprintf(say, "waiting for the IHC API at %s\n", c.APIURL) }
	if err := retry.Loopback(ctx, retry.Real, c.APIURL, client.Ping, nil, tell); err != nil {
		return errkind.Environmentf("cannot reach the IHC API at %s: %w", c.APIURL, err)
	}
	wrapped(say, "scoring with the IHC API at %s%s", c.APIURL, why)
	return nil
}

// quietLog logs to standard error: everything when asked to, else what a
// person waiting for a run should not miss.
func quietLog(verbose bool) *slog.Logger {
	if verbose {
		return service.Log(slog.LevelInfo)
	}
	return slog.New(slog.DiscardHandler)
}
