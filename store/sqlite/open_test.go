package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	sound, err := os.ReadFile(build(t, Schema+soundRows))
	require.NoError(t, err)
	write := func(data []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, data, 0o600)) }
	}
	wrongPageSize := bytes.Clone(sound)
	wrongPageSize[offPageSize], wrongPageSize[offPageSize+1] = 3, 3

	for _, c := range []struct {
		name string
		make func(t *testing.T, path string)
		kind errkind.Kind
		says string
	}{
		{"missing", func(*testing.T, string) {}, errkind.Environment, "no such file"},
		{"directory", func(t *testing.T, p string) { require.NoError(t, os.Mkdir(p, 0o755)) }, errkind.Environment, "it is a directory"},
		{"pipe", func(t *testing.T, p string) { require.NoError(t, syscall.Mkfifo(p, 0o600)) }, errkind.Environment, "no regular file"},
		{"dangling link", func(t *testing.T, p string) { require.NoError(t, os.Symlink("nowhere", p)) }, errkind.Environment, "no such file"},
		{"empty", write(nil), errkind.Input, "the file is empty"},
		{"text", write([]byte("session_id,user_id\ns1,ü1\n")), errkind.Input, "a text file"},
		{"zip", write([]byte("PK\x03\x04rest")), errkind.Input, "ihc import"},
		{"gzip", write([]byte{0x1f, 0x8b, 8, 0}), errkind.Input, "gzip"},
		{"encrypted", write(bytes.Repeat([]byte{0xa7, 0x00, 0x3c, 0xff}, 4096)), errkind.Input, "encrypted"},
		{"three bytes", write(sound[:3]), errkind.Input, "cut short"},
		{"within the header", write(sound[:60]), errkind.Input, "cut short"},
		{"half", write(sound[:len(sound)/2]), errkind.Input, fmt.Sprintf("%d of %d bytes", len(sound)/2, len(sound))},
		{"one byte short", write(sound[:len(sound)-1]), errkind.Input, "cut short"},
		{"page size", write(wrongPageSize), errkind.Input, ""},
		{"garbage schema", write(append(bytes.Clone(sound[:headerSize]), bytes.Repeat([]byte{0x99}, len(sound)-headerSize)...)), errkind.Input, "damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "shop.db")
			c.make(t, path)
			before := listing(t, dir)
			for _, mode := range []Mode{Read, Write} {
				db, err := Open(t.Context(), path, mode)
				require.Error(t, err)
				require.Nil(t, db)
				require.Equal(t, c.kind, errkind.KindOf(err), err)
				require.Contains(t, err.Error(), c.says)
				require.Contains(t, err.Error(), path)
				require.NotContains(t, err.Error(), "\n")
			}
			require.Equal(t, before, listing(t, dir), "nothing is created")
		})
	}
	_, err = Open(t.Context(), "", Read)
	require.Equal(t, errkind.Input, errkind.KindOf(err))
}

func listing(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestOpenTakesAnyName(t *testing.T) {
	t.Parallel()
	sound, err := os.ReadFile(build(t, Schema+soundRows))
	require.NoError(t, err)
	for _, name := range []string{"a b.db", "what?.db", "no#1.db", "100%.db", "%41.db", "a&mode=memory.db", "ünï 🛒.sqlite", ":memory:", "it's \"q\".db", "a;b.db", "-x", "c:\\d.db"} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, sound, 0o600))
		for _, mode := range []Mode{Read, Write} {
			db, err := Open(t.Context(), path, mode)
			require.NoError(t, err, name)
			require.Equal(t, 3, costs(t, db), name)
			require.NoError(t, db.Close())
		}
		require.Equal(t, []string{name}, listing(t, filepath.Dir(path)))
	}
}

func TestReaderCannotWrite(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), build(t, Schema+soundRows), Read)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec(`DELETE FROM session_costs`)
	require.Error(t, err)
	require.Equal(t, 3, costs(t, db))
}

