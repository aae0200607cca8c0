//go:build chaos

package chaos

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// disk mounts a small file system of its own.
func disk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	switch err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENODEV):
		t.Skipf("a small file system cannot be mounted here (%v): run as root, outside of a container without rights", err)
	default:
		require.NoError(t, err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// A full disk under the database: before a run it is refused in one line,
// during it everything waits, and goes on once there is room.
func TestDatabaseOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := disk(t, "4m")
	s, _, ctx := calmStack(t, stackOptions{db: filepath.Join(dir, "shop.db"), out: filepath.Join(dir, "out")})
	s.startWithout("writer", "reporter")

	free := ballast(t, dir)
	early := calm.request()
	early.RunId = "early"
	s.request(ctx, early)
	_, err := s.outcome(ctx, "early")
	require.ErrorContains(t, err, "failed in the extractor: no space left for database")
	free()

	s.request(ctx, calm.request())
	s.published(ctx, "run.extracted", 1)
	free = ballast(t, dir)
	s.startNow("writer")
	s.says(ctx, "writer-1", "no space left for database", 2)
	free()
	s.published(ctx, "run.written", 1)
	free = ballast(t, dir)
	s.startNow("reporter")
	s.says(ctx, "reporter", "message will be delivered again", 2)
	free()
	_, err = s.outcome(ctx, "chaos")
	require.NoError(t, err, s.logs(20))
	require.NoError(t, s.drained(ctx))
	s.stop()
	require.Empty(t, calm.want.diff(s.left(ctx)), "a run that never began has left something")
}

// A full disk under the streams: a stream that could not be written takes
// nothing more until the server is started again. Nothing that was
// acknowledged is lost.
func TestStreamsOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := disk(t, "16m")
	s, a, ctx := calmStack(t, stackOptions{store: filepath.Join(dir, "nats")})
	s.startWithout("attributor")
	s.request(ctx, calm.request())
	s.published(ctx, "run.extracted", 1)
	free := ballast(t, dir)
	s.startNow("attributor")
	s.says(ctx, "nats", "no space left on device", 1)
	s.says(ctx, "attributor-1", "JetStream did not take a message", 1)
	free()
	s.procs["nats"].kill()
	s.startNow("nats")
	s.ends(ctx)
	_, repeated := a.repeats()
	require.LessOrEqual(t, repeated, 2*workers)
}

// A database that cannot be written: before a run it is refused in one line,
// during it everything waits.
func TestReadOnlyDatabase(t *testing.T) {
	t.Parallel()
	dir := disk(t, "16m")
	s, _, ctx := calmStack(t, stackOptions{db: filepath.Join(dir, "shop.db")})
	s.startWithout("writer", "reporter")
	remount := func(flags uintptr) {
		t.Helper()
		for { // the extractor may be about to close it
			err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, "")
			if !errors.Is(err, syscall.EBUSY) {
				require.NoError(t, err)
				return
			}
			require.NoError(t, ctx.Err(), "somebody keeps the database open for writing")
			<-time.After(10 * time.Millisecond)
		}
	}
	remount(syscall.MS_RDONLY)
	early := calm.request()
	early.RunId = "early"
	s.request(ctx, early)
	_, err := s.outcome(ctx, "early")
	require.ErrorContains(t, err, "failed in the extractor: database")
	require.ErrorContains(t, err, "check the rights of the file and its directory")
	remount(0)

	s.request(ctx, calm.request())
	s.published(ctx, "run.extracted", 1)
	remount(syscall.MS_RDONLY)
	s.startNow("writer")
	s.says(ctx, "writer-1", "message will be delivered again", 2)
	remount(0)
	s.startNow("reporter")
	s.ends(ctx)
}

// The same for the command: one line, and the next run is a run like any other.
func TestCommandOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := disk(t, "4m")
	calm.refer(t)
	db := filepath.Join(dir, "shop.db")
	copyFile(t, calm.db, db)
	free := ballast(t, dir)
	out, code := runIHC(t.Context(), t, nil, "run", "--db", db, "--out", t.TempDir(), "--model", "builtin")
	require.Equal(t, 3, code, out)
	require.Contains(t, out, "ihc: no space left for database")
	free()
	out, code = runIHC(t.Context(), t, nil, "run", "--db", db, "--out", filepath.Join(dir, "out"), "--model", "builtin", "--max-sessions", "60")
	require.Zero(t, code, out)
}

// The command's own streams on a full disk: it ends at once, and the same
// command goes on when there is room.
func TestCommandWithStreamsOnAFullDisk(t *testing.T) {
	t.Parallel()
	large := &workload{seed: 9, large: true}
	large.refer(t)
	dir, home := disk(t, "1m"), t.TempDir()
	db := filepath.Join(home, "shop.db")
	copyFile(t, large.db, db)
	args := []string{"run", "--db", db, "--out", filepath.Join(home, "out"), "--data-dir", filepath.Join(dir, "streams"),
		"--model", "builtin", "--max-sessions", "60"}
	out, code := runIHC(t.Context(), t, nil, args...)
	require.Equal(t, 3, code, out)
	require.Contains(t, out, "ihc: no space left for the streams in ")
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"))
	out, code = runIHC(t.Context(), t, nil, args...)
	require.Zero(t, code, out)
	require.Contains(t, out, "going on with run ")
	users := func(name string) bool { return !strings.HasPrefix(name, "pipeline_runs") }
	left := nameless(whatIsLeft(t.Context(), t, db, filepath.Join(home, "out")))
	for _, rows := range large.want.tables {
		for i := range rows {
			rows[i] = strings.ReplaceAll(rows[i], `"chaos"`, `"RUN"`)
		}
	}
	require.Empty(t, large.want.tables.Only(users).Diff(left.tables.Only(users)))
	require.Equal(t, large.want.files["channel_reporting.csv"], left.files["channel_reporting.csv"])
}
