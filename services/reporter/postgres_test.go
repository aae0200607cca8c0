//go:build postgres

package reporter

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/store/storetest/pgshop"
)

func TestTwoReportersMakeOneReportOnPostgres(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Start(t, pgtest.Options{}).DSN("postgres")
	file := filepath.Join(t.TempDir(), "shop.db")
	newDB(t, file)
	require.NoError(t, pgshop.Copy(t.Context(), file, dsn))
	ran(t, dsn)
	twoReporters(t, dsn)
}
