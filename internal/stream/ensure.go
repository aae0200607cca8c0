package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/retry"
)

// assembling is how long the servers of a cluster may take to find one another.
const assembling = time.Minute

// EnsureOn calls [Ensure] on nc and waits, for as long as ctx lives, for a
// server that is still starting. A server that is no cluster of as many as there
// are to be replicas is an environment fault: at once where it is none, after a
// minute where some of it may be starting yet.
func EnsureOn(ctx context.Context, nc *nats.Conn, s Settings) error {
	return EnsureTelling(ctx, nc, s, func(error) {})
}

// EnsureTelling is [EnsureOn] that tells at each try what it waits for.
func EnsureTelling(ctx context.Context, nc *nats.Conn, s Settings, waits func(error)) error {
	return ensureOn(ctx, nc, s, assembling, waits)
}

func ensureOn(ctx context.Context, nc *nats.Conn, s Settings, patience time.Duration, waits func(error)) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	begun := time.Now()
	passes := func(err error) bool {
		again := Transient(err)
		switch {
		case is(err, noCluster):
			return false
		case is(err, noPeers), is(err, noResources) && s.Replicas > 1:
			again = time.Since(begun) < patience
		}
		if again {
			waits(fmt.Errorf("NATS does not take the streams yet: %w", err))
		}
		return again
	}
	err = retry.Do(ctx, retry.Real, retry.Setup, func(ctx context.Context) error { return Ensure(ctx, js, s) }, passes)
	switch {
	case is(err, noCluster):
		return errkind.Environmentf("IHC_REPLICAS is %d, but the NATS server is no cluster: set 1, or run %d servers (deploy/compose.cluster.yaml)", s.Replicas, s.Replicas)
	case is(err, noPeers), is(err, noResources) && s.Replicas > 1:
		return errkind.Environmentf("IHC_REPLICAS is %d, but the NATS cluster has not as many servers with JetStream that are up and have room: start the others, or set fewer", s.Replicas)
	case Transient(err): // then ctx has ended
		return errkind.Environmentf("JetStream does not answer: %w", err)
	}
	return err
}

// What a server says to streams with more replicas than it can keep. Codes of
// nats-server, which the client has no names for.
const (
	noPeers     jetstream.ErrorCode = 10005
	noResources jetstream.ErrorCode = 10023
	noCluster   jetstream.ErrorCode = 10074
)

func is(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}
