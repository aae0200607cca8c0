//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// TestStack is one story, in order: a first use, everything the stack does,
// everything that can happen to it, and its end.
func TestStack(t *testing.T) {
	s := newStack(t)
	config := shop.Config{Sessions: 24_000, Conversions: 2_400, Start: "2023-08-01"}
	_, err := sqlite.GenerateShop(t.Context(), filepath.Join(s.dir, "shop.db"), config, false)
	require.NoError(t, err)

	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"first use", s.firstUse},
		{"containers have what they need and no more", s.hardened},
		{"services say how they are", s.observable},
		{"the directory's owner stays its owner", s.ownership},
		{"three ways to publish", s.publish},
		{"exit codes", s.exitCodes},
		{"nobody does what is not theirs", s.permissions},
		{"sandbox", s.sandbox},
		{"replay", s.replay},
		{"cancel", s.cancel},
		{"scale", s.scale},
		{"stop leaves nothing in hand", s.stop},
		{"kill", s.kill},
		{"down and up", s.downAndUp},
		{"the key goes to the attributor alone", s.key},
		{"several of each on PostgreSQL", s.several},
		{"what the README says was run", s.readme},
	} {
		if !t.Run(step.name, step.do) {
			return // the rest builds on it
		}
	}
}

// firstUse does what the README says, from a fresh clone.
func (s *stack) firstUse(t *testing.T) {
	s.must(t, dc+"up -d --build --wait")
	require.Empty(t, s.must(t, dc+"ps --status exited -q"))
	// The database comes when everything is up.
	s.must(t, "mkdir -p out/demo && cp shop.db out/demo/shop.db") // as `make demo` does
	s.must(t, "cp out/demo/shop.db deploy/data/ihc.db")
	out := s.must(t, dc+"run --rm ihc run --start-date 2023-08 --end-date 2023-08")
	require.Contains(t, out, "report: /data/channel_reporting.csv")
	csv, err := os.ReadFile(filepath.Join(s.data, "channel_reporting.csv"))
	require.NoError(t, err)
	header, rest, _ := strings.Cut(string(csv), "\n")
	require.Equal(t, "channel_name,date,cost,ihc,ihc_revenue,CPO,ROAS", header)
	require.Greater(t, strings.Count(rest, "\n"), 100)

	// An import does the same, and the tables are those of a run without any
	// containers, of the same program on its own.
	archive := filepath.Join(s.data, "shop.zip")
	zipFile(t, filepath.Join(s.dir, "shop.db"), archive)
	s.must(t, dc+"run --rm ihc import --force /data/shop.zip")
	require.NoError(t, os.Remove(archive))
	s.must(t, "cp shop.db deploy/data/pristine.db && cp shop.db deploy/data/alone.db")
	s.must(t, dc+"run --rm ihc run")
	s.must(t, dc+"run --rm ihc run --db /data/alone.db --out /data/alone")
	got := s.tables(t)
	require.NoError(t, os.Rename(filepath.Join(s.data, "alone.db"), filepath.Join(s.dir, "ihc.db")))
	require.NoError(t, os.Rename(filepath.Join(s.data, "alone", "channel_reporting.csv"), filepath.Join(s.dir, "channel_reporting.csv")))
	alone := *s
	alone.data = s.dir
	same(t, alone.tables(t), got)
}

// hardened looks at every container as Docker sees it.
func (s *stack) hardened(t *testing.T) {
	for _, service := range append([]string{"steward", "nats", "init"}, services...) {
		format := `{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.LogConfig.Config}}|{{.Config.User}}|{{.HostConfig.Memory}}|{{.HostConfig.PidsLimit}}|{{.HostConfig.Privileged}}`
		f := strings.Split(s.inspect(t, service, format)[0], "|")
		require.Equal(t, "true [ALL] [no-new-privileges:true] unless-stopped map[max-file:3 max-size:10m]", f[0], service)
		if service == "steward" {
			require.Equal(t, "0:65532", f[1])
			require.Equal(t, []string{"none"}, s.inspect(t, service, "{{.HostConfig.NetworkMode}}"))
		} else {
			require.Equal(t, "65532:65532", f[1], service)
			require.Equal(t, []string{"[]"}, s.inspect(t, service, "{{.HostConfig.CapAdd}}"))
		}
		require.NotEqual(t, "0", f[2], service)
		require.Equal(t, "256", f[3], service)
		require.Equal(t, "false", f[4], service)
		for _, host := range strings.Fields(s.inspect(t, service, `{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}} {{end}}{{end}}`)[0]) {
			require.Equal(t, "127.0.0.1", host, service)
		}
	}
	for _, image := range strings.Fields(s.must(t, dc+"config --images")) {
		require.True(t, strings.HasPrefix(image, s.project+"-") || image == "nats:2.15-alpine", image)
	}
}

