package share

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A user who is not root can still give rights to a group of their own, which
// is what most of this is about.
func me() Owner { return Owner{UID: os.Getuid() + 1, GID: os.Getgid()} }

func shared(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Directory(ctx, dir, me(), slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	return info.Mode()
}

func put(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, nil, mode))
}

func TestShareGivesTheGroupItsRights(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	before, after, moved := filepath.Join(dir, "before.db"), filepath.Join(dir, "after.sqlite3"), filepath.Join(dir, "moved.db-wal")
	zip, note := filepath.Join(dir, "shop.zip"), filepath.Join(dir, "note.txt")
	put(t, before, 0o600)
	elsewhere := filepath.Join(t.TempDir(), "x")
	put(t, elsewhere, 0o640)

	shared(t, dir)
	require.Eventually(t, func() bool { return mode(t, before) == 0o660 }, time.Minute, time.Millisecond)
	require.Equal(t, os.ModeDir|os.ModeSetgid|0o770, mode(t, dir))
	put(t, note, 0o600)
	put(t, after, 0o604)
	put(t, zip, 0o600)
	require.NoError(t, os.Rename(elsewhere, moved))
	for path, want := range map[string]fs.FileMode{after: 0o664, zip: 0o640, moved: 0o660} {
		require.Eventually(t, func() bool { return mode(t, path) == want }, time.Minute, time.Millisecond, path)
	}
	// Rights taken away later come back: `cp -p` sets them when it is done.
	require.NoError(t, os.Chmod(after, 0o600))
	require.Eventually(t, func() bool { return mode(t, after) == 0o660 }, time.Minute, time.Millisecond)
	require.NoError(t, os.Chmod(dir, 0o700))
	require.Eventually(t, func() bool { return mode(t, dir) == os.ModeDir|os.ModeSetgid|0o770 }, time.Minute, time.Millisecond)
	require.Equal(t, fs.FileMode(0o600), mode(t, note), "other files are none of the services' business")
}

func TestShareFollowsNoLink(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside.db")
	put(t, outside, 0o600)
	link := filepath.Join(dir, "link.db")
	require.NoError(t, os.Symlink(outside, link))
	require.NoError(t, shareFile(link, 0o060, os.Getuid(), me()))
	require.Equal(t, fs.FileMode(0o600), mode(t, outside))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir.db"), 0o700))
	require.Empty(t, shareAll(dir, me()))
	require.Equal(t, os.ModeDir|0o700, mode(t, filepath.Join(dir, "dir.db")))
}

// Only root can give files away.
func TestWhatTheServicesMadeBelongsToTheDirectorysOwner(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		return
	}
	dir := t.TempDir()
	const user, other = 54321, 54322
	services := Owner{UID: 65532, GID: 65532}
	require.NoError(t, os.Chown(dir, user, user))
	made, given := filepath.Join(dir, "made.db"), filepath.Join(dir, "given.db")
	put(t, made, 0o644)
	put(t, given, 0o644)
	require.NoError(t, os.Chown(made, services.UID, services.GID))
	require.NoError(t, os.Chown(given, other, other))
	require.Empty(t, shareAll(dir, services))
	for path, owner := range map[string]uint32{made: user, given: other} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		is := info.Sys().(*syscall.Stat_t)
		require.Equal(t, owner, is.Uid, path)
		require.EqualValues(t, services.GID, is.Gid, path)
		require.Equal(t, fs.FileMode(0o664), info.Mode(), path)
	}
}

func TestOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, Own(dir, Owner{UID: os.Getuid(), GID: os.Getgid()}))
	require.Equal(t, os.ModeDir|0o700, mode(t, dir))
	require.Error(t, Own(filepath.Join(dir, "absent"), me()))
}

func TestShareOfADirectoryThatIsNotThere(t *testing.T) {
	t.Parallel()
	require.Error(t, Directory(t.Context(), filepath.Join(t.TempDir(), "absent"), me(), slog.New(slog.DiscardHandler)))
}
