package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/retry"
	"github.com/ihc-pipeline/ihc/store"
)

// Mode says what a database is opened for.
type Mode int

const (
	// Read opens a pool of connections that cannot write. It works on a file
	// or directory that may only be read, also when a write-ahead log was left
	// behind, and beside a writer.
	Read Mode = iota
	// Write opens exactly one connection that writes: write-ahead log, every
	// commit synced to the disk, every transaction begun as the writer it is
	// going to be (so that it waits at its start and not in its middle).
	Write
)

const (
	defaultBusyTimeout = 30 * time.Second
	defaultReaders     = 4
)

type settings struct {
	busy    time.Duration
	readers int
	shown   string
	asItIs  bool
}

// Option changes how [Open] opens a database.
type Option func(*settings)

// BusyTimeout sets how long a statement waits for a lock held by another
// connection or program before it fails. The default is 30 seconds.
func BusyTimeout(d time.Duration) Option { return func(s *settings) { s.busy = d } }

// Readers sets the greatest number of connections of a [Read] pool, at least
// 1. The default is 4. [Write] always has one.
func Readers(n int) Option { return func(s *settings) { s.readers = max(n, 1) } }

// ShownAs sets the name errors call the database by, in place of its path.
func ShownAs(name string) Option { return func(s *settings) { s.shown = name } }

// asItIs has [Write] leave the journal mode as it is: for a transaction that is
// rolled back, or none.
func asItIs() Option { return func(s *settings) { s.asItIs = true } }

// Open opens the SQLite database in the file at path, which must exist: Open
// never creates one. On success the file was read and is a SQLite database.
//
// A file that is missing, no regular file, locked, or may not be read (or, for
// [Write], written) is an Environment fault; a file that is empty, cut short,
// encrypted or of another kind is an Input fault. See package errkind. The
// message names the path.
func Open(ctx context.Context, path string, mode Mode, opts ...Option) (*sql.DB, error) {
	s := settings{busy: defaultBusyTimeout, readers: defaultReaders, shown: path}
	for _, o := range opts {
		o(&s)
	}
	if err := checkKind(path, s.shown); err != nil {
		return nil, err
	}
	path = followed(path)
	arrive(path)
	if err := await(ctx, path, mode, s); err != nil {
		return nil, Explain(s.shown, err)
	}
	file, _ := Identity(path) // before: what is put in its place meanwhile is another
	open := openReader
	if mode == Write {
		open = openWriter
	}
	db, err := open(ctx, path, s)
	if err == nil {
		if err := checkWhole(ctx, db, path, s.shown); err != nil {
			_ = db.Close()
			return nil, err
		}
		note(path, file)
		return db, nil
	}
	// What SQLite cannot make sense of, the file's first bytes may explain.
	// Looking at them before would cost the locks of other connections.
	if isSQLite(err, sqlite3.ErrNotADB, sqlite3.ErrCorrupt, sqlite3.ErrFormat, sqlite3.ErrCantOpen, sqlite3.ErrPerm) {
		if why := checkContent(path, s.shown); why != nil {
			return nil, why
		}
	}
	if isSQLite(err, sqlite3.ErrError) && ctx.Err() == nil { // to look at the schema is all that was tried
		return nil, errkind.Inputf("database %q cannot be read: %w; it is of a later SQLite, or damaged: restore it from a backup", s.shown, err)
	}
	return nil, Explain(s.shown, err)
}

// checkWhole finds a file that lacks the end of its last page, which SQLite
// does not mind until it reads there. Its size is looked at after its pages
// were counted, since another may write to it: a log that is gone by then is in
// the file, and a file that was cut off meanwhile has fewer pages the next time.
func checkWhole(ctx context.Context, db *sql.DB, path, shown string) error {
	for last := int64(-1); ; {
		var size int64
		if err := db.QueryRowContext(ctx, `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`).Scan(&size); err != nil {
			return Explain(shown, err)
		}
		if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
			return nil // the file may be behind what its log says
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return errkind.Environmentf("no database at %q: %w", shown, bare(err))
		case info.Size() >= size:
			return nil
		case size == last:
			return cutShort(shown, info.Size(), size)
		}
		last = size
	}
}

