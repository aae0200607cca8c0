package stream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ihc-pipeline/ihc/internal/certs"
	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// TLS says by which certificates a client and NATS know each other. All are
// files in PEM, and are read anew for each connection, so that they can be
// replaced while the process runs. With any of them a server without TLS is
// refused.
type TLS struct {
	// CA holds the authorities that may have signed the server's certificate; the
	// system's, if empty.
	CA string
	// Cert and Key are what the client shows, for a server that asks for it.
	Cert, Key string
}

// Validate returns an input fault where one of two files is named alone.
func (t TLS) Validate() error {
	if (t.Cert == "") != (t.Key == "") {
		return errkind.Inputf("NATS_CERT and NATS_KEY go together: name both or neither")
	}
	return nil
}

// options returns those of a connection. A file that cannot be used is an
// environment fault.
func (t TLS) options() ([]nats.Option, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	var opts []nats.Option
	if t.CA != "" {
		if _, err := certs.Read(t.CA); err != nil {
			return nil, errkind.Environmentf("NATS_CA: %w", err)
		}
		opts = append(opts, nats.RootCAs(t.CA))
	}
	if t.Cert != "" {
		if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
			return nil, errkind.Environmentf("NATS_CERT and NATS_KEY: %w", err)
		}
		opts = append(opts, nats.ClientCert(t.Cert, t.Key))
	}
	return opts, nil
}

// Expiry is when a certificate runs out.
type Expiry struct {
	// Of says whose it is: the server's, the client's, or the authority's.
	Of    string
	Until time.Time
}

// Served returns when the certificate runs out that the server showed; it is
// empty for a connection without TLS.
func (c *Client) Served() []Expiry {
	state, err := c.nc.TLSConnectionState()
	if err != nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	return []Expiry{{"the server's certificate", state.PeerCertificates[0].NotAfter}}
}

// Expiries returns when the certificates in the files run out, of the
// authorities the one that lasts longest.
func (t TLS) Expiries() ([]Expiry, error) {
	var all []Expiry
	for _, file := range []struct{ of, path string }{{"the client's certificate", t.Cert}, {"the authority", t.CA}} {
		if file.path == "" {
			continue
		}
		chain, err := certs.Read(file.path)
		if err != nil {
			return nil, errkind.Environmentf("%s: %w", file.of, err)
		}
		until := chain[0].NotAfter
		for _, c := range chain[1:] {
			if file.path == t.CA && c.NotAfter.After(until) {
				until = c.NotAfter
			}
		}
		all = append(all, Expiry{file.of, until})
	}
	return all, nil
}

// untrusted words what a handshake failed with, "" for what is none of it.
func untrusted(err error) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var alert tls.AlertError
	switch {
	case errors.As(err, &unknown):
		return "its certificate is of an authority that is not known here: set NATS_CA to the file with its certificate"
	case errors.As(err, &host):
		return "its certificate is for other names (" + host.Error() + "): ask by a name that is in it, or have one made for this one"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate, or its authority's, has run out or is not good yet: renew it, and look at both clocks (" + invalid.Error() + ")"
	case errors.As(err, &invalid):
		return "its certificate is not good: " + invalid.Error()
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "it speaks no TLS, which NATS_CA, NATS_CERT or tls:// ask for"
	case errors.As(err, &alert), err != nil && strings.Contains(err.Error(), "remote error: tls: "),
		errors.Is(err, nats.ErrTLS) && strings.Contains(err.Error(), "closed by remote after TLS handshake"): // hung up when it had seen what the client shows, and its alert was lost
		return "it does not accept the client's certificate, or there is none (" + err.Error() + "): set NATS_CERT and NATS_KEY to one of an authority it knows, that has not run out"
	default:
		return ""
	}
}
