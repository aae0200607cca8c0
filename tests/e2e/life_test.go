//go:build e2e

package e2e

import (
	"errors"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// waiting returns how many messages wait to be scored or are being scored.
func (s *stack) waiting(t *testing.T) int {
	t.Helper()
	js, err := jetstream.New(s.connect(t, "ihc"))
	require.NoError(t, err)
	c, err := js.Consumer(t.Context(), stream.Journeys, stream.Chunks.Durable)
	require.NoError(t, err)
	return int(c.CachedInfo().NumPending) + c.CachedInfo().NumAckPending
}

// scale has replicas share a run against a slow API, one request at a time each,
// and takes them away in the middle of another. How much faster they are depends on
// the machine, and is logged.
func (s *stack) scale(t *testing.T) {
	c := s.client(t)
	url := s.sandboxURL(t)
	s.set("IHC_CONCURRENCY", "1")
	s.must(t, dc+"up -d --wait")
	faults(t, url, `{"latency": "200ms"}`)

	s.fresh(t)
	report, one := s.run(t, c, &ihcv1.RunRequest{RunId: "one"})
	want := s.tables(t)
	require.Equal(t, run.ModelAPI, report.GetModel())
	chunks := int(report.GetRequests())

	s.must(t, dc+"up -d --scale attributor=4")
	s.must(t, dc+"up -d --wait --no-recreate --scale attributor=4")
	s.fresh(t)
	resetStats(t, url)
	before := s.scored(t, 4)
	_, four := s.run(t, c, &ihcv1.RunRequest{RunId: "four"})
	same(t, want, s.tables(t))
	after := s.scored(t, 4)
	for i := range after {
		n := after[i] - before[i]
		require.InDelta(t, chunks/4, n, float64(chunks)/8, "replica %d of 4 scored %d of %d chunks", i+1, n, chunks)
	}
	t.Logf("%d chunks at 200 ms: %.1f s with one attributor, %.1f s with four: %.2f times as fast",
		chunks, one.Seconds(), four.Seconds(), one.Seconds()/four.Seconds())
	require.GreaterOrEqual(t, stats(t, url).MostInFlight, 4, "the four of them ask at the same time")

	s.fresh(t)
	resetStats(t, url)
	faults(t, url, `{"latency": "1s"}`) // for as long as it takes to stop containers
	s.start(t, c, &ihcv1.RunRequest{RunId: "fewer"})
	eventually(t, "the run is under way", func() bool { return stats(t, url).Requests >= chunks/5 })
	s.must(t, dc+"up -d --no-recreate --scale attributor=1")
	require.Less(t, stats(t, url).Requests, chunks, "the replicas were taken away too late")
	faults(t, url, `{"latency": "50ms"}`)
	s.finish(t, c, "fewer")
	same(t, want, s.tables(t))
	require.Zero(t, stats(t, url).ConversionsScoredTwice, "replicas that are stopped finish what they have")
	s.set("IHC_CONCURRENCY", "")
	s.must(t, dc+"up -d --wait")
}

// scored returns how many chunks each replica has scored.
func (s *stack) scored(t *testing.T, replicas int) []int {
	t.Helper()
	all := make([]int, replicas)
	for i := range all {
		status, body := s.get(t, "attributor", "8080", strconv.Itoa(i+1), "/metrics")
		require.Equal(t, http.StatusOK, status)
		all[i] = int(value(t, body, "ihc_chunks_scored_total"))
	}
	return all
}

// reference makes an undisturbed run over the sandbox.
func (s *stack) reference(t *testing.T, c *stream.Client) (want tables, chunks int) {
	t.Helper()
	faults(t, s.sandboxURL(t), `{"latency": "0s"}`)
	s.fresh(t)
	report, _ := s.run(t, c, &ihcv1.RunRequest{RunId: "undisturbed" + strconv.FormatInt(time.Now().UnixNano(), 36)})
	return s.tables(t), int(report.GetRequests())
}

// underWay begins a run that takes some seconds and returns in the midst of it.
func (s *stack) underWay(t *testing.T, c *stream.Client, id string) {
	t.Helper()
	url := s.sandboxURL(t)
	s.fresh(t)
	faults(t, url, `{"latency": "200ms"}`)
	resetStats(t, url)
	s.start(t, c, &ihcv1.RunRequest{RunId: id})
	eventually(t, "the run is under way", func() bool { return stats(t, url).Requests >= 20 })
}

// settled waits for a run that was disturbed and compares what it left.
func (s *stack) settled(t *testing.T, c *stream.Client, id string, want tables) {
	t.Helper()
	faults(t, s.sandboxURL(t), `{"latency": "0s"}`)
	s.finish(t, c, id)
	same(t, want, s.tables(t))
	require.NoError(t, c.DeadLetters(t.Context(), id, func(d stream.DeadLetter) error { return errors.New(d.Reason) }))
}

// stop ends the stages in the midst of a run, and finds that they have given
// everything back or seen it through, in time and with exit code 0.
func (s *stack) stop(t *testing.T) {
	c := s.client(t)
	want, _ := s.reference(t, c)
	s.underWay(t, c, "stopped")
	s.must(t, dc+"stop extractor attributor writer reporter")
	s.nothingInHand(t)
	for _, service := range services {
		require.Equal(t, []string{"0 false"}, s.inspect(t, service, "{{.State.ExitCode}} {{.State.OOMKilled}}"), service)
	}
	s.must(t, dc+"up -d --wait")
	s.settled(t, c, "stopped", want)
	require.Zero(t, stats(t, s.sandboxURL(t)).ConversionsScoredTwice)
}

// kill kills each container in the midst of a run of its own.
func (s *stack) kill(t *testing.T) {
	c := s.client(t)
	want, chunks := s.reference(t, c)
	for _, service := range []string{"attributor", "writer", "reporter", "nats"} {
		id := "killed-" + service
		s.underWay(t, c, id)
		s.must(t, dc+"kill "+service)
		s.must(t, dc+"up -d --wait")
		s.settled(t, c, id, want)
	}

	s.underWay(t, c, "restarted-nats")
	s.must(t, dc+"restart nats")
	s.settled(t, c, "restarted-nats", want)

	// The extractor is done before anybody could look, unless it gets little
	// of the processor.
	s.fresh(t)
	limited := s.must(t, dc+"ps -q extractor")
	js, err := jetstream.New(s.connect(t, "ihc")) // before, which takes a while
	require.NoError(t, err)
	s.must(t, "docker update --cpus 0.02 "+limited)
	s.start(t, c, &ihcv1.RunRequest{RunId: "killed-extractor"})
	extracted := func() int { return s.stored(t, js, stream.Journeys, "ihc.v1.journeys.extracted.killed-extractor.*") }
	eventually(t, "some chunks are extracted", func() bool { return extracted() > 0 })
	s.must(t, "docker kill "+limited)
	n := extracted()
	require.Less(t, n, chunks, "it was killed too late")
	t.Logf("the extractor was killed after %d of %d chunks", n, chunks)
	s.must(t, dc+"up -d --wait --force-recreate --no-deps extractor")
	s.settled(t, c, "killed-extractor", want)

	// A crash, unlike a kill by Docker, is mended by Docker.
	s.underWay(t, c, "crashed")
	pid, err := strconv.Atoi(s.inspect(t, "writer", "{{.State.Pid}}")[0])
	require.NoError(t, err)
	switch err := syscall.Kill(pid, syscall.SIGKILL); {
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.ESRCH):
		t.Log("not root on Docker's own machine: crashes are left to `docker compose kill`")
	default:
		require.NoError(t, err)
		eventually(t, "Docker restarts the writer", func() bool { return s.inspect(t, "writer", "{{.RestartCount}} {{.State.Running}}")[0] == "1 true" })
	}
	s.settled(t, c, "crashed", want)
}

