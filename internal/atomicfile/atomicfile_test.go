package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

func write(path, text string, err error) error {
	return Write(path, 0o644, func(w io.Writer) error {
		_, _ = io.WriteString(w, text)
		return err
	})
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func alone(t *testing.T, path string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1, "something was left behind")
}

func TestFileIsWrittenWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "report.csv")
	require.NoError(t, write(path, "first", nil))
	err := write(path, strings.Repeat("x", 1<<20), errors.New("no more"))
	require.EqualError(t, err, "cannot write "+path+": no more")
	require.Equal(t, errkind.Environment, errkind.KindOf(err))
	require.Equal(t, "first", content(t, path))
	alone(t, path)
	require.NoError(t, WriteBytes(path, 0o600, []byte("second")))
	require.Equal(t, "second", content(t, path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestWhatAKilledProcessLeftIsInNobodysWay(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "report.csv")
	part := filepath.Join(filepath.Dir(path), ".report.csv.part")
	for _, perm := range []os.FileMode{0o600, 0o440} {
		require.NoError(t, os.WriteFile(part, []byte("half of a very much longer text"), perm))
		require.NoError(t, write(path, "whole", nil))
		require.Equal(t, "whole", content(t, path))
		alone(t, path)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o644), info.Mode().Perm())
	}
}

func TestWritersTakeTurnsAndReadersSeeOneWholeText(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "report.csv")
	var group errgroup.Group
	for i := range 8 {
		group.Go(func() error {
			for range 20 {
				if err := write(path, strings.Repeat(fmt.Sprint(i), 100_000), nil); err != nil {
					return err
				}
				data, err := os.ReadFile(path)
				if err != nil || len(data) != 100_000 || strings.Count(string(data), string(data[0])) != len(data) {
					return fmt.Errorf("read %d bytes: %w", len(data), err)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	alone(t, path)
}

func TestNothingIsWrittenThroughALinkAtThePartFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, victim := filepath.Join(dir, "report.csv"), filepath.Join(dir, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
	require.NoError(t, os.Symlink(victim, filepath.Join(dir, ".report.csv.part")))
	err := write(path, "text", nil)
	require.ErrorContains(t, err, "symbolic link; remove it")
	require.Equal(t, "precious", content(t, victim))
	require.NoFileExists(t, path)
}

func TestAPipeAtThePartFileIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "report.csv")
	require.NoError(t, syscall.Mkfifo(filepath.Join(filepath.Dir(path), ".report.csv.part"), 0o600))
	require.ErrorContains(t, write(path, "text", nil), "no regular file; remove it")
}

func TestALinkAtThePathIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, other := filepath.Join(dir, "report.csv"), filepath.Join(dir, "other")
	require.NoError(t, os.WriteFile(other, []byte("other"), 0o600))
	require.NoError(t, os.Symlink(other, path))
	require.NoError(t, write(path, "text", nil))
	require.Equal(t, "text", content(t, path))
	require.Equal(t, "other", content(t, other))
}

func TestAFileCanBelongToAGroup(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "password")
	gid := os.Getgid()
	require.NoError(t, WriteAs(path, 0o440, gid, func(io.Writer) error { return nil }))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o440), info.Mode().Perm())
	require.EqualValues(t, gid, info.Sys().(*syscall.Stat_t).Gid)
}

func TestADirectoryThatCannotBeMadeIsAnErrorOfTheEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	err := write(filepath.Join(dir, "file", "report.csv"), "", nil)
	require.Equal(t, errkind.Environment, errkind.KindOf(err))
}
