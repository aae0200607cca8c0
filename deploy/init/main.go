// Command init makes the pipeline's streams, or brings those that exist to the
// settings of its environment. It is the one step of a deployment that may, and
// stays, so that its health tells whether it is done.
package main

import (
	"context"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

func main() {
	os.Exit(service.MainOf(stream.UserInit, func(c service.Streams) service.Service {
		return service.Service{
			Stage: stream.UserInit,
			Before: func(ctx context.Context, nc *nats.Conn, waits func(error)) error {
				return stream.EnsureTelling(ctx, nc, c.Settings(), waits)
			},
			Run: func(ctx context.Context, _ service.Deps) error { <-ctx.Done(); return nil },
		}
	}))
}
