//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/freeport"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/tests/snapshot"
)

// dc is how the README calls compose.
const dc = "docker compose -f deploy/compose.yaml "

// patience bounds every wait for a condition.
const patience = 3 * time.Minute

// services are the four stages.
var services = []string{"extractor", "attributor", "writer", "reporter"}

// stack is a copy of the repository and the containers started from it.
type stack struct {
	project  string
	dir      string // the copy
	data     string // its data directory
	env      []string
	natsPort string
	ran      map[string]bool // commands, word for word
}

// newStack prepares a stack; nothing is started yet.
func newStack(t *testing.T) *stack {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ihc")
	copyTree(t, "../..", dir, "cmd", "console", "internal", "proto", "services", "store", "embedded", "deploy",
		"tests/go.mod", "tests/go.sum", "go.work", "go.work.sum", ".dockerignore", "README.md", "docs")
	s := &stack{
		project: "ihc-e2e-" + strings.ToLower(rand.Text()[:6]), dir: dir, data: filepath.Join(dir, "deploy", "data"),
		ran: map[string]bool{}, natsPort: fmt.Sprint(freeport.Hold(t).Port()),
	}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "IHC_") && !strings.HasPrefix(name, "NATS_") && !strings.HasPrefix(name, "COMPOSE_") && name != "DATA_DIR" {
			s.env = append(s.env, v)
		}
	}
	s.set("COMPOSE_PROJECT_NAME", s.project)
	s.set("NATS_PORT", s.natsPort)
	s.set("NATS_MONITOR_PORT", fmt.Sprint(freeport.Hold(t).Port()))
	s.set("SANDBOX_PORT", fmt.Sprint(freeport.Hold(t).Port()))
	s.set("CONSOLE_PORT", fmt.Sprint(freeport.Hold(t).Port()))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.sh(t, dc+"--profile sandbox ps -a").out)
			t.Log(s.sh(t, dc+"--profile sandbox logs --no-color --tail 40").out)
		}
		s.sh(t, dc+"--profile '*' down -v --rmi local --timeout 5 --remove-orphans; docker image rm -f "+s.project+"-ihc")
	})
	return s
}

// copyTree copies what the images are built from and the README promises, but
// no data and no secrets.
func copyTree(t *testing.T, from, to string, what ...string) {
	t.Helper()
	for _, w := range what {
		require.NoError(t, filepath.WalkDir(filepath.Join(from, w), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			switch {
			case rel == "deploy/.env", filepath.Dir(rel) == "deploy/data" && d.Name() != ".gitignore":
				return nil
			case d.IsDir():
				return os.MkdirAll(filepath.Join(to, rel), 0o755)
			case !d.Type().IsRegular():
				return nil
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, rel), data, 0o644)
		}))
	}
}