// readCache is how much a reading connection caches, as SQLite spells KiB, and
// in how much memory it sorts before it takes to files. Tables are read in
// order: more would not help.
const readCache = "-4096"

// openReader leaves the file to SQLite with full rights and forbids writing by
// query_only. A connection with mode=ro would leave its -shm and -wal files
// lying about, and could not recover after a crashed writer.
func openReader(ctx context.Context, path string, s settings) (*sql.DB, error) {
	query := url.Values{"mode": {"rw"}, "_query_only": {"1"}, "_cache_size": {readCache}, "_stmt_cache_size": {"8"}} // some are asked of every journey
	db, err := connect(ctx, path, s, query, s.readers, probeRead)
	if !isSQLite(err, sqlite3.ErrReadonly, sqlite3.ErrCantOpen) {
		return db, err
	}
	if journal, statErr := os.Stat(path + "-journal"); statErr == nil && journal.Size() > 0 {
		return nil, err // only who may write can put it back: see [Explain]
	}
	// A database in write-ahead mode cannot be opened where its index file
	// cannot be made. What is to be read depends on whether there is a log.
	query.Set("mode", "ro")
	if log, statErr := os.Stat(path + "-wal"); statErr == nil && log.Size() > 0 {
		query.Set("vfs", "unix-none") // no locks, hence no index file: it is kept in memory
		query.Set("_locking_mode", "EXCLUSIVE")
	} else {
		query.Set("immutable", "1")
	}
	db, retryErr := connect(ctx, path, s, query, s.readers, probeRead)
	if retryErr != nil {
		return nil, err
	}
	return db, nil
}

func openWriter(ctx context.Context, path string, s settings) (*sql.DB, error) {
	// The first switch to the write-ahead log does not wait for other
	// connections as statements do.
	query := url.Values{
		"mode":         {"rw"},
		"_txlock":      {"immediate"},
		"_synchronous": {"FULL"},
		// KiB: rows are appended, or written in the order of their key.
		"_cache_size": {"-8192"},
	}
	probe := probeWrite
	if !s.asItIs {
		query.Set("_journal_mode", "WAL")
		probe = probeLog
	}
	for end := time.Now().Add(s.busy); ; {
		db, err := connect(ctx, path, s, query, 1, probe)
		if !isSQLite(err, sqlite3.ErrBusy) || time.Now().After(end) {
			return db, err
		}
		if retry.Sleep(ctx, retry.Real, retry.Lock.Delay(1)) != nil {
			return nil, err
		}
	}
}

func connect(ctx context.Context, path string, s settings, query url.Values, conns int, probe func(context.Context, *sql.DB) error) (*sql.DB, error) {
	query.Set("_mutex", "no") // database/sql lends a connection to one goroutine at a time
	query.Set("_busy_timeout", strconv.FormatInt(s.busy.Milliseconds(), 10))
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: query.Encode()}
	db := sql.OpenDB(guarded{dsn.String()})
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	if err := probe(ctx, db); err != nil {
		_ = db.Close() // the probe's error says what is wrong
		return nil, err
	}
	return db, nil
}

// probeRead makes SQLite read the file, which it does not do on opening it.
func probeRead(ctx context.Context, db *sql.DB) error {
	var n int64
	return db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&n)
}

var errNoWAL = errors.New("its file system does not support SQLite's write-ahead log")

// probeWrite finds out now, and not at the first result, that a database
// cannot be written: SQLite opens a read-only file for writing without a word.
func probeWrite(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	_, err = tx.ExecContext(ctx, `CREATE TABLE pipeline_probe (x)`)
	return err
}

// probeLog finds out as well whether there can be a write-ahead log.
func probeLog(ctx context.Context, db *sql.DB) error {
	journal, err := journalMode(ctx, db, `PRAGMA journal_mode`)
	if err == nil {
		err = probeWrite(ctx, db)
	}
	if err == nil && journal != writeAhead {
		return errNoWAL
	}
	return err
}

