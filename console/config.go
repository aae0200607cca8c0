// Package console is the web pages and the HTTP API of the pipeline: a face of
// package ops, as the command line is one. It reads the database and never
// writes it.
package console

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Config is the console's settings.
type Config struct {
	// Listen is where it is served. Anywhere but on loopback it asks for
	// TokenFile or ClientCA.
	Listen string `envconfig:"IHC_CONSOLE" default:"127.0.0.1:8087" desc:"address of the pages and the HTTP API"`
	// On is what listens already at the address, nil for nothing yet. The console
	// closes it.
	On net.Listener `ignored:"true"`
	// TokenFile holds the bearer token that every request has to bring, or that
	// somebody types in once in a browser.
	TokenFile string `envconfig:"IHC_CONSOLE_TOKEN_FILE" desc:"file with the bearer token that the console asks for"`
	// Cert and Key make it HTTPS; ClientCA lets in only who has a certificate
	// of one of the authorities in it.
	Cert     string `envconfig:"IHC_CONSOLE_CERT" desc:"file with the console's certificate (PEM)"`
	Key      string `envconfig:"IHC_CONSOLE_CERT_KEY" desc:"file with the certificate's key (PEM)"`
	ClientCA string `envconfig:"IHC_CONSOLE_CLIENT_CA" desc:"file with the authorities whose certificates are let in (PEM)"`
	// ReadOnly: nothing can be started, cancelled, resumed or replayed.
	ReadOnly bool   `envconfig:"IHC_CONSOLE_READ_ONLY" default:"false" desc:"only look: start, cancel, resume and replay nothing"`
	Database string `envconfig:"IHC_DB" default:"/data/ihc.db" desc:"the database: path of a SQLite file, or postgres://…"`
	// Currency is what amounts are in, as pages show it.
	Currency string `envconfig:"IHC_CURRENCY" desc:"what amounts are in, as pages show it"`
}

// URL returns where the console is opened in a browser.
func (c *Config) URL() string {
	scheme := "http"
	if c.Cert != "" {
		scheme = "https"
	}
	return scheme + "://" + c.Listen + "/"
}

// Validate returns an input fault where a setting is wrong, or a file that one
// names.
func (c *Config) Validate() error {
	_, err := c.open()
	return err
}

// leastToken is how many characters a token has at least: one that is guessed
// at a thousand a second holds out for longer than anybody waits.
const leastToken = 16

// access is who is let in.
type access struct {
	token []byte // nil for everybody
	tls   *tls.Config
	// local says that the console is on loopback, and asks nobody who he is.
	local bool
}

// open reads the files that say who is let in. Errors are input faults.
func (c *Config) open() (access, error) {
	var a access
	if c.TokenFile != "" {
		data, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return a, errkind.Inputf("the console's token: %w", err)
		}
		if a.token = bytes.TrimSpace(data); len(a.token) < leastToken || bytes.ContainsAny(a.token, " \t\r\n") {
			return a, errkind.Inputf("the console's token in %s: it has to be one word of %d characters or more, for example of `openssl rand -hex 32`", c.TokenFile, leastToken)
		}
	}
	if (c.Cert == "") != (c.Key == "") || c.ClientCA != "" && c.Cert == "" {
		return a, errkind.Inputf("the console's certificate and its key go together, and a client CA needs both")
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return a, errkind.Inputf("the console's certificate: %w", err)
		}
		a.tls = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	if c.ClientCA != "" {
		data, err := os.ReadFile(c.ClientCA)
		if err != nil {
			return a, errkind.Inputf("the console's client CA: %w", err)
		}
		a.tls.ClientCAs, a.tls.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !a.tls.ClientCAs.AppendCertsFromPEM(data) {
			return a, errkind.Inputf("the console's client CA %s: there is no certificate in it", c.ClientCA)
		}
	}
	loopback, err := isLoopback(c.Listen)
	switch {
	case err != nil:
		return a, err
	case !loopback && a.token == nil && c.ClientCA == "":
		return a, errkind.Inputf("the console on %s could be reached by others: give it --console-token-file or --console-client-ca, or let it listen on 127.0.0.1", c.Listen)
	}
	a.local = a.token == nil && c.ClientCA == ""
	return a, nil
}

// isLoopback says whether an address can be reached from this machine alone.
func isLoopback(address string) (bool, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false, errkind.Inputf("the console's address %q: write it as host:port, for example 127.0.0.1:8087", address)
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback(), nil
}
