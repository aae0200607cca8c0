//go:build postgres

package postgres

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/certs"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/pgtest"
)

// A server behind TLS lets in whoever shows a certificate and nobody else, and is
// believed where its own is of the authority and for its name.
func TestServerIsReachedOverTLSAlone(t *testing.T) {
	t.Parallel()
	server := pgtest.StartSecure(t, pgtest.Options{})
	other, err := certs.NewAuthority("other", time.Now(), time.Hour)
	require.NoError(t, err)
	stranger := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(stranger, other.Cert, 0o600))
	with := func(changes ...string) string {
		all := maps.Clone(server.Certified())
		for i := 0; i+1 < len(changes); i += 2 {
			all[changes[i]] = changes[i+1]
			if changes[i+1] == "" {
				delete(all, changes[i])
			}
		}
		return server.Address("postgres", all)
	}

	d := New(with())
	encrypted := false
	require.NoError(t, d.reading(t.Context(), func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`).Scan(&encrypted)
	}))
	require.True(t, encrypted)
	require.NoError(t, d.Rehearse(t.Context()))
	require.NoError(t, d.Close())
	rows, err := Rows(t.Context(), with(), "SELECT 1 AS one")
	require.NoError(t, err)
	require.NoError(t, rows.Close())

	for address, says := range map[string]string{
		server.Address("postgres", map[string]string{"sslmode": "disable"}): "takes no connections without TLS",
		with("sslrootcert", stranger):                                       "certificate signed by unknown authority",
		strings.Replace(with(), "@"+pgtest.Host, "@localhost", 1):           "but wanted to match localhost",
		with("sslcert", "", "sslkey", ""):                                   "connection requires a valid client certificate",
		with("sslcert", server.CA):                                          "cannot be used: failed to configure TLS",
		strings.Replace(with(), pgtest.User+"@", "somebody@", 1):            `certificate authentication failed for user "somebody"`,
	} {
		d := New(address)
		err := d.Check(t.Context())
		require.ErrorContains(t, err, says, address)
		require.NotContains(t, err.Error(), "\n")
		require.NotEqual(t, errkind.Run, errkind.KindOf(err), err)
		require.NoError(t, d.Close())
	}
}
