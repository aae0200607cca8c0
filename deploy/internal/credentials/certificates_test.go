package credentials

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/certs"
)

func TestCertificatesAreKeptUntilTheyAreOld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, d := range []string{"nats", "reporter"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	hosts := []string{"nats", "127.0.0.1"}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(data)
	}
	good := func(at time.Time) {
		a, err := certs.ParseAuthority(certs.Pair{Cert: []byte(read("nats/ca.pem")), Key: []byte(read("nats/ca-key.pem"))})
		require.NoError(t, err)
		for _, of := range []string{"nats", "reporter"} {
			all, err := certs.Read(filepath.Join(dir, of, "cert.pem"))
			require.NoError(t, err)
			require.True(t, a.Signed(all[0]), of)
			require.Equal(t, read("nats/ca.pem"), read(of+"/ca.pem"))
			require.False(t, all[0].NotAfter.Before(at.Add(certificateLife/3)))
			require.False(t, a.Until().Before(all[0].NotAfter))
			_, err = tls.LoadX509KeyPair(filepath.Join(dir, of, "cert.pem"), filepath.Join(dir, of, "key.pem"))
			require.NoError(t, err)
		}
	}
	certify := func(at time.Time) string {
		require.NoError(t, Certify(dir, os.Getgid(), hosts, at))
		good(at)
		return read("nats/cert.pem")
	}
	first := certify(now)
	require.NoDirExists(t, filepath.Join(dir, "admin"))
	for name, mode := range map[string]os.FileMode{"nats/ca-key.pem": 0o400, "nats/key.pem": 0o440, "reporter/key.pem": 0o440} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), name)
	}

	require.Equal(t, first, certify(now.Add(certificateLife/3)), "it is kept")
	ca := read("nats/ca.pem")
	second := certify(now.Add(certificateLife * 3 / 4))
	require.NotEqual(t, first, second, "it has grown old")
	require.Equal(t, ca, read("nats/ca.pem"))
	hosts = append(hosts, "nats-2")
	third := certify(now.Add(certificateLife * 3 / 4))
	require.NotEqual(t, second, third, "it has another name")
	fourth := certify(now.Add(authorityLife - certificateLife/2))
	require.NotEqual(t, third, fourth)
	require.NotEqual(t, ca, read("nats/ca.pem"), "the authority has grown old")

	// A steward that was killed in between left a key of another certificate.
	require.NoError(t, os.Remove(filepath.Join(dir, "nats", "key.pem")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nats", "key.pem"), []byte(read("reporter/key.pem")), 0o440))
	certify(now.Add(authorityLife - certificateLife/2))
}
