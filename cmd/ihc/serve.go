package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/console"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/store/open"
)

// consoleFlags say where the console is served, and to whom.
type consoleFlags struct{ console.Config }

func (f *consoleFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.Listen, "console", "127.0.0.1:8087", "`address` of the pages and the HTTP API")
	fs.StringVar(&f.TokenFile, "console-token-file", "", "`file` with the bearer token that the console asks for; elsewhere than on loopback it needs this or a client CA")
	fs.StringVar(&f.Cert, "console-cert", "", "`file` with the console's certificate (PEM), for HTTPS")
	fs.StringVar(&f.Key, "console-cert-key", "", "`file` with the certificate's key (PEM)")
	fs.StringVar(&f.ClientCA, "console-client-ca", "", "`file` with the authorities (PEM) whose certificates are let in")
	fs.BoolVar(&f.ReadOnly, "console-read-only", false, "a console to look at alone: it starts, cancels, resumes and replays nothing")
	fs.StringVar(&f.Currency, "currency", "", "what amounts are in, as pages show it")
}

// embedded returns the settings of a console beside the services, nil where it
// is switched off, or where the address is taken that nobody asked for.
func (f *consoleFlags) embedded(cmd *cobra.Command, database string) (*console.Config, error) {
	if f.Listen == "" || f.Listen == "off" {
		return nil, nil //nolint:nilnil // none is a usual answer
	}
	f.Database = database
	if err := f.Validate(); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", f.Listen)
	switch {
	case err == nil:
		f.On = l // held, so that no other process takes it meanwhile
		return &f.Config, nil
	case !cmd.Flags().Changed("console"):
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "no console: %s is taken; --console names another address\n", f.Listen)
		return nil, nil //nolint:nilnil // as above
	default:
		return nil, errkind.Environmentf("cannot serve the console on %s (--console): %w", f.Listen, bareNetwork(err))
	}
}

func newServeCmd() *cobra.Command {
	f := &consoleFlags{}
	n := &natsFlags{}
	var http string
	var check, token bool
	cmd := &cobra.Command{
		Use:   "serve --db FILE",
		Short: "Serve the console: pages and an HTTP API over a running stack",
		Long: `serve shows the runs of a stack, the report of a database and where its numbers
come from, as pages for people and under /api/v1 for programs. Runs can be
started, cancelled, resumed and replayed there, unless --console-read-only says
otherwise. The database is only read.

On loopback it asks nobody who he is. Elsewhere it needs a bearer token, or
certificates: --console-token-file, --console-client-ca. "ihc up --console" has
the same console in the process of the services.`,
		Example: `  ihc serve --db shop.db
  ihc serve --db shop.db --console :8087 --console-token-file token --console-cert c.pem --console-cert-key k.pem
  curl http://127.0.0.1:8087/api/v1/runs`,
		Args: databaseArgument(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := service.FromEnv[service.Base]()
			if err != nil {
				return err
			}
			switch {
			case check:
				return service.Probe(cmp.Or(http, base.HTTP))
			case token:
				return printToken(cmd, f.TokenFile)
			}
			if f.Database = cmp.Or(f.Database, os.Getenv("IHC_DB")); f.Database == "" {
				return errkind.Inputf("name a database with --db FILE")
			}
			if f.Database, err = open.Absolute(f.Database); err != nil {
				return err
			}
			if err := f.Validate(); err != nil {
				return err
			}
			address := n.address
			address.URL = cmp.Or(n.url(true), "nats://127.0.0.1:4222")
			address.Password, address.PasswordFile = os.Getenv("NATS_PASSWORD"), os.Getenv("NATS_PASSWORD_FILE")
			log := service.Log(base.LogLevel)
			p := service.Process{Log: log, HTTP: cmp.Or(http, os.Getenv("IHC_HTTP")), Grace: base.Grace,
				Connect: func(stage string, log *slog.Logger) (*nats.Conn, error) {
					return stream.Dial(address, stage, log, true)
				}}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "console: %s, database %s\n", f.URL(), open.Shown(f.Database))
			return p.Run(cmd.Context(), service.New(stream.UserConsole, f.Config, console.Run))
		},
	}
	n.add(cmd)
	f.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.Database, "db", "", "SQLite database `file`, or postgres://… (IHC_DB); it may be put there later")
	fs.StringVar(&http, "http", "", "`address` to serve /healthz, /readyz and /metrics on (IHC_HTTP; default: nowhere)")
	fs.BoolVar(&check, "check", false, "serve nothing, but ask the console whose health is on --http whether it is ready")
	fs.BoolVar(&token, "show-token", false, "serve nothing, but print the token of --console-token-file")
	return cmd
}

// printToken prints the token, for whoever may read its file, and has no other
// way to: the image has no shell.
func printToken(cmd *cobra.Command, file string) error {
	if file == "" {
		return errkind.Inputf("--show-token prints the token of --console-token-file: name it")
	}
	data, err := readFile("--console-token-file", file)
	if err == nil {
		_, err = cmd.OutOrStdout().Write(data)
	}
	return err
}
