//go:build postgres

package console

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/pgtest"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/storetest/pgshop"
)

func TestTwoConsolesAnswerAsOneOnPostgres(t *testing.T) {
	t.Parallel()
	file, dsn := filepath.Join(t.TempDir(), "shop.db"), pgtest.Start(t, pgtest.Options{}).DSN("postgres")
	_, err := open.Example(t.Context(), file, shop.Config{Sessions: 200})
	require.NoError(t, err)
	require.NoError(t, pgshop.Copy(t.Context(), file, dsn))
	twoConsoles(t, dsn)
}