// observable asks each service for its health, metrics and logs.
func (s *stack) observable(t *testing.T) {
	metrics := map[string][]string{
		"extractor":  {"ihc_consumer_waiting_messages"},
		"attributor": {"ihc_chunks_scored_total", "ihc_chunk_sessions_bucket", "ihc_api_request_seconds_bucket"},
		"writer":     {"ihc_runs_ended_early_total"},
		"reporter":   {"ihc_run_seconds_bucket", `ihc_conversions_total{outcome="attributed"}`},
	}
	for _, service := range services {
		for _, path := range []string{"/healthz", "/readyz"} {
			status, body := s.get(t, service, "8080", "1", path)
			require.Equal(t, http.StatusOK, status, "%s%s: %s", service, path, body)
		}
		_, body := s.get(t, service, "8080", "1", "/metrics")
		for _, name := range append(metrics[service], "ihc_messages_received_total", "ihc_messages_published_total", "ihc_messages_retried_total",
			"ihc_messages_dead_total", "ihc_consumer_waiting_messages", "ihc_consumer_unacknowledged_messages", "process_resident_memory_bytes") {
			require.Contains(t, body, "\n"+name, service)
		}
		require.Positive(t, value(t, body, "ihc_messages_received_total"), service)
		lines := bufio.NewScanner(strings.NewReader(s.must(t, dc+"logs --no-color --no-log-prefix "+service)))
		runs := 0
		for lines.Scan() {
			var line struct {
				Time  time.Time
				Level string
				Msg   string
				Stage string
				Run   string
			}
			require.NoError(t, json.Unmarshal(lines.Bytes(), &line), "%s: %s", service, lines.Text())
			require.NotEmpty(t, line.Level, lines.Text())
			require.Equal(t, service, line.Stage, lines.Text())
			if line.Run != "" {
				runs++
			}
		}
		if service != "attributor" { // which has nothing to say while all is well
			require.Positive(t, runs, service)
		}
	}
}

// ownership moves the data directory to a user the containers know nothing of,
// who lets nobody else in, and puts a database there.
func (s *stack) ownership(t *testing.T) {
	const user = 12345
	root := os.Getuid() == 0
	db := filepath.Join(s.data, "ihc.db")
	s.must(t, dc+"stop")
	require.NoError(t, os.Remove(db))
	owner := os.Getuid()
	if root {
		owner = user
		require.NoError(t, os.Chown(s.data, user, user))
	}
	require.NoError(t, os.Chmod(s.data, 0o700))
	s.must(t, dc+"up -d --wait")
	data := read(t, filepath.Join(s.dir, "shop.db"))
	require.NoError(t, os.WriteFile(db, []byte(data), 0o600))
	if root {
		require.NoError(t, os.Chown(db, user, user))
	}
	s.must(t, dc+"run --rm ihc run --end-date 2023-08-31")
	for _, path := range []string{s.data, db} {
		require.Equal(t, owner, ownerOf(t, path), path)
	}
	// Back to whoever runs this.
	if root {
		require.NoError(t, os.Chown(s.data, 0, 0))
	}
	s.fresh(t)
	require.Equal(t, os.Getuid(), ownerOf(t, db), "what the containers make belongs to the directory's owner")
}

// publish asks for runs in the three ways there are.
func (s *stack) publish(t *testing.T) {
	c := s.client(t)
	nc := s.connect(t, "ihc")
	want := s.cli(t, "run --start-date 2023-09-01 --end-date 2023-09-30")
	require.Equal(t, "completed", want.Status)
	reference := s.tables(t)

	// What `nats pub` does: publish, and no more. The run has no name yet.
	s.fresh(t)
	known, err := c.Events(t.Context(), "*")
	require.NoError(t, err)
	require.NoError(t, nc.Publish("ihc.v1.run.requested", []byte(`{"start_date":"2023-09-01","end_date":"2023-09-30"}`)))
	require.NoError(t, nc.Flush())
	id := ""
	eventually(t, "a run begins", func() bool {
		events, err := c.Events(t.Context(), "*")
		if err != nil || len(events) == len(known) {
			return false
		}
		id = events[len(events)-1].Event.GetRunId()
		return true
	})
	s.finish(t, c, id)
	same(t, reference, s.tables(t))

	s.fresh(t)
	data, err := proto.Marshal(&ihcv1.RunRequest{RunId: "protobuf", StartDate: "2023-09-01", EndDate: "2023-09-30"})
	require.NoError(t, err)
	require.NoError(t, nc.Publish("ihc.v1.run.requested", data))
	require.NoError(t, nc.Flush())
	s.finish(t, c, "protobuf")
	same(t, reference, s.tables(t))
}

func (s *stack) exitCodes(t *testing.T) {
	r := s.sh(t, dc+"run --rm ihc run --start-date 01.09.2023")
	require.Equal(t, 2, r.code, r.err)
	require.Contains(t, r.err, "YYYY-MM-DD")
	r = s.sh(t, dc+"run --rm -e NATS_URL=nats://127.0.0.1:1 ihc run")
	require.Equal(t, 3, r.code, r.err)
	r = s.sh(t, dc+"run --rm ihc run --model api") // without a key
	require.Equal(t, 3, r.code, r.err)
	require.Contains(t, r.err, "IHC_API_KEY")
}

