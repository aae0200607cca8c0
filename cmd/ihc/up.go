package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/services/attributor"
)

func newUpCmd() *cobra.Command {
	var db, out, dir, listen, http string
	cmd := &cobra.Command{
		Use:   "up --db FILE",
		Short: "Keep the whole stack running in this process, for many runs",
		Long: `up runs the four services and a NATS server until it is interrupted. Runs are
asked for with "ihc run --nats", or by publishing a run request:

  nats pub ihc.v1.run.requested '{"start_date":"2023-09-01"}'

The streams are kept in --data-dir: runs that were interrupted go on, and old
ones can be replayed. Scoring is set by the same environment variables as the
attributor's (IHC_API_KEY, IHC_CONV_TYPE_ID, …).`,
		Example: "  ihc up --db shop.db --out report &\n  ihc run --nats nats://127.0.0.1:4222",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if db == "" {
				return errkind.Inputf("name a database with --db FILE")
			}
			config, err := service.FromEnv[attributor.Config]()
			if err != nil {
				return err
			}
			for _, path := range []*string{&db, &out, &dir} {
				if *path, err = filepath.Abs(*path); err != nil {
					return err
				}
			}
			if err := makeWritable(out); err != nil {
				return err
			}
			if _, err := config.ModelParams(""); err != nil {
				return err
			}
			registry := prometheus.NewRegistry()
			p := &pipeline{Database: db, Out: out, Dir: dir, Keep: true, Listen: listen, Attributor: config, Log: service.Log(slog.LevelInfo), Registry: registry}
			running, _, err := p.start(cmd.Context())
			if err != nil {
				return err
			}
			defer p.stop()
			health := &service.Health{}
			failed := make(chan error, 1)
			if http != "" {
				go func() { failed <- health.Serve(running, http, registry) }()
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "ready: NATS at %s, database %s, report in %s\n", p.server.URL(), db, out)
			select {
			case err := <-failed:
				return err
			case <-running.Done():
			}
			if cause := context.Cause(running); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&db, "db", "", "SQLite database `file`; it may be put there later")
	fs.StringVar(&out, "out", ".", "`directory` for the report's files")
	fs.StringVar(&dir, "data-dir", "ihc-data", "`directory` for the streams")
	fs.StringVar(&listen, "listen", "127.0.0.1:4222", "`address` of the NATS server")
	fs.StringVar(&http, "http", "", "`address` to serve /healthz, /readyz and /metrics on (default: nowhere)")
	return cmd
}
