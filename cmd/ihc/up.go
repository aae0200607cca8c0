package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/embedded"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/services/reporter"
	"github.com/ihc-pipeline/ihc/store/open"
)

func newUpCmd() *cobra.Command {
	var db, out, dir, listen, http string
	serving := consoleFlags{}
	records := recordFlags{}
	cmd := &cobra.Command{
		Use:   "up [FILE]",
		Short: "Keep the whole stack running in this process, for many runs",
		Long: `up runs the four services and a NATS server until it is interrupted. Runs are
asked for with "ihc run --nats", or by publishing a run request:

  nats pub ihc.v1.run.requested '{"start_date":"2023-09-01"}'

The console, pages and an HTTP API, is at --console ("off" for none).

The streams are kept in --data-dir: runs that were interrupted go on, and old
ones can be replayed. Everything else is set by the environment variables of the
services (IHC_API_KEY, IHC_CONV_TYPE_ID, IHC_KEEP_DAYS, …).`,
		Example: "  ihc up --db shop.db --out report &\n  ihc run --nats nats://127.0.0.1:4222",
		Args:    databaseArgument(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if db = cmp.Or(db, os.Getenv("IHC_DB")); db == "" {
				return errkind.Inputf("name a database with --db FILE")
			}
			c, err := upConfig(db, cmp.Or(out, os.Getenv("IHC_OUT"), "."), dir)
			if err != nil {
				return err
			}
			if err := records.set(&c.Reporter); err != nil {
				return err
			}
			c.Keep, c.Listen, c.HTTP = true, listen, cmp.Or(http, os.Getenv("IHC_HTTP"))
			if err := canListen(cmd.Context(), c.HTTP); err != nil {
				return err
			}
			if c.Console, err = serving.embedded(cmd, c.Writer.Database); err != nil {
				return err
			}
			p, running, err := embedded.Start(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer p.Stop()
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "ready: NATS at %s, database %s, report in %s\n", p.URL(), open.Shown(c.Writer.Database), c.Reporter.Out)
			if c.Console != nil {
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "console: %s\n", c.Console.URL())
			}
			<-running.Done()
			return embedded.Cause(running)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&db, "db", "", "SQLite database `file`, or postgres://… (IHC_DB); it may be put there later")
	fs.StringVar(&out, "out", "", "`directory` for the report's files (IHC_OUT; default: here)")
	fs.StringVar(&dir, "data-dir", defaultDataDir, "`directory` for the streams")
	fs.StringVar(&listen, "listen", "127.0.0.1:4222", "`address` of the NATS server")
	serving.add(cmd)
	records.add(cmd)
	fs.StringVar(&http, "http", "", "`address` to serve /healthz, /readyz and /metrics on (IHC_HTTP; default: nowhere)")
	return cmd
}

// canListen finds out before anything is begun that an address is taken.
func canListen(ctx context.Context, address string) error {
	if address == "" {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return errkind.Environmentf("cannot serve health and metrics on %s (--http): %w", address, bareNetwork(err))
	}
	return listener.Close()
}

// upConfig returns the settings of the environment for a database, a directory
// for the report and one for the streams, and finds out now what would keep
// them from being used.
func upConfig(db, out, dir string) (embedded.Config, error) {
	scoring, err := service.FromEnv[attributor.Config]()
	if err != nil {
		return embedded.Config{}, err
	}
	c, err := embedded.FromEnv(scoring)
	if err == nil {
		err = c.At(db, out)
	}
	if err == nil {
		c.Dir, err = filepath.Abs(dir)
	}
	if err == nil {
		err = makeWritable(c.Reporter.Out, reporter.Files()...)
	}
	if err == nil {
		err = keepsStreams(c.Dir)
	}
	if err == nil {
		_, err = scoring.ModelParams("")
	}
	c.Log = service.Log(c.Base.LogLevel)
	return c, err
}
