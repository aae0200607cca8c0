package stream_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/certs"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/freeport"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// secured is a NATS server that speaks TLS and asks for its clients'
// certificates, with an authority that signs both.
type secured struct {
	authority *certs.Authority
	dir       string
	url       string
}

func (s *secured) path(name string) string { return filepath.Join(s.dir, name) }

// put writes a certificate, its key and its authority for a client.
func (s *secured) put(t *testing.T, a *certs.Authority, life time.Duration) stream.TLS {
	t.Helper()
	p, err := a.Issue("writer", time.Now(), life)
	require.NoError(t, err)
	for name, data := range map[string][]byte{"ca.pem": a.Cert, "cert.pem": p.Cert, "key.pem": p.Key} {
		require.NoError(t, os.WriteFile(s.path(name), data, 0o600))
	}
	return stream.TLS{CA: s.path("ca.pem"), Cert: s.path("cert.pem"), Key: s.path("key.pem")}
}

func authority(t *testing.T) *certs.Authority {
	t.Helper()
	a, err := certs.NewAuthority("test", time.Now(), time.Hour)
	require.NoError(t, err)
	return a
}

// serve starts a server on a port, -1 for any, with a certificate for a host.
func serve(t *testing.T, a *certs.Authority, port int, host string, life time.Duration) *server.Server {
	t.Helper()
	p, err := a.Issue("nats", time.Now(), life, host)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(a.Cert))
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, TLSTimeout: 60,
		TLS: true, TLSVerify: true, TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
		}})
	require.NoError(t, err)
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	require.True(t, ns.ReadyForConnections(time.Minute))
	return ns
}

func newSecured(t *testing.T) (*secured, *server.Server) {
	t.Helper()
	s := &secured{authority: authority(t), dir: t.TempDir()}
	ns := serve(t, s.authority, int(freeport.Hold(t).Port()), "127.0.0.1", time.Hour)
	s.url = "nats://" + ns.Addr().String()
	return s, ns
}

func (s *secured) dial(with stream.TLS) (*nats.Conn, error) {
	return stream.Dial(stream.Address{URL: s.url, TLS: with}, "test", slog.New(slog.DiscardHandler), false)
}

func TestClientsAndServerKnowEachOtherByCertificates(t *testing.T) {
	t.Parallel()
	s, _ := newSecured(t)
	nc, err := s.dial(s.put(t, s.authority, time.Hour))
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.Flush())
	_, err = nc.TLSConnectionState()
	require.NoError(t, err)
}

func TestAServerWithTLSRefusesPlainConnections(t *testing.T) {
	t.Parallel()
	_, ns := newSecured(t)
	raw, err := net.Dial("tcp", ns.Addr().String())
	require.NoError(t, err)
	defer raw.Close()
	_, err = raw.Write([]byte("CONNECT {\"verbose\":true}\r\nPUB x 1\r\n1\r\nPING\r\n"))
	require.NoError(t, err)
	require.NoError(t, raw.SetReadDeadline(time.Now().Add(time.Minute)))
	lines := bufio.NewScanner(raw)
	for lines.Scan() { // until the server hangs up
		require.NotContains(t, lines.Text(), "+OK")
		require.NotContains(t, lines.Text(), "PONG")
	}
	require.Eventually(t, func() bool { return ns.NumClients() == 0 }, time.Minute, time.Millisecond) // which it counts after that
}

// Each of what may be wrong is told in one line that says what to do.
func TestWhatIsWrongWithCertificatesIsToldInALine(t *testing.T) {
	t.Parallel()
	s, _ := newSecured(t)
	good := s.put(t, s.authority, time.Hour)
	other := &secured{dir: t.TempDir()}
	strange := other.put(t, authority(t), time.Hour)
	late := (&secured{dir: t.TempDir()}).put(t, s.authority, -time.Minute)
	elsewhere := serve(t, s.authority, server.RANDOM_PORT, "elsewhere", time.Hour)
	expired := serve(t, s.authority, server.RANDOM_PORT, "127.0.0.1", -time.Minute)
	plain, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	require.NoError(t, err)
	plain.Start()
	t.Cleanup(func() { plain.Shutdown(); plain.WaitForShutdown() })
	require.True(t, plain.ReadyForConnections(time.Minute))
	at := func(ns *server.Server) string { return "nats://" + ns.Addr().String() }

	for name, c := range map[string]struct {
		url  string
		tls  stream.TLS
		says string
	}{
		"an authority nobody knows":    {s.url, stream.TLS{}, "of an authority that is not known here: set NATS_CA"},
		"another authority":            {s.url, stream.TLS{CA: strange.CA, Cert: good.Cert, Key: good.Key}, "of an authority that is not known here: set NATS_CA"},
		"no certificate of the client": {s.url, stream.TLS{CA: good.CA}, "does not accept the client's certificate"},
		"one of another authority":     {s.url, stream.TLS{CA: good.CA, Cert: strange.Cert, Key: strange.Key}, "does not accept the client's certificate"},
		"one that has run out":         {s.url, stream.TLS{CA: good.CA, Cert: late.Cert, Key: late.Key}, "does not accept the client's certificate"},
		"a server of another name":     {at(elsewhere), good, "its certificate is for other names"},
		"a server's that has run out":  {at(expired), good, "has run out"},
		"a server without TLS":         {at(plain), good, "it speaks no TLS"},
		"a file that is not there":     {s.url, stream.TLS{CA: s.path("none")}, "NATS_CA: open"},
		"a file without certificates":  {s.url, stream.TLS{CA: good.Key}, "there is no certificate in PEM"},
		"a key of another certificate": {s.url, stream.TLS{CA: good.CA, Cert: good.Cert, Key: strange.Key}, "NATS_CERT and NATS_KEY: "},
	} {
		_, err := stream.Dial(stream.Address{URL: c.url, TLS: c.tls}, "test", slog.New(slog.DiscardHandler), false)
		require.ErrorContains(t, err, c.says, name)
		require.NotContains(t, err.Error(), "\n", name)
		require.Equal(t, errkind.Environment, errkind.KindOf(err), name)
	}
	_, err = s.dial(stream.TLS{Cert: good.Cert})
	require.Equal(t, errkind.Input, errkind.KindOf(err), "%v", err)
}

// Certificates are replaced on the disk, of an authority that was not known
// before: the process that runs goes on with them.
func TestCertificatesAreReadAnewForEachConnection(t *testing.T) {
	t.Parallel()
	s, ns := newSecured(t)
	nc, err := s.dial(s.put(t, s.authority, time.Hour))
	require.NoError(t, err)
	defer nc.Close()
	again := nc.StatusChanged(nats.CONNECTED)
	port := ns.Addr().(*net.TCPAddr).Port
	ns.Shutdown()
	ns.WaitForShutdown()

	next := authority(t)
	s.put(t, next, time.Hour)
	serve(t, next, port, "127.0.0.1", time.Hour)
	select {
	case <-again:
	case <-time.After(time.Minute):
		require.FailNow(t, fmt.Sprint("no connection: ", nc.LastError()))
	}
	// Each side knows the new authority alone.
	require.NoError(t, nc.FlushTimeout(time.Minute))
}
