package cli

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever waits for a database that another program has to itself says so, and
// goes on once it may.
func TestLockedDatabaseIsWaitedForWithAWord(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	h.must("run", "--db", db, "--out", h.path("out"), "--run-id", "first")
	h.must("run", "--db", db, "--out", h.path("out"), "--run-id", "second")
	text(t, h.path("costs.csv"), "session_id,cost\ns2,1\n")
	for _, args := range [][]string{
		{"validate", "--db", db},
		{"report", "--db", db},
		{"plan", "--db", db},
		{"explain", "--db", db, "c1"},
		{"diff", "--db", db},
		{"models", "--db", db},
		{"model", "train", "--db", db, "--out", h.path("model.json")},
		{"export", "--db", db, "--out", h.path("tables")},
		{"import", "--costs", h.path("costs.csv"), "--guess", "--yes", "--db", db},
	} {
		without := h.run(args...)
		other := openForever(t, db, "BEGIN EXCLUSIVE")
		cmd := h.command(t.Context(), args...)
		read, write, err := os.Pipe()
		require.NoError(t, err)
		cmd.Stderr = write
		require.NoError(t, cmd.Start())
		require.NoError(t, write.Close())
		said := make(chan string, 1)
		go func() {
			line := make([]byte, 4096)
			n, _ := read.Read(line)
			said <- string(line[:n])
			_, _ = io.Copy(io.Discard, read)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		select {
		case line := <-said:
			require.Equal(t, "waiting: database \""+db+"\" is locked by another program or process of the pipeline: it is waited for, up to 30s", strings.TrimSpace(line), args)
		case <-ctx.Done():
			require.Fail(t, "nothing is said of what is waited for", "%v", args)
		}
		cancel()
		_, err = other.ExecContext(t.Context(), "ROLLBACK")
		require.NoError(t, err)
		require.NoError(t, other.Close())
		_ = cmd.Wait()
		require.Equal(t, without.code, cmd.ProcessState.ExitCode(), "%v\n%s", args, without.stderr)
		require.NoError(t, read.Close())
	}
}