// Explain turns an error that came from SQLite, at whatever point, into one
// line for the user that names the database and says what to do, classified:
// a damaged file is an Input fault; a locked, unwritable or unreachable one, or
// a full disk, an Environment fault. Other errors, context errors and errors
// already classified are returned as they are. A nil err stays nil.
func Explain(path string, err error) error {
	var e sqlite3.Error
	switch {
	case err == nil, errkind.KindOf(err) != errkind.Run:
		return err
	case errors.Is(err, errNoWAL):
		return errkind.Environmentf("database %q cannot be written: %w; move it to a local disk", path, err)
	case !errors.As(err, &e):
		return err
	}
	if e.SystemErrno == syscall.ENOSPC { // in the log's index, which SQLite tells otherwise
		e.Code = sqlite3.ErrFull
	}
	if journal, left := os.Stat(followed(path) + "-journal"); left == nil && journal.Size() > 0 && isSQLite(e, sqlite3.ErrReadonly, sqlite3.ErrCantOpen) {
		return errkind.Environmentf("database %q was left in the middle of a transaction: %w; open it once as a user who may write to it and its directory, by ihc validate for example, which puts it back", path, err)
	}
	switch e.Code {
	case sqlite3.ErrNotADB:
		return errkind.Inputf("%q is no SQLite database, or is encrypted or damaged: %w", path, err)
	case sqlite3.ErrCorrupt, sqlite3.ErrFormat:
		if _, lost := os.Stat(followed(path) + "-wal"); lost == nil {
			return errkind.Inputf("database %q is damaged or cut short: %w; restore it from a backup, or remove %q if that was left by another database in its place", path, err, path+"-wal")
		}
		return errkind.Inputf("database %q is damaged or cut short: %w; restore it from a backup", path, err)
	case sqlite3.ErrTooBig:
		return errkind.Inputf("database %q holds a value of more than %d MiB: %w; is a file in a column of text? Shorten it", path, longestValue>>20, err)
	case sqlite3.ErrBusy, sqlite3.ErrLocked:
		return errkind.Environmentf("database %q is %w: %w; close it or try again later", path, store.ErrLocked, err)
	case sqlite3.ErrReadonly:
		return errkind.Environmentf("database %q cannot be written: %w; check the rights of the file and its directory", path, err)
	case sqlite3.ErrFull:
		return errkind.Environmentf("no space left for database %q: %w; free some and run again", path, err)
	case sqlite3.ErrCantOpen, sqlite3.ErrPerm, sqlite3.ErrAuth:
		return errkind.Environmentf("database %q cannot be opened: %w; check the rights of the file and its directory", path, err)
	case sqlite3.ErrIoErr, sqlite3.ErrNomem, sqlite3.ErrProtocol:
		return errkind.Environmentf("database %q cannot be used: %w; check its disk", path, err)
	default:
		return err
	}
}

// isSQLite tells whether err came from SQLite with one of the codes.
func isSQLite(err error, codes ...sqlite3.ErrNo) bool {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.Code == c {
			return true
		}
	}
	return false
}

// FileID identifies a file, also after it was removed. Two values are equal, by
// ==, if and only if they are of the same file: a file system soon gives the
// number of one that is gone to another, so that it takes the time of its birth,
// in nanoseconds since 1970, as well. Where that is 0, which the system does not
// tell, a value is good for as long as something holds the file open.
type FileID struct {
	Device uint64
	Inode  uint64
	Born   int64
}

// Identity returns the identity of the file now at path (symbolic links
// followed). A service that keeps a database open compares it with the one it
// opened, and opens the database anew when the file was replaced.
func Identity(path string) (FileID, error) {
	info, err := os.Stat(path)
	if err != nil {
		return FileID{}, errkind.Environmentf("no database at %q: %w", path, bare(err))
	}
	id, ok := fileID(info)
	if !ok {
		return FileID{}, fmt.Errorf("the system does not tell the identity of %q", path)
	}
	id.Born = born(path)
	return id, nil
}
