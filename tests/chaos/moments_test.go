//go:build chaos

package chaos

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/stream"
)

// ends waits for the run and holds what it left against the undisturbed run.
func (s *stack) ends(ctx context.Context) {
	s.t.Helper()
	_, err := s.outcome(ctx, "chaos")
	require.NoError(s.t, err, s.logs(25))
	require.NoError(s.t, s.drained(ctx))
	s.stop()
	require.Empty(s.t, calm.want.diff(s.left(ctx)), "not what the undisturbed run left")
}

// says waits until a process has written a text to its log so many times.
func (s *stack) says(ctx context.Context, name, text string, times int) {
	s.t.Helper()
	for s.said(name, text) < times {
		select {
		case <-ctx.Done():
			require.Fail(s.t, "the "+name+" never says "+text, s.logs(25))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// said returns how many times a process has written a text to its log.
func (s *stack) said(name, text string) int {
	s.t.Helper()
	data, err := os.ReadFile(s.procs[name].log)
	require.NoError(s.t, err)
	return strings.Count(string(data), text)
}

// startWithout starts all processes but those whose names begin so.
func (s *stack) startWithout(names ...string) {
	s.t.Helper()
	for _, name := range s.names() {
		skip := false
		for _, n := range names {
			skip = skip || strings.HasPrefix(name, n)
		}
		if !skip {
			require.NoError(s.t, s.procs[name].start())
		}
	}
	s.connect()
}

// startNow starts the processes whose names begin so, if they do not run.
func (s *stack) startNow(prefix string) {
	s.t.Helper()
	for _, name := range s.names() {
		if strings.HasPrefix(name, prefix) {
			require.NoError(s.t, s.procs[name].start())
		}
	}
}

// published waits for the n-th message of a kind: until it is heard, or the
// streams hold so many, since nothing is heard while a server comes back.
func (s *stack) published(ctx context.Context, kind string, n int) {
	s.t.Helper()
	heard := s.tap.on(kind, n)
	for s.kept(ctx, kind) < n {
		select {
		case <-heard:
			return
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			require.Fail(s.t, "no "+kind, s.logs(25))
		}
	}
}

// kept returns how many messages of a kind the streams hold, 0 where they do not say.
func (s *stack) kept(ctx context.Context, kind string) (n int) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // an answer can be lost
	defer cancel()
	name := map[string]string{"run": stream.Runs, "journeys.extracted": stream.Journeys, "journeys.attributed": stream.Results}
	of, _, _ := strings.Cut(kind, ".")
	from, err := s.js.Stream(ctx, cmp.Or(name[kind], name[of]))
	if err != nil {
		return 0
	}
	info, err := from.Info(ctx, jetstream.WithSubjectFilter("ihc.v1.>"))
	if err != nil {
		return 0
	}
	for subject, count := range info.State.Subjects {
		if strings.HasPrefix(subject, "ihc.v1."+kind) {
			n += int(count)
		}
	}
	return n
}

// midway asks for the calm run and returns when all of it is extracted and none of
// it scored, which goes on when release is called.
func (s *stack) midway(ctx context.Context, a *api) (release func()) {
	s.t.Helper()
	release = a.hold(1)
	s.request(ctx, calm.request())
	s.published(ctx, "run.extracted", 1)
	return release
}

// stored returns how many messages a stream holds.
func (s *stack) stored(ctx context.Context, name string) int {
	s.t.Helper()
	st, err := s.js.Stream(ctx, name)
	require.NoError(s.t, err)
	info, err := st.Info(ctx)
	require.NoError(s.t, err)
	return int(info.State.Msgs)
}

// ballast fills a small disk to the last byte.
func ballast(t *testing.T, dir string) (remove func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	require.NoError(t, err)
	for block := 1 << 16; block > 0; {
		if _, err := f.Write(make([]byte, block)); err != nil {
			block /= 2 // to the last byte
		}
	}
	require.NoError(t, f.Close())
	return func() { require.NoError(t, os.Remove(path)) }
}

// onlySome is a bound of the streams that a large run's chunks do not fit into, so
// that its extraction gets no further.
const onlySome = "IHC_STREAM_MAX_BYTES=100000"

// unbounded takes the bound of the streams away.
func (s *stack) unbounded() {
	s.t.Helper()
	s.procs["init"].kill()
	for _, p := range s.procs {
		p.env = append(p.env, "IHC_STREAM_MAX_BYTES=0")
	}
	s.startNow("init")
}
