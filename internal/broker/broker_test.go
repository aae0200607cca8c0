package broker

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// streams starts a server on dir, puts one more message into a stream of it,
// and returns the server and how many messages the stream has then.
func streams(t *testing.T, dir string) (*Server, uint64) {
	t.Helper()
	s, err := Start(Config{Dir: dir})
	require.NoError(t, err)
	nc, err := s.Connect("test")
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Storage: jetstream.FileStorage})
	require.NoError(t, err)
	ack, err := js.Publish(t.Context(), "s", []byte("x"))
	require.NoError(t, err)
	return s, ack.Sequence
}

func TestStopKeepsAndDiscardDoesNot(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	for i, c := range []struct {
		end  func(*Server, context.Context)
		then uint64
	}{{(*Server).Stop, 1}, {(*Server).Discard, 2}, {(*Server).Stop, 1}, {(*Server).Stop, 2}} {
		s, n := streams(t, dir)
		require.Equal(t, c.then, n, i)
		c.end(s, ctx)
	}
}

// What the services log of their connection is where others find the server.
func TestConnectionIsToldByTheAddressOfOthers(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"", "127.0.0.1:0"} {
		s, err := Start(Config{Dir: t.TempDir(), Listen: listen})
		require.NoError(t, err)
		t.Cleanup(func() { s.Stop(context.Background()) })
		nc, err := s.Connect("test")
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		want := "nats://embedded:4222"
		if listen != "" {
			want = s.URL()
		}
		require.Equal(t, want, nc.ConnectedUrlRedacted())
	}
}
