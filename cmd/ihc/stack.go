package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// stackFlags say whose runs a command is about: those of a running stack, or
// those in a data directory on which nothing runs at the moment.
type stackFlags struct {
	natsFlags
	dir string
}

func (f *stackFlags) add(cmd *cobra.Command) {
	f.natsFlags.add(cmd)
	cmd.Flags().StringVar(&f.dir, "data-dir", "", "`directory` in which \"ihc run\" or \"ihc up\" kept its streams, while nothing runs on it")
}

// open returns a client of the streams and a function that closes it.
func (f *stackFlags) open(ctx context.Context) (*stream.Client, func(), error) {
	if f.dir == "" {
		return f.connect(ctx, false)
	}
	if f.address.URL != "" {
		return nil, nil, errkind.Inputf("--nats names a running stack and --data-dir one that does not run: give one of them")
	}
	if _, err := os.Stat(filepath.Join(f.dir, broker.StreamsDir)); err != nil {
		return nil, nil, errkind.Inputf("--data-dir %s: there are no streams in it", f.dir)
	}
	log := quietLog(false)
	server, err := broker.Start(broker.Config{Dir: f.dir, Sync: true, Log: log})
	if err != nil {
		return nil, nil, err
	}
	nc, err := server.Connect("ihc")
	var client *stream.Client
	if err == nil {
		wait, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		client, err = stream.New(wait, nc, stream.Options{Stage: "ihc", Log: log})
	}
	if err != nil {
		server.Stop(ctx)
		return nil, nil, err
	}
	return client, func() {
		stop, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = client.Close(stop)
		server.Stop(stop)
	}, nil
}

// runs returns the runs of a client that open returned.
func (f *stackFlags) runs(client *stream.Client) *ops.Runs {
	if f.dir != "" {
		return ops.Idle(client)
	}
	return ops.New(client)
}

// advice has the commands that a message names ask where the command did that it
// is about, so that they can be typed as they stand.
func advice(cmd *cobra.Command, text string) string {
	for _, name := range []string{"data-dir", "nats"} {
		f := cmd.Flags().Lookup(name)
		if f == nil || f.Value.String() == "" || strings.Contains(f.Value.String(), "@") { // a password may stand before it
			continue
		}
		for _, lists := range []string{"ihc runs", "ihc dead ls"} {
			text = strings.ReplaceAll(text, "`"+lists+"`", fmt.Sprintf("`%s --%s %s`", lists, name, f.Value))
		}
		break
	}
	return text
}
