package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/spf13/cobra"
)

// natsFlags say which running stack a command talks to.
type natsFlags struct {
	address stream.Address
	say     func() io.Writer // for people
}

func (f *natsFlags) add(cmd *cobra.Command) {
	f.say = cmd.ErrOrStderr
	fs := cmd.Flags()
	fs.StringVar(&f.address.URL, "nats", "", "`URL` of a running stack's NATS server (NATS_URL)")
	fs.StringVar(&f.address.User, "nats-user", os.Getenv("NATS_USER"), "NATS user (NATS_USER)")
	fs.StringVar(&f.address.Creds, "nats-creds", os.Getenv("NATS_CREDS"), "NATS credentials `file` (NATS_CREDS)")
	fs.StringVar(&f.address.TLS.CA, "nats-ca", os.Getenv("NATS_CA"), "`file` with the authorities of NATS' certificate (NATS_CA)")
	fs.StringVar(&f.address.TLS.Cert, "nats-cert", os.Getenv("NATS_CERT"), "`file` with the certificate to show NATS (NATS_CERT)")
	fs.StringVar(&f.address.TLS.Key, "nats-key", os.Getenv("NATS_KEY"), "`file` with its key (NATS_KEY)")
}

// url returns where the stack is: the flag or, where that is fitting, the
// environment.
func (f *natsFlags) url(environment bool) string {
	if f.address.URL == "" && environment {
		return os.Getenv("NATS_URL")
	}
	return f.address.URL
}

// connect returns a client of the stack and a function that closes it. A stack
// on this machine, which may have been started a moment ago, is waited for.
func (f *natsFlags) connect(ctx context.Context, verbose bool) (*stream.Client, func(), error) {
	a := f.address
	if a.URL = f.url(true); a.URL == "" {
		a.URL = "nats://127.0.0.1:4222"
	}
	a.Password, a.PasswordFile = os.Getenv("NATS_PASSWORD"), os.Getenv("NATS_PASSWORD_FILE")
	log := quietLog(verbose)
	nc, err := stream.DialSoon(ctx, a, "ihc", log, func() {
		_, _ = fmt.Fprintf(f.say(), "waiting for NATS at %s\n", a.Shown())
	})
	if err != nil {
		return nil, nil, err
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	late := time.AfterFunc(time.Second, func() {
		_, _ = fmt.Fprintf(f.say(), "waiting for the pipeline's streams on %s\n", a.Shown())
	})
	defer late.Stop()
	client, err := stream.New(wait, nc, stream.Options{Stage: "ihc", Log: log, Refused: func(why error) {
		_, _ = fmt.Fprintf(f.say(), "waiting for NATS at %s to take a message: %v; `ihc forget` frees room\n", a.Shown(), why)
	}})
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return client, func() {
		drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = client.Close(drain)
	}, nil
}
