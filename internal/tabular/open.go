package tabular

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Stdin is the name of standard input.
const Stdin = "-"

// Source is one table that can be read.
type Source struct {
	// Name is the file, or the file and the member inside of it.
	Name string
	// Open reads it from its beginning; an error names it.
	Open func(Options) (Rows, error)
}

// Find returns the tables of a file: one, or those that a zip holds, in its
// order; of visits.zip/2024-*.csv those that are named so in it. Read, if not nil, is told of bytes that are read, packed as they are.
func Find(file string, stdin io.Reader, read func(n int)) ([]Source, error) {
	if file == Stdin {
		open := func(o Options) (Rows, error) {
			return unpack("standard input", "", &counted{stdin, read}, o, func() error { return nil })
		}
		return []Source{{"standard input", open}}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		if archive, like := inside(file); archive != "" {
			return members(archive, like, read)
		}
		return nil, errkind.As(errkind.Environment, err)
	}
	defer f.Close() //nolint:errcheck // only read
	var magic [4]byte
	_, _ = io.ReadFull(f, magic[:])
	if string(magic[:]) == "PK\x03\x04" || string(magic[:]) == "PK\x05\x06" { // the latter is empty
		return members(file, "", read)
	}
	open := func(o Options) (Rows, error) {
		f, err := os.Open(file)
		if err != nil {
			return nil, errkind.As(errkind.Environment, err)
		}
		return unpack(file, file, &counted{f, read}, o, f.Close)
	}
	return []Source{{file, open}}, nil
}

// inside returns the zip that a name leads into, and what of it is meant; "" where
// there is none.
func inside(name string) (archive, like string) {
	for at := range len(name) {
		if name[at] != '/' && name[at] != filepath.Separator {
			continue
		}
		if info, err := os.Stat(name[:at]); err == nil && info.Mode().IsRegular() {
			return name[:at], filepath.ToSlash(name[at+1:])
		}
	}
	return "", ""
}

// members are the tables inside a zip, those of a name or pattern where there is
// one.
func members(file, like string, read func(int)) ([]Source, error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return nil, errkind.Inputf("%s: the zip is damaged or incomplete: %w", file, err)
	}
	defer z.Close() //nolint:errcheck // only read
	named := slices.ContainsFunc(z.File, func(m *zip.File) bool { return m.Name == like })
	var found []Source
	for i, m := range z.File {
		if meant, _ := path.Match(like, m.Name); like != "" && m.Name != like && (named || !meant) {
			continue
		}
		if m.FileInfo().IsDir() || strings.Contains(m.Name, "__MACOSX") || strings.HasPrefix(path.Base(m.Name), ".") || !known(m.Name) {
			continue
		}
		name := file + "/" + m.Name
		found = append(found, Source{name, func(o Options) (Rows, error) {
			z, err := zip.OpenReader(file)
			if err != nil {
				return nil, errkind.Inputf("%s: %w", name, err)
			}
			r, err := z.File[i].Open()
			if err != nil {
				return nil, errors.Join(errkind.Inputf("%s: %w", name, err), z.Close())
			}
			return unpack(name, m.Name, &counted{r, read}, o, func() error { return errors.Join(r.Close(), z.Close()) })
		}})
	}
	if len(found) == 0 && like != "" {
		return nil, errkind.Inputf("%s: no table %s is in the zip", file, like)
	}
	if slices.ContainsFunc(z.File, func(m *zip.File) bool { return m.Name == "xl/workbook.xml" }) {
		return nil, errkind.Inputf("%s: it is a workbook of a spreadsheet: save its sheet as CSV in UTF-8, and name that", file)
	}
	if len(found) == 0 {
		return nil, errkind.Inputf("%s: no CSV, TSV, JSON lines or Parquet is in the zip", file)
	}
	return found, nil
}

var extensions = map[string]string{".csv": "csv", ".txt": "csv", ".tsv": "tsv", ".tab": "tsv",
	".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet", ".pq": "parquet"}

func bare(name string) string {
	name = strings.ToLower(name)
	return strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst"), ".zstd")
}

func known(name string) bool { return extensions[path.Ext(bare(name))] != "" }

// unpack takes off what a stream is packed by, and reads what is inside.
func unpack(shown, name string, r io.Reader, o Options, closing func() error) (rows Rows, err error) {
	defer func() {
		if err != nil {
			_ = closing()
			kind := errkind.KindOf(err)
			if kind == errkind.Run && errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("it ends before what is packed in it does: is it whole?")
			}
			if kind == errkind.Run {
				kind = errkind.Input
			}
			err = errkind.As(kind, &named{shown, err})
		}
	}()
	b := bufio.NewReaderSize(r, 64<<10)
	magic, _ := b.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, errkind.Inputf("the gzip is damaged or incomplete: %w", err)
		}
		b = bufio.NewReaderSize(z, 64<<10)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		before := closing
		closing = func() error { z.Close(); return before() }
		b = bufio.NewReaderSize(z, 64<<10)
	}
	head, _ := b.Peek(512)
	if o.Format == "" {
		o.Format = extensions[path.Ext(bare(name))]
	}
	switch start := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n"); {
	case bytes.HasPrefix(head, []byte("PAR1")):
		return spool(b, closing)
	case o.Format == "parquet":
		return nil, errkind.Inputf("it is no Parquet file")
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return nil, errkind.Inputf("a zip cannot be read from a stream or out of another: unpack it first")
	case bytes.HasPrefix(head, []byte("SQLite format 3\x00")):
		return nil, errkind.Inputf("it is a SQLite database: name it by --from, and its tables by --sessions and so on")
	case o.Format == "jsonl", o.Format == "" && bytes.HasPrefix(start, []byte("{")):
		return openJSON(b, o, closing)
	case o.Format == "", o.Format == "csv", o.Format == "tsv":
		return openCSV(b, o, closing)
	}
	return nil, errkind.Inputf("--format %q is not known: choose csv, tsv, jsonl or parquet", o.Format)
}

// spool puts a Parquet file, whose table of contents is at its end, where it
// can be read from anywhere.
func spool(r io.Reader, closing func() error) (Rows, error) {
	temp, err := os.CreateTemp("", "ihc-parquet-")
	if err != nil {
		return nil, errkind.As(errkind.Environment, err)
	}
	_ = os.Remove(temp.Name()) // it is gone when it is closed
	size, err := io.Copy(temp, r)
	if err != nil {
		return nil, errors.Join(err, temp.Close())
	}
	rows, err := openParquet(temp, size, func() error { return errors.Join(temp.Close(), closing()) })
	if err != nil {
		_ = temp.Close()
	}
	return rows, err
}

type named struct {
	name string
	err  error
}

func (n *named) Error() string { return n.name + ": " + n.err.Error() }
func (n *named) Unwrap() error { return n.err }

// counted tells of the bytes that are read.
type counted struct {
	r    io.Reader
	read func(int)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.read != nil {
		c.read(n)
	}
	return n, err
}