// downAndUp takes the stack away in the midst of a run and brings it back.
func (s *stack) downAndUp(t *testing.T) {
	c := s.client(t)
	want, _ := s.reference(t, c)
	password := s.password(t, "ihc")
	s.underWay(t, c, "down")
	s.must(t, dc+"--profile sandbox down")
	require.Empty(t, s.must(t, "docker ps -aq --filter label=com.docker.compose.project="+s.project))
	s.must(t, dc+"--profile sandbox up -d --wait")
	require.Equal(t, password, s.password(t, "ihc"))
	s.settled(t, c, "down", want)
}

// key gives the stack a key, and looks for it everywhere else.
func (s *stack) key(t *testing.T) {
	const key = "e2e-key-nobody-else-may-see"
	s.must(t, dc+"--profile sandbox down")
	// An API that takes this key and no other.
	s.set("IHC_API_KEY", key)
	s.set("IHC_CONV_TYPE_ID", "e2e")
	s.set("IHC_API_URL", "http://api:8088/v1")
	s.must(t, dc+"up -d --wait")
	s.must(t, dc+"run -d --no-deps --name "+s.project+"-api -e IHC_SANDBOX_KEY="+key+" ihc sandbox --listen :8088 --conv-type-id e2e")
	s.must(t, "docker network disconnect "+s.project+"_default "+s.project+"-api && docker network connect --alias api "+s.project+"_default "+s.project+"-api")
	s.fresh(t)
	r := s.cli(t, "run")
	require.Equal(t, "completed", r.Status)
	require.Equal(t, run.ModelAPI, r.Model)
	require.Positive(t, r.Requests)
	require.Contains(t, s.must(t, "docker stop "+s.project+"-api && docker logs "+s.project+"-api 2>&1"), "0 contract violations")
	s.must(t, "docker rm "+s.project+"-api")

	require.Contains(t, s.inspect(t, "attributor", "{{json .}}")[0], key)
	for _, service := range []string{"steward", "nats", "init", "extractor", "writer", "reporter"} {
		require.NotContains(t, s.inspect(t, service, "{{json .}}")[0], key, service)
	}
	require.NotContains(t, s.must(t, dc+"logs --no-color 2>&1"), key)
	require.NotContains(t, s.must(t, dc+"run --rm ihc status "+r.RunID+" --json 2>&1"), key)
	s.must(t, dc+"down")
}

// readme finds every command of the README's section on containers among those
// that were run.
func (s *stack) readme(t *testing.T) {
	_, section, ok := strings.Cut(read(t, s.dir+"/README.md"), "\n## Containers\n")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	n := 0
	for _, block := range regexp.MustCompile("(?s)```[a-z]*\n(.*?)```").FindAllStringSubmatch(section, -1) {
		for line := range strings.Lines(block[1]) {
			command, _, _ := strings.Cut(strings.TrimSpace(line), "  #")
			if command = strings.TrimSpace(command); command != "" {
				n++
				require.True(t, s.ran[command], "the README says %q, which no test runs", command)
			}
		}
	}
	require.Positive(t, n)
}