func TestWriterSettings(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), build(t, Schema), Write, BusyTimeout(1234*time.Millisecond))
	require.NoError(t, err)
	defer db.Close()
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "1234"} {
		var got string
		require.NoError(t, db.QueryRow("PRAGMA "+pragma).Scan(&got))
		require.Equal(t, want, got, pragma)
	}
	require.Equal(t, 1, db.Stats().MaxOpenConnections)
	var probes int
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM sqlite_schema WHERE name LIKE 'pipeline%'`).Scan(&probes))
	require.Zero(t, probes, "the probe leaves nothing")
}

// A reader sees what a writer committed, while the writer goes on.
func TestReaderBesideWriter(t *testing.T) {
	t.Parallel()
	path := build(t, Schema+soundRows)
	w, err := Open(t.Context(), path, Write)
	require.NoError(t, err)
	defer w.Close()
	r, err := Open(t.Context(), path, Read, Readers(2))
	require.NoError(t, err)
	defer r.Close()
	tx, err := w.Begin()
	require.NoError(t, err)
	_, err = tx.Exec(`INSERT INTO session_costs VALUES ('s9', 1)`)
	require.NoError(t, err)
	require.Equal(t, 3, costs(t, r))
	require.NoError(t, tx.Commit())
	require.Equal(t, 4, costs(t, r))
}

func TestLogLeftBehind(t *testing.T) {
	t.Parallel()
	path := withLog(t)
	r, err := Open(t.Context(), path, Read)
	require.NoError(t, err)
	require.Equal(t, 4, costs(t, r))
	require.NoError(t, r.Close())
}

func TestFold(t *testing.T) {
	t.Parallel()
	path := withLog(t)
	link := filepath.Join(t.TempDir(), "linked.db")
	require.NoError(t, os.Symlink(path, link))
	reader, err := Open(t.Context(), path, Read)
	require.NoError(t, err)
	require.Equal(t, 4, costs(t, reader))
	Checkpoint(link)
	require.FileExists(t, path+"-wal", "it is in use")
	require.NoError(t, reader.Close())

	path = withLog(t)
	Checkpoint(path)
	require.NoFileExists(t, path+"-wal")
	r, err := Open(t.Context(), path, Read)
	require.NoError(t, err)
	require.Equal(t, 4, costs(t, r))
	require.NoError(t, r.Close())
}

// Those of one process that close at once do not each leave the log to another.
func TestKeepersThatCloseAtOnce(t *testing.T) {
	t.Parallel()
	path := withLog(t)
	for range 20 {
		var keepers []*Handle
		for _, mode := range []Mode{Write, Read, Write, Read} {
			k := NewHandle(path, mode)
			db, fresh, err := k.DB(t.Context())
			require.NoError(t, err)
			require.True(t, fresh)
			require.Equal(t, 4, costs(t, db))
			keepers = append(keepers, k)
		}
		require.FileExists(t, path+"-wal")
		var g errgroup.Group
		for _, k := range keepers {
			g.Go(k.Close)
		}
		require.NoError(t, g.Wait())
		require.NoFileExists(t, path+"-wal")
	}
	kept.Lock()
	defer kept.Unlock()
	require.NotContains(t, kept.by, path)
}

// A crash between growing the file's header and its pages leaves a file shorter
// than it says, and a log that makes it whole.
func TestShortFileWithLog(t *testing.T) {
	t.Parallel()
	path := withLog(t)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()-1))
	require.NoError(t, CheckFile(path))
	require.NoError(t, os.Truncate(path+"-wal", 0))
	require.Equal(t, errkind.Input, errkind.KindOf(CheckFile(path)))
}

func TestReadOnlyPlace(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T) string
		want int
	}{
		"plain":         {func(t *testing.T) string { return build(t, Schema+soundRows) }, 3},
		"wal mode":      {func(t *testing.T) string { return build(t, "PRAGMA journal_mode=WAL;"+Schema+soundRows) }, 3},
		"wal with rows": {withLog, 4},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.make(t)
			dir := filepath.Dir(path)
			for _, name := range listing(t, dir) {
				require.NoError(t, os.Chmod(filepath.Join(dir, name), 0o444))
			}
			require.NoError(t, os.Chmod(dir, 0o555))
			before := listing(t, dir)
			unprivileged(t, dir, func() {
				r, err := Open(t.Context(), path, Read)
				require.NoError(t, err)
				require.Equal(t, c.want, costs(t, r))
				report, err := Validate(t.Context(), r, findings.Options{})
				require.NoError(t, err)
				require.NoError(t, report.Err())
				require.NoError(t, r.Close())

				w, err := Open(t.Context(), path, Write)
				require.Nil(t, w)
				require.Equal(t, errkind.Environment, errkind.KindOf(err), err)
				require.Contains(t, err.Error(), "check the rights")
			})
			require.Equal(t, before, listing(t, dir))
		})
	}
}

func TestUnreadableFile(t *testing.T) {
	path := build(t, Schema)
	require.NoError(t, os.Chmod(path, 0))
	unprivileged(t, filepath.Dir(path), func() {
		_, err := Open(t.Context(), path, Read)
		require.Equal(t, errkind.Environment, errkind.KindOf(err))
		require.ErrorIs(t, err, fs.ErrPermission)
	})
}

func TestWriterMeetsLock(t *testing.T) {
	t.Parallel()
	for _, journal := range []string{"DELETE", "WAL"} {
		t.Run(journal, func(t *testing.T) {
			t.Parallel()
			path := build(t, Schema+soundRows)
			other, err := sql.Open("sqlite3", "file:"+path+"?_txlock=exclusive&_journal_mode="+journal)
			require.NoError(t, err)
			defer other.Close()
			tx, err := other.Begin()
			require.NoError(t, err)

			_, err = Open(t.Context(), path, Write, BusyTimeout(20*time.Millisecond))
			require.Equal(t, errkind.Environment, errkind.KindOf(err), err)
			require.Contains(t, err.Error(), "locked by another program")

			opened := make(chan error)
			go func() {
				db, err := Open(context.Background(), path, Write, BusyTimeout(time.Minute))
				if err == nil {
					err = db.Close()
				}
				opened <- err
			}()
			require.NoError(t, tx.Rollback())
			require.NoError(t, <-opened, "it waits until the lock is gone")
		})
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	path := build(t, Schema)
	old, err := Identity(path)
	require.NoError(t, err)
	db, err := Open(t.Context(), path, Read) // keeps the inode from being used again
	require.NoError(t, err)
	defer db.Close()
	again, err := Identity(path)
	require.NoError(t, err)
	require.Equal(t, old, again)

	link := path + ".link"
	require.NoError(t, os.Symlink(path, link))
	linked, err := Identity(link)
	require.NoError(t, err)
	require.Equal(t, old, linked)

	require.NoError(t, os.Rename(build(t, Schema), path))
	replaced, err := Identity(path)
	require.NoError(t, err)
	require.NotEqual(t, old, replaced)

	_, err = Identity(path + ".none")
	require.Equal(t, errkind.Environment, errkind.KindOf(err))
}

func TestExplain(t *testing.T) {
	t.Parallel()
	for code, want := range map[sqlite3.ErrNo]errkind.Kind{
		sqlite3.ErrCorrupt:  errkind.Input,
		sqlite3.ErrNotADB:   errkind.Input,
		sqlite3.ErrBusy:     errkind.Environment,
		sqlite3.ErrLocked:   errkind.Environment,
		sqlite3.ErrReadonly: errkind.Environment,
		sqlite3.ErrFull:     errkind.Environment,
		sqlite3.ErrIoErr:    errkind.Environment,
		sqlite3.ErrCantOpen: errkind.Environment,
		sqlite3.ErrMisuse:   errkind.Run,
		sqlite3.ErrError:    errkind.Run,
	} {
		err := Explain("shop.db", fmt.Errorf("reading: %w", sqlite3.Error{Code: code}))
		require.Equal(t, want, errkind.KindOf(err), err)
		require.Equal(t, want != errkind.Run, strings.Contains(err.Error(), `"shop.db"`))
	}
	require.NoError(t, Explain("shop.db", nil))
	require.Equal(t, context.Canceled, Explain("shop.db", context.Canceled))
	classified := errkind.Inputf("already")
	require.Equal(t, classified, Explain("shop.db", classified))
	require.Equal(t, errkind.Environment, errkind.KindOf(Explain("shop.db", errNoWAL)))
}
