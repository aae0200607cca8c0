package sqlite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"unicode/utf8"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// The start of a database file: https://www.sqlite.org/fileformat.html#the_database_header
const (
	headerSize = 100
	magic      = "SQLite format 3\x00"

	offPageSize      = 16 // uint16; 1 means 65,536
	offChangeCounter = 24 // uint32
	offPageCount     = 28 // uint32; valid only if the next equals the change counter
	offValidFor      = 92 // uint32
)

// CheckFile tells whether the file at path can be a SQLite database, by its
// kind, size and first bytes, without opening it as one. Its errors are those
// of [Open].
//
// It must not be called for a database this process has open: POSIX gives up
// all locks a process holds on a file when it closes any handle of it, and
// another program could then take away the log this one still writes to
// (https://www.sqlite.org/howtocorrupt.html, section 2.2).
func CheckFile(path string) error {
	if err := checkKind(path, path); err != nil {
		return err
	}
	return checkContent(followed(path), path)
}

// checkKind looks at the file without opening it.
func checkKind(path, shown string) error {
	if path == "" {
		return errkind.Inputf("no database named; give its path with --db")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errkind.Environmentf("no database at %q: no such file", shown)
	case err != nil:
		return errkind.Environmentf("no database at %q: %w", shown, bare(err))
	case info.IsDir():
		return errkind.Environmentf("no database at %q: it is a directory; name the database file in it", shown)
	case !info.Mode().IsRegular():
		return errkind.Environmentf("no database at %q: it is no regular file", shown)
	case info.Size() == 0:
		return errkind.Inputf("%q is no database: the file is empty", shown)
	}
	return nil
}

// followed returns the file that a symbolic link leads to, beside which SQLite
// keeps its logs; path itself where it is none.
func followed(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// checkContent looks at the first bytes of the file.
func checkContent(path, shown string) error {
	f, err := os.Open(path)
	if err != nil {
		return errkind.Environmentf("database %q cannot be read: %w; check the rights of the file", shown, bare(err))
	}
	defer f.Close() //nolint:errcheck // only read
	head := make([]byte, headerSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return errkind.Environmentf("database %q cannot be read: %w; check its disk", shown, bare(err))
	}
	head = head[:n]
	if !bytes.HasPrefix(head, []byte(magic)) {
		return errkind.Inputf("%q is no SQLite database: %s", shown, guess(head))
	}
	info, err := f.Stat()
	if err != nil {
		return errkind.Environmentf("database %q cannot be read: %w; check its disk", shown, bare(err))
	}
	log, err := os.Stat(path + "-wal")
	whole := n == headerSize && info.Size() >= declaredSize(head)
	// With a log beside it the file may be behind what its header says.
	if !whole && (err != nil || log.Size() == 0) {
		return cutShort(shown, info.Size(), max(declaredSize(head), headerSize))
	}
	return nil
}

func cutShort(shown string, is, should int64) error {
	return errkind.Inputf("database %q is cut short: it holds %d of %d bytes; copy it anew", shown, is, should)
}

// guess says what a file that is no SQLite database is by its first bytes.
func guess(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return "it is a zip; unpack it with ihc import"
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return "it is compressed with gzip; unpack it first"
	case bytes.HasPrefix([]byte(magic), head):
		return "it is cut short"
	case isText(head):
		return "it is a text file"
	default:
		return "it is of another kind, or encrypted"
	}
}

func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 && len(b) >= utf8.UTFMax {
			return false // not merely a rune cut by the end of the header
		}
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
		b = b[n:]
	}
	return true
}

// declaredSize returns the size in bytes the file should have by its header, 0
// if the header does not say.
func declaredSize(head []byte) int64 {
	if len(head) < headerSize {
		return 0
	}
	page := int64(binary.BigEndian.Uint16(head[offPageSize:]))
	if page == 1 {
		page = 1 << 16
	}
	if binary.BigEndian.Uint32(head[offChangeCounter:]) != binary.BigEndian.Uint32(head[offValidFor:]) {
		return 0
	}
	return page * int64(binary.BigEndian.Uint32(head[offPageCount:]))
}

// bare takes the path and the name of the system call out of a file error, as
// the message around it names the path already.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// fileID reads the identity out of info where the system gives one.
func fileID(info fs.FileInfo) (FileID, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return FileID{}, false
	}
	return FileID{Device: uint64(st.Dev), Inode: st.Ino}, true //nolint:unconvert // of another type on other systems
}
