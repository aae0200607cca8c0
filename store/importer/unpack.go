package importer

import (
	"archive/zip"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// input is a database to be unpacked.
type input struct {
	shown        string // what errors call it
	name         string // its own name, without directories
	size, packed int64  // as the archive says, which may be a lie
	open         func() (io.ReadCloser, error)
}

// unpack copies the database to its place, if it is one.
func unpack(ctx context.Context, in input, opts Options) (Result, error) {
	name, err := target(in, opts)
	if err != nil {
		return Result{}, err
	}
	limit := min(opts.MaxBytes, max(saturating(in.packed, opts.MaxRatio), anyRatioBytes))
	if in.size > limit {
		return Result{}, tooMuch(in, opts)
	}
	result := Result{Path: filepath.Join(opts.Dir, name)}
	err = sqlite.Place(result.Path, opts.Replace, func(temp string) error {
		if free, ok := Free(filepath.Dir(temp)); ok && in.size > free {
			return errkind.Environmentf("no space left in %q: %q needs %s and %s are free; free some, or choose another directory with --data",
				opts.Dir, in.shown, megabytes(in.size), megabytes(free))
		}
		// The zip reader stops where a member gets larger than it said.
		result.Bytes, err = copyTo(ctx, temp, in)
		if err != nil {
			return err
		}
		db, err := sqlite.Open(ctx, temp, sqlite.Read, sqlite.ShownAs(in.shown))
		if err != nil {
			return err
		}
		return db.Close()
	})
	if err != nil {
		return Result{}, err
	}
	return result, nil
}

// target returns the file name the database gets.
func target(in input, opts Options) (string, error) {
	name := opts.Name
	if name == "" {
		name = in.name
	}
	if name == "." || name == ".." || strings.ContainsAny(name, `/\`) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(name) > 200 {
		return "", errkind.Inputf("%s cannot be the name of a database file; give a plain one with --name", quote(name))
	}
	if filepath.Ext(name) == "" {
		name += ".db"
	}
	return name, nil
}

func copyTo(ctx context.Context, temp string, in input) (int64, error) {
	from, err := in.open()
	if err != nil {
		return 0, damaged(in, err)
	}
	defer from.Close()
	to, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, errkind.Environmentf("%q cannot be written: %w; check the rights of its directory", temp, bare(err))
	}
	n, err := io.Copy(to, &reader{ctx: ctx, from: from, in: in})
	if closeErr := to.Close(); err == nil {
		err = closeErr
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) { // of the file written, as reader tells its own
		return n, errkind.Environmentf("%q cannot be written: %w; check its disk", temp, pathErr.Err)
	}
	return n, err
}

// reader reads what is unpacked for as long as somebody waits for it.
type reader struct {
	ctx  context.Context
	from io.Reader
	in   input
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.from.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, damaged(r.in, err)
}

// damaged classifies an error in unpacking.
func damaged(in input, err error) error {
	var corrupt flate.CorruptInputError
	var internal flate.InternalError
	if errors.Is(err, zip.ErrChecksum) || errors.Is(err, zip.ErrFormat) || errors.Is(err, zip.ErrAlgorithm) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &corrupt) || errors.As(err, &internal) {
		return errkind.Inputf("%q is damaged or incomplete: %w; download the archive again", in.shown, err)
	}
	return errkind.Environmentf("%q cannot be read: %w; check its disk", in.shown, bare(err))
}

func tooMuch(in input, opts Options) error {
	if in.size > opts.MaxBytes {
		return errkind.Inputf("%q would unpack to %s; at most %s are allowed", in.shown, megabytes(in.size), megabytes(opts.MaxBytes))
	}
	return errkind.Inputf("%q unpacks to far more than its packed %s, as a zip bomb does; unpack it by hand if you trust it, and import the database itself",
		in.shown, megabytes(in.packed))
}

// saturating multiplies, up to the largest number there is.
func saturating(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64/b {
		return math.MaxInt64
	}
	return a * b
}

func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

func megabytes(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// quote shows a name from an archive in one short line.
func quote(name string) string {
	if len(name) > 80 {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(name[:80], ""))
	}
	return fmt.Sprintf("%q", name)
}

// list shows a few of the names.
func list(names []string) string {
	const few = 5
	switch {
	case len(names) == 0:
		return "nothing"
	case len(names) > few:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
	default:
		return strings.Join(names, ", ")
	}
}

// bare takes path and system call out of a file error whose message names the path.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
