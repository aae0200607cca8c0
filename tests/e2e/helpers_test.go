//go:build e2e

package e2e

import (
	"archive/zip"
	"context"
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	_ "github.com/mattn/go-sqlite3" // the driver
	"github.com/stretchr/testify/require"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func ownerOf(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

func zipFile(t *testing.T, from, to string) {
	t.Helper()
	out, err := os.Create(to)
	require.NoError(t, err)
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	z := zip.NewWriter(out)
	w, err := z.Create(filepath.Base(from))
	require.NoError(t, err)
	_, err = io.Copy(w, in)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, out.Close())
}

// disturb changes the source tables so that other journeys would be read from
// them, though the report on the same attributions would be the same, and
// takes the attributions away. The database may be in use.
func disturb(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite3", path+"?_busy_timeout=30000")
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, `UPDATE session_sources SET holder_engagement = 0, closer_engagement = 0;
		DELETE FROM attribution_customer_journey`)
	return err
}

// value returns a metric, summed over its labels.
func value(t *testing.T, metrics, name string) (sum float64) {
	t.Helper()
	found := false
	for line := range strings.Lines(metrics) {
		if rest, ok := strings.CutPrefix(line, name); ok && strings.ContainsAny(rest[:1], "{ ") {
			f := strings.Fields(line)
			v, err := strconv.ParseFloat(f[len(f)-1], 64)
			require.NoError(t, err, line)
			sum, found = sum+v, true
		}
	}
	require.True(t, found, "no metric %s", name)
	return sum
}
