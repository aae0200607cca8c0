package stream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A question to the server is asked again where the answer does not come: one
// that was lost with a connection never will, and whoever asks may have hours to
// wait for it.
const (
	answerWait  = 4 * time.Second
	answerTries = 3
)

// answered returns what ask returns. It may be called several times, with a
// context that ends before ctx does, and so must only read.
func answered[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	for try := 1; ; try++ {
		once, cancel := context.WithTimeout(ctx, answerWait)
		v, err := ask(once)
		cancel()
		late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
		if !late || try == answerTries || ctx.Err() != nil {
			return v, err
		}
	}
}

func (c *Client) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	return answered(ctx, func(ctx context.Context) (jetstream.Stream, error) { return c.js.Stream(ctx, name) })
}

func valueOf(ctx context.Context, kv jetstream.KeyValue, key string) (jetstream.KeyValueEntry, error) {
	return answered(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return kv.Get(ctx, key) })
}

func consumerOf(ctx context.Context, js jetstream.JetStream, of Consumer) (jetstream.Consumer, error) {
	return answered(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return js.Consumer(ctx, of.Stream, of.Durable)
	})
}