func (s *stack) permissions(t *testing.T) {
	_, err := nats.Connect(s.natsURL())
	require.ErrorIs(t, err, nats.ErrAuthorization)
	_, err = nats.Connect(s.natsURL(), nats.UserInfo("reporter", "reporter"))
	require.ErrorIs(t, err, nats.ErrAuthorization)

	js, err := jetstream.New(s.connect(t, "ihc"))
	require.NoError(t, err)
	before := s.stored(t, js, stream.Journeys, ">")
	nc := s.connect(t, "reporter")
	require.NoError(t, nc.Publish("ihc.v1.journeys.extracted.x.1", nil))
	require.NoError(t, nc.Flush())
	require.ErrorIs(t, nc.LastError(), nats.ErrPermissionViolation)
	require.Equal(t, before, s.stored(t, js, stream.Journeys, ">"))

	// Passwords are in no environment: each container has a file with its own.
	environments := s.must(t, "docker inspect --format '{{.Config.Env}}' $("+dc+"ps -aq)")
	for _, user := range append([]string{"ihc", "init", "admin"}, services...) {
		require.NotContains(t, environments, s.password(t, user))
	}
}

// sandbox adds the sandbox to the running stack. Nothing else is said to the
// attributor, and it asks the sandbox.
func (s *stack) sandbox(t *testing.T) {
	s.must(t, dc+"--profile sandbox up -d --wait")
	s.fresh(t)
	r := s.cli(t, "run")
	require.Equal(t, "completed", r.Status)
	require.Equal(t, run.ModelAPI, r.Model)
	st := stats(t, s.sandboxURL(t))
	require.Equal(t, r.Requests, st.Requests)
	require.Positive(t, st.Requests)
	require.Zero(t, st.ContractViolations, st.Violations)
	// What the API refuses is told by the exit code.
	faults(t, s.sandboxURL(t), `{"poison": ["o_00000000*"]}`)
	x := s.sh(t, dc+"run --rm ihc run --full --end-date 2023-08-10")
	require.Equal(t, 1, x.code, x.err)
	faults(t, s.sandboxURL(t), `{"poison": []}`)
}

func (s *stack) replay(t *testing.T) {
	s.fresh(t)
	origin := s.cli(t, "run")
	want := s.tables(t)
	url := s.sandboxURL(t)
	for _, step := range []struct {
		args     string
		requests int
		model    string
	}{
		{"--from results", 0, run.ModelAPI},
		{"--from journeys", origin.Requests, run.ModelAPI},
		{"--from journeys --model builtin", 0, run.ModelBuiltin},
	} {
		// The source tables are not looked at: they would give something else.
		require.NoError(t, disturb(t.Context(), filepath.Join(s.data, "ihc.db")))
		resetStats(t, url)
		r := s.cli(t, "replay "+origin.RunID+" "+step.args)
		require.NotEqual(t, origin.RunID, r.RunID)
		require.Equal(t, step.model, r.Model, step.args)
		require.Equal(t, step.requests, stats(t, url).Requests, step.args)
		if step.model == run.ModelAPI {
			same(t, want, s.tables(t))
		}
		var runs []struct {
			RunID      string `json:"run_id"`
			Status     string
			ReplayOf   string `json:"replay_of"`
			ReplayFrom string `json:"replay_from"`
			Seconds    float64
		}
		require.NoError(t, json.Unmarshal([]byte(s.must(t, dc+"run --rm ihc runs --json")), &runs))
		last := runs[len(runs)-1]
		require.Equal(t, r.RunID, last.RunID)
		require.Equal(t, "completed", last.Status)
		require.Equal(t, origin.RunID, last.ReplayOf)
		require.Contains(t, step.args, last.ReplayFrom)
		require.Positive(t, last.Seconds)
		require.Contains(t, s.must(t, dc+"run --rm ihc status "+r.RunID), origin.RunID)
	}
	// The disturbance is one: an ordinary run sees it.
	require.NoError(t, disturb(t.Context(), filepath.Join(s.data, "ihc.db")))
	s.cli(t, "run")
	require.NotEmpty(t, want.Diff(s.tables(t).Tables))
}

// cancel ends a run that would take long, and the next one is as if it had
// never been.
func (s *stack) cancel(t *testing.T) {
	s.fresh(t)
	url := s.sandboxURL(t)
	c := s.client(t)
	faults(t, url, `{"latency": "5s"}`) // for as long as a container takes to start
	resetStats(t, url)
	s.start(t, c, &ihcv1.RunRequest{RunId: "cancelled"})
	eventually(t, "the run is under way", func() bool { return stats(t, url).Requests >= 4 })
	s.must(t, dc+"run --rm ihc cancel cancelled")
	require.Contains(t, s.must(t, dc+"run --rm ihc status cancelled"), "cancelled")
	faults(t, url, `{"latency": "0s"}`)
	eventually(t, "nothing of it is left to do", func() bool { return stats(t, url).InFlight == 0 && s.waiting(t) == 0 })
	scored := stats(t, url).Requests
	require.Less(t, scored, 50)
}
