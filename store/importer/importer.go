// Package importer brings a database someone sent, zipped or plain, into the
// data directory, and trusts nothing about it: names that lead elsewhere, links,
// archives that unpack to more than the disk holds, files that are no database.
package importer

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// Options says where the database goes and what is too much.
type Options struct {
	// Dir is the directory the database is put in; it is made if need be.
	// Empty means "data".
	Dir string
	// Name is the file's name in Dir. Empty means the name it has in the
	// archive; without an extension it gets ".db".
	Name string
	// Replace lets an existing file be replaced.
	Replace bool
	// MaxBytes is the most the database may unpack to. 0 means 64 GiB.
	MaxBytes int64
	// MaxRatio is how many times its packed size a database over 64 MiB may
	// unpack to. 0 means 200; databases come to 3 to 30.
	MaxRatio int64
}

const (
	defaultMaxBytes = 64 << 30
	defaultMaxRatio = 200
	anyRatioBytes   = 64 << 20 // below it the ratio does not matter
)

func (o Options) withDefaults() Options {
	if o.Dir == "" {
		o.Dir = "data"
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.MaxRatio <= 0 {
		o.MaxRatio = defaultMaxRatio
	}
	return o
}

// Result tells what was imported.
type Result struct {
	Path   string `json:"path"`             // where the database is now
	Member string `json:"member,omitempty"` // its name in the archive; empty for a plain file
	Bytes  int64  `json:"bytes"`
}

// Import takes the one SQLite database (*.db, *.sqlite, *.sqlite3) out of the
// zip archive at file, in whatever folder of it, or copies file if it is a
// database itself. The database appears whole or not at all.
//
// An archive that is damaged, encrypted, unsafe or too large, has none or
// several databases, or whose database is none, is an Input fault, and so is an
// existing file that may not be replaced; a missing file, missing rights and a
// full disk are Environment faults (see package errkind).
func Import(ctx context.Context, file string, opts Options) (Result, error) {
	opts = opts.withDefaults()
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Result{}, errkind.Environmentf("nothing to import at %q: no such file", file)
	case err != nil:
		return Result{}, errkind.Environmentf("nothing to import at %q: %w", file, bare(err))
	case info.IsDir():
		return Result{}, errkind.Environmentf("nothing to import at %q: it is a directory; name the zip in it", file)
	case !info.Mode().IsRegular():
		return Result{}, errkind.Environmentf("nothing to import at %q: it is no regular file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return Result{}, errkind.Environmentf("%q cannot be read: %w; check the rights of the file", file, bare(err))
	}
	defer f.Close() //nolint:errcheck // only read

	head := make([]byte, 4)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Result{}, errkind.Environmentf("%q cannot be read: %w; check its disk", file, bare(err))
	}
	if !bytes.HasPrefix(head[:n], []byte("PK")) {
		return importPlain(ctx, file, f, info.Size(), opts)
	}
	return importZip(ctx, file, f, info.Size(), opts)
}

// importPlain copies a file that is a database already.
func importPlain(ctx context.Context, file string, f *os.File, size int64, opts Options) (Result, error) {
	if err := sqlite.CheckFile(file); err != nil {
		return Result{}, errkind.As(errkind.KindOf(err), fmt.Errorf("%w; ihc import takes a zip with a database in it, or a database", err))
	}
	for _, log := range []string{"-wal", "-journal"} {
		if info, err := os.Stat(file + log); err == nil && info.Size() > 0 {
			return Result{}, errkind.Inputf("%q is in use or was left in the middle of a change (there is %q); close the program that writes it first", file, file+log)
		}
	}
	in := input{shown: file, name: filepath.Base(file), size: size, packed: size,
		open: func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(f, 0, size)), nil }}
	return unpack(ctx, in, opts)
}

func importZip(ctx context.Context, file string, f *os.File, size int64, opts Options) (Result, error) {
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return Result{}, errkind.Inputf("%q is a damaged or incomplete zip: %w; download it again", file, err)
	}
	member, err := choose(file, archive.File)
	if err != nil {
		return Result{}, err
	}
	in := input{
		shown: file + ": " + member.Name, name: member.Name[strings.LastIndexAny(member.Name, `/\`)+1:],
		size: clamp(member.UncompressedSize64), packed: clamp(member.CompressedSize64),
		open: member.Open,
	}
	result, err := unpack(ctx, in, opts)
	if err != nil {
		return Result{}, err
	}
	result.Member = member.Name
	return result, nil
}

// choose returns the one database among an archive's files. An archive in which
// anything is unsafe is refused whole: whoever made it meant no good.
func choose(file string, members []*zip.File) (*zip.File, error) {
	var databases, others []string
	var found *zip.File
	for _, m := range members {
		if why := unsafe(m); why != "" {
			return nil, errkind.Inputf("%q is not safe to unpack: %s %s", file, quote(m.Name), why)
		}
		switch {
		case m.FileInfo().IsDir(), junk(m.Name):
		case isDatabase(m.Name):
			databases = append(databases, quote(m.Name))
			found = m
		default:
			others = append(others, quote(m.Name))
		}
	}
	switch {
	case len(databases) == 0:
		return nil, errkind.Inputf("%q holds no database (*.db, *.sqlite, *.sqlite3), only %s", file, list(others))
	case len(databases) > 1:
		return nil, errkind.Inputf("%q holds %d databases: %s; import an archive of one of them", file, len(databases), list(databases))
	}
	for _, m := range members {
		if (m.Name == found.Name+"-wal" || m.Name == found.Name+"-journal") && m.UncompressedSize64 > 0 {
			return nil, errkind.Inputf("%q was packed while its database was in use (there is %s); close the program that writes it and pack it again", file, quote(m.Name))
		}
	}
	const encrypted = 1 // bit of the general purpose flags
	if found.Flags&encrypted != 0 {
		return nil, errkind.Inputf("%q: %s is encrypted; unpack it with its password, then import the database itself", file, quote(found.Name))
	}
	if found.Method != zip.Store && found.Method != zip.Deflate {
		return nil, errkind.Inputf("%q: %s is packed by method %d, which is not supported; pack it with an ordinary zip program", file, quote(found.Name), found.Method)
	}
	return found, nil
}

// unsafe says why a member of an archive may not be unpacked, or nothing.
func unsafe(m *zip.File) string {
	name := m.Name
	switch {
	case name == "":
		return "has no name"
	case strings.ContainsRune(name, 0):
		return "has a name that ends early"
	case strings.HasPrefix(name, "/"), strings.HasPrefix(name, `\`), len(name) > 1 && name[1] == ':':
		return "has an absolute name"
	}
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == ".." {
			return "leads out of the directory"
		}
	}
	switch mode := m.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return "is a link"
	case !mode.IsDir() && !mode.IsRegular():
		return "is no regular file"
	}
	return ""
}

// junk is what operating systems put into archives unasked.
func junk(name string) bool {
	for _, part := range strings.Split(name, "/") {
		if part == "__MACOSX" || strings.HasPrefix(part, ".") && part != "." || strings.EqualFold(part, "Thumbs.db") {
			return true
		}
	}
	return false
}

func isDatabase(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".db", ".sqlite", ".sqlite3":
		return true
	}
	return false
}
