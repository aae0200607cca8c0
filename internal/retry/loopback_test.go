package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/retry"
)

var errRefused = fmt.Errorf("dial: %w", syscall.ECONNREFUSED)

func TestAServerOfThisMachineIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(3 * time.Second)
		told := 0
		err := retry.Loopback(t.Context(), retry.Real, "nats://localhost:4222", func(context.Context) error {
			if time.Now().Before(up) {
				return errRefused
			}
			return nil
		}, nil, func() { told++ })
		require.NoError(t, err)
		require.Equal(t, 1, told)
	})
}

func TestAServerThatNeverComesIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:4222", "http://[::1]:1/v1", "nats://localhost, nats://127.8.8.8:9"} {
		synctest.Test(t, func(t *testing.T) {
			begin, told := time.Now(), 0
			err := retry.Loopback(t.Context(), retry.Real, address, func(context.Context) error { return errRefused }, nil, func() { told++ })
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			require.GreaterOrEqual(t, time.Since(begin), 5*time.Second) // on the bubble's clock
			require.Equal(t, 1, told)
		})
	}
}

func TestOthersAreTriedOnce(t *testing.T) {
	t.Parallel()
	mistake := errors.New("mistake")
	for _, c := range []struct {
		address string
		err     error
	}{
		{"nats://example.org:4222", errRefused},
		{"nats://127.0.0.1:4222,nats://10.0.0.1:4222", errRefused},
		{"http://localhost.example", errRefused},
		{"http://[", errRefused},
		{"", errRefused},
		{"127.0.0.1:4222", mistake},
		{"127.0.0.1:4222", &net.DNSError{}},
		{"127.0.0.1:4222", nil},
	} {
		tries := 0
		err := retry.Loopback(t.Context(), retry.Real, c.address, func(context.Context) error { tries++; return c.err }, nil, nil)
		require.Equal(t, c.err, err)
		require.Equal(t, 1, tries, c.address)
	}
}

func TestWaitingForThisMachineEndsWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	err := retry.Loopback(ctx, retry.Real, "127.0.0.1:1", func(context.Context) error { cancel(); return errRefused }, nil, nil)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}
