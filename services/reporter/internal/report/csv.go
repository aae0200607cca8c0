package report

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Header is the first line of the CSV.
var Header = []string{"channel_name", "date", "cost", "ihc", "ihc_revenue", "CPO", "ROAS"}

// Write writes rows as CSV, in their order. CPO is cost ÷ ihc and ROAS is
// ihc_revenue ÷ cost; where the divisor is 0 the cell is empty. Numbers have
// as many digits as it takes to read back the same double.
func Write(w io.Writer, rows []Row) error {
	c := csv.NewWriter(w)
	if err := c.Write(Header); err != nil {
		return err
	}
	for _, r := range rows {
		err := c.Write([]string{cell(r.Channel), r.Date, number64(r.Cost), number64(r.IHC), number64(r.IHCRevenue), ratio(r.Cost, r.IHC), ratio(r.IHCRevenue, r.Cost)})
		if err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// cell keeps a spreadsheet from taking a channel's name for a formula and
// running it, by putting an apostrophe before it (OWASP, "CSV Injection").
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func number64(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	return number64(a / b)
}

// WriteFile puts what write writes into the file at path, whole or not at all.
// It is written under one other name first, which two reporters take turns
// with; what a killed one left there is written over. Its errors are
// environment faults.
func WriteFile(path string, write func(io.Writer) error) (err error) {
	explain := func(err error) error { return errkind.Environmentf("cannot write %s: %w", path, err) }
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return explain(err)
	}
	f, err := openAlone(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part"))
	if err != nil {
		return explain(err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = explain(err)
		}
		_ = f.Close() // everything is synced
	}()
	b := bufio.NewWriterSize(f, 1<<16)
	for _, step := range []func() error{
		func() error { return write(b) },
		b.Flush,
		func() error { return f.Chmod(0o644) },
		f.Sync,
		func() error { return os.Rename(f.Name(), path) },
		func() error { return syncDir(filepath.Dir(path)) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// syncDir puts the names in a directory on the disk.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openAlone opens an empty file for writing that no other process has open by
// this function, waiting for those that do.
func openAlone(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		mine := false
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err == nil {
			mine, err = isAt(f, path)
		}
		if mine && err == nil {
			err = f.Truncate(0)
		}
		switch {
		case err != nil:
			return nil, errors.Join(err, f.Close())
		case mine:
			return f, nil
		}
		// Whoever had it has removed it, or has given it its name: it is the
		// finished report, and not to be touched. Another try.
		_ = f.Close()
	}
}

// isAt says whether the open file f is the one at path.
func isAt(f *os.File, path string) (bool, error) {
	is, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(is, there), err
}
