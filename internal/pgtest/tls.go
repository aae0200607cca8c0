package pgtest

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/certs"
	"github.com/ihc-pipeline/ihc/internal/freeport"
)

// Secure is a server that is reached over TLS alone, by clients that show a
// certificate: but for its socket, by which tests set it up.
type Secure struct {
	*Server
	// CA, Cert and Key are files: the authority of the server's certificate, which
	// is that of the clients', too, and what User shows the server.
	CA, Cert, Key string
	port          int
}

// Host is what the certificate of a secure server is for.
const Host = "127.0.0.1"

// StartSecure starts a server as [Start] does, with certificates of its own.
func StartSecure(t testing.TB, o Options) *Secure {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgtls") //nolint:usetesting // whom the server runs as has to get at it
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	authority, err := certs.NewAuthority("test", time.Now(), time.Hour)
	require.NoError(t, err)
	server, err := authority.Issue("server", time.Now(), time.Hour, Host)
	require.NoError(t, err)
	client, err := authority.Issue(User, time.Now(), time.Hour)
	require.NoError(t, err)
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	mine := func(path string) string { // PostgreSQL reads no key that others can
		as, err := unprivileged()
		require.NoError(t, err)
		if as != nil {
			require.NoError(t, os.Chown(path, int(as.Uid), int(as.Gid)))
		}
		return path
	}
	s := &Secure{CA: file("ca.pem", authority.Cert), Cert: file("cert.pem", client.Cert), Key: file("key.pem", client.Key), port: int(freeport.Hold(t).Port())}
	settings := map[string]string{
		"listen_addresses": Host, "port": strconv.Itoa(s.port), "ssl": "on",
		"ssl_cert_file": mine(file("server.pem", server.Cert)), "ssl_key_file": mine(file("server.key", server.Key)), "ssl_ca_file": mine(file("clients.pem", authority.Cert)),
		"hba_file": mine(file("hba.conf", []byte("local all all trust\nhostssl all all "+Host+"/32 cert\n"))),
	}
	for name, value := range o.Settings {
		settings[name] = value
	}
	o.Settings = settings
	s.Server = Start(t, o)
	return s
}

// DSN returns the address of the server's database of that name by its socket.
func (s *Secure) DSN(database string) string {
	return s.Server.DSN(database) + fmt.Sprint("&port=", s.port)
}

// Address returns the address of the server's database of that name over TCP, with
// parameters.
func (s *Secure) Address(database string, parameters map[string]string) string {
	q := url.Values{}
	for name, value := range parameters {
		q.Set(name, value)
	}
	u := url.URL{Scheme: "postgres", User: url.User(User), Host: fmt.Sprint(Host, ":", s.port), Path: "/" + database, RawQuery: q.Encode()}
	return u.String()
}

// Certified are the parameters that the server is reached with.
func (s *Secure) Certified() map[string]string {
	return map[string]string{"sslmode": "verify-full", "sslrootcert": s.CA, "sslcert": s.Cert, "sslkey": s.Key}
}
