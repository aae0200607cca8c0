package certs

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnAuthoritySignsServersAndClients(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	made, err := NewAuthority("ihc", now, 100*time.Hour)
	require.NoError(t, err)
	a, err := ParseAuthority(made.Pair)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(a.Cert))

	server, err := a.Issue("nats", now, time.Hour, "nats", "127.0.0.1")
	require.NoError(t, err)
	client, err := a.Issue("writer", now, time.Hour)
	require.NoError(t, err)
	verify := func(p Pair, at time.Time, host string, usage x509.ExtKeyUsage) error {
		all, err := Parse(p.Cert)
		require.NoError(t, err)
		_, err = all[0].Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, DNSName: host, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	require.NoError(t, verify(server, now, "nats", x509.ExtKeyUsageServerAuth))
	require.NoError(t, verify(server, now, "127.0.0.1", x509.ExtKeyUsageServerAuth))
	require.NoError(t, verify(server, now, "", x509.ExtKeyUsageClientAuth), "for the routes of a cluster")
	require.NoError(t, verify(client, now, "", x509.ExtKeyUsageClientAuth))
	require.Error(t, verify(client, now, "", x509.ExtKeyUsageServerAuth))
	require.Error(t, verify(server, now, "elsewhere", x509.ExtKeyUsageServerAuth))
	require.Error(t, verify(client, now.Add(2*time.Hour), "", x509.ExtKeyUsageClientAuth))

	_, err = ParseAuthority(Pair{Cert: a.Cert, Key: client.Key})
	require.ErrorContains(t, err, "another certificate's")
}

func FuzzParse(f *testing.F) {
	a, err := NewAuthority("ihc", time.Unix(0, 0), time.Hour)
	require.NoError(f, err)
	f.Add(a.Cert, a.Key)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte{})
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		all, err := Parse(cert)
		require.Equal(t, err == nil, len(all) > 0)
		_, _ = ParseAuthority(Pair{Cert: cert, Key: key})
	})
}