// set sets a variable of the environment that compose sees; an empty value
// takes it away.
func (s *stack) set(name, value string) {
	s.env = slices.DeleteFunc(s.env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	if value != "" {
		s.env = append(s.env, name+"="+value)
	}
}

type result struct {
	out, err string
	code     int
}

// sh runs a command line in the copy of the repository.
func (s *stack) sh(t *testing.T, command string) result {
	t.Helper()
	s.ran[command] = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", command)
	cmd.Dir, cmd.Env = s.dir, s.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	begun := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", command, err)
	}
	t.Logf("%6.1f s  %s", time.Since(begun).Seconds(), command)
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// must runs a command line that has to end well and returns its output.
func (s *stack) must(t *testing.T, command string) string {
	t.Helper()
	r := s.sh(t, command)
	require.Zero(t, r.code, "%s\n%s%s", command, r.out, r.err)
	return strings.TrimSpace(r.out)
}

// inspect returns what `docker inspect` says of a service's containers, one a line.
func (s *stack) inspect(t *testing.T, service, format string) []string {
	t.Helper()
	ids := strings.Fields(s.must(t, dc+"--profile '*' ps -aq "+service))
	require.NotEmpty(t, ids, service)
	return strings.Split(s.must(t, "docker inspect --format '"+format+"' "+strings.Join(ids, " ")), "\n")
}

// password returns a NATS user's password, as the documentation gets it.
func (s *stack) password(t *testing.T, user string) string {
	t.Helper()
	return s.must(t, dc+"exec -T nats cat /etc/nats/credentials/"+user)
}

func (s *stack) natsURL() string { return "nats://127.0.0.1:" + s.natsPort }

// connect opens a plain connection as a user, like the nats command does.
func (s *stack) connect(t *testing.T, user string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.natsURL(), nats.UserInfo(user, s.password(t, user)),
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// client opens a client of the streams, as the command line does.
func (s *stack) client(t *testing.T) *stream.Client {
	t.Helper()
	c, err := stream.New(t.Context(), s.connect(t, "ihc"), stream.Options{Stage: "e2e"})
	require.NoError(t, err)
	return c
}

// nothingInHand holds that no message waits for a process that is gone. One that
// was given back at the last moment counts as unacknowledged with the server, too,
// until it is handed out again: which it is at once, and to anybody.
func (s *stack) nothingInHand(t *testing.T) {
	t.Helper()
	js, err := jetstream.New(s.connect(t, "admin"))
	require.NoError(t, err)
	for _, c := range []stream.Consumer{stream.Requests, stream.Chunks, stream.Scored, stream.Milestones, stream.Written} {
		consumer, err := js.Consumer(t.Context(), c.Stream, c.Durable)
		require.NoError(t, err)
		n := consumer.CachedInfo().NumAckPending
		if n == 0 {
			continue
		}
		fresh := consumer.CachedInfo().NumPending
		got, err := consumer.FetchNoWait(n) // what was given back comes before what is new
		require.NoError(t, err)
		for m := range got.Messages() {
			require.NoError(t, m.Nak())
		}
		info, err := consumer.Info(t.Context())
		require.NoError(t, err)
		require.Equal(t, fresh, info.NumPending, "messages left in the hands of %s", c.Durable)
	}
}

// stored returns how many messages a stream holds on a subject.
func (s *stack) stored(t *testing.T, js jetstream.JetStream, name, subject string) int {
	t.Helper()
	st, err := js.Stream(t.Context(), name)
	require.NoError(t, err)
	info, err := st.Info(t.Context(), jetstream.WithSubjectFilter(subject))
	require.NoError(t, err)
	n := 0
	for _, count := range info.State.Subjects {
		n += int(count)
	}
	return n
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, patience, 25*time.Millisecond, what)
}

// tables are what a run leaves for its users: the two tables and the CSV.
type tables struct {
	snapshot.Tables
	csv string
}

func (s *stack) tables(t *testing.T) tables {
	t.Helper()
	all, err := snapshot.Take(t.Context(), filepath.Join(s.data, "ihc.db"))
	require.NoError(t, err)
	csv, err := os.ReadFile(filepath.Join(s.data, "channel_reporting.csv"))
	require.NoError(t, err)
	all = all.Only(func(name string) bool { return name == "attribution_customer_journey" || name == "channel_reporting" })
	require.Len(t, all, 2)
	return tables{all, string(csv)}
}

// same fails unless two runs left the same, bit for bit.
func same(t *testing.T, want, got tables) {
	t.Helper()
	require.NotEmpty(t, got.Tables["attribution_customer_journey"])
	require.Empty(t, want.Diff(got.Tables))
	require.Equal(t, want.csv, got.csv)
}

// fresh puts the database back as it was before any run, while all is up.
func (s *stack) fresh(t *testing.T) {
	t.Helper()
	s.must(t, dc+"run --rm ihc import --force /data/pristine.db")
	require.NoError(t, os.RemoveAll(filepath.Join(s.data, "channel_reporting.csv")))
}
