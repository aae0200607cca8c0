package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

func content(text string) func(string) error {
	return func(temp string) error { return os.WriteFile(temp, []byte(text), 0o600) }
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func TestPlace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b", "shop.db")
	require.NoError(t, Place(path, false, content("one")))
	require.Equal(t, "one", read(t, path))

	err := Place(path, false, content("two"))
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.Contains(t, err.Error(), "--force")
	require.Equal(t, "one", read(t, path))

	require.NoError(t, Place(path, true, content("two")))
	require.Equal(t, "two", read(t, path))
	require.Equal(t, []string{"shop.db"}, listing(t, filepath.Dir(path)))
}

func TestPlaceFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	require.NoError(t, Place(path, false, content("one")))
	require.NoError(t, os.WriteFile(path+"-wal", []byte("log"), 0o600))
	broken := errors.New("broken")
	for _, fill := range []func(string) error{
		func(temp string) error { return errors.Join(content("half")(temp), broken) },
		func(string) error { return nil }, // no file at all
	} {
		require.Error(t, Place(path, true, fill))
		require.Equal(t, "one", read(t, path))
		require.Equal(t, "log", read(t, path+"-wal"))
		require.Equal(t, []string{"shop.db", "shop.db-wal"}, listing(t, filepath.Dir(path)))
	}
	err := Place(path, true, func(string) error { return &os.PathError{Op: "write", Err: syscall.ENOSPC} })
	require.Equal(t, errkind.Environment, errkind.KindOf(err))
	require.Contains(t, err.Error(), "no space left")

	// A directory in the way, and a file where a directory should be.
	require.Equal(t, errkind.Input, errkind.KindOf(Place(filepath.Dir(path), true, content("x"))))
	require.Equal(t, errkind.Environment, errkind.KindOf(Place(filepath.Join(path, "shop.db"), false, content("x"))))
}

func TestPlaceInReadOnlyDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "closed")
	require.NoError(t, os.Mkdir(dir, 0o555))
	unprivileged(t, dir, func() {
		err := Place(filepath.Join(dir, "shop.db"), false, content("x"))
		require.Equal(t, errkind.Environment, errkind.KindOf(err))
		require.Contains(t, err.Error(), "check its rights")
	})
}

// The log of the replaced database must not be applied to the new one.
func TestPlaceDropsOldLog(t *testing.T) {
	t.Parallel()
	path := withLog(t)
	sound := read(t, build(t, Schema+soundRows))
	err := Place(path, false, content(sound))
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.NoError(t, Place(path, true, content(sound)))
	require.Equal(t, []string{filepath.Base(path)}, listing(t, filepath.Dir(path)))
	db, err := Open(t.Context(), path, Read)
	require.NoError(t, err)
	defer db.Close()
	require.Equal(t, 3, costs(t, db))
}

// A log without its database is nobody's, but not to be lost without a word.
func TestPlaceBesideOrphanedLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	require.NoError(t, os.WriteFile(path+"-wal", []byte("log"), 0o600))
	err := Place(path, false, content("x"))
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.Contains(t, err.Error(), "-wal")
	require.Equal(t, "log", read(t, path+"-wal"))
}

// Who was killed while a database was made left it; who is making one is left
// alone, and so is what is called so by others.
func TestWhatKilledOnesLeftIsClearedAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "shop.db")
	long := time.Now().Add(-time.Hour)
	for _, name := range []string{".incomplete-left", ".incomplete-held", ".incomplete-new", "incomplete-other"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "shop.db"), []byte("half"), 0o600))
		if name != ".incomplete-new" {
			require.NoError(t, os.Chtimes(filepath.Join(dir, name), long, long))
		}
	}
	held := hold(filepath.Join(dir, ".incomplete-held"))
	require.NotNil(t, held)
	defer held.Close()
	require.NoError(t, Place(path, false, func(temp string) error {
		require.Nil(t, hold(filepath.Dir(temp)), "it is held while it is made")
		return content("one")(temp)
	}))
	require.Equal(t, []string{".incomplete-held", ".incomplete-new", "incomplete-other", "shop.db"}, listing(t, dir))
}
