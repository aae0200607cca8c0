package credentials

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ihc-pipeline/ihc/internal/certs"
	"github.com/ihc-pipeline/ihc/internal/errkind"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	// certificateLife is what browsers and phones have agreed on as the longest.
	certificateLife = 825 * 24 * time.Hour
	authorityKey    = "ca-key.pem"
	authorityCert   = "ca.pem"
	ownCert         = "cert.pem"
	ownKey          = "key.pem"
	ownerAlone      = 0o400 // the steward
)

// Certify sees to it that the NATS server, under the names hosts, and each of
// [Users] that has a directory of its own have a certificate of the stack's own
// authority: ca.pem, cert.pem and key.pem, which the group gid can read. The
// authority's key stays with the server's files, for the steward alone. What is
// there is kept for as long as a third of its life is left, and made anew at the
// first call after that.
//
// Errors are environment faults.
func Certify(dir string, gid int, hosts []string, now time.Time) error {
	authority, err := keptAuthority(filepath.Join(dir, serverDir), gid, now)
	if err != nil {
		return errkind.Environmentf("the stack's authority for certificates: %w", err)
	}
	for _, user := range append([]string{serverDir}, Users...) {
		own := filepath.Join(dir, user)
		if _, err := os.Stat(own); errors.Is(err, fs.ErrNotExist) {
			continue // a user without a container of its own
		}
		var names []string
		if user == serverDir {
			names = hosts
		}
		if err := certify(own, user, names, authority, gid, now); err != nil {
			return errkind.Environmentf("certificate of %s: %w", user, err)
		}
	}
	return nil
}

// keptAuthority returns the authority, made anew where there is none that will
// outlive what it signs.
func keptAuthority(dir string, gid int, now time.Time) (*certs.Authority, error) {
	cert, err := os.ReadFile(filepath.Join(dir, authorityCert))
	key, keyErr := os.ReadFile(filepath.Join(dir, authorityKey))
	if err = errors.Join(err, keyErr); err == nil {
		a, err := certs.ParseAuthority(certs.Pair{Cert: cert, Key: key})
		if err == nil && a.Until().After(now.Add(certificateLife)) {
			return a, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	a, err := certs.NewAuthority("ihc", now, authorityLife)
	if err != nil {
		return nil, err
	}
	if err := placeAs(filepath.Join(dir, authorityKey), a.Key, gid, ownerAlone); err != nil {
		return nil, err
	}
	return a, place(filepath.Join(dir, authorityCert), a.Cert, gid)
}

// certify sees to it that a directory has a certificate.
func certify(dir, name string, hosts []string, authority *certs.Authority, gid int, now time.Time) error {
	if fresh(dir, hosts, authority, now) {
		return place(filepath.Join(dir, authorityCert), authority.Cert, gid)
	}
	pair, err := authority.Issue(name, now, certificateLife, hosts...)
	if err != nil {
		return err
	}
	for file, content := range map[string][]byte{authorityCert: authority.Cert, ownKey: pair.Key, ownCert: pair.Cert} {
		if err := place(filepath.Join(dir, file), content, gid); err != nil {
			return err
		}
	}
	return nil
}

// fresh says whether the certificate in a directory is one of the authority, for
// these hosts, with a third of its life to come.
func fresh(dir string, hosts []string, authority *certs.Authority, now time.Time) bool {
	all, err := certs.Read(filepath.Join(dir, ownCert))
	if err != nil || !authority.Signed(all[0]) || all[0].NotAfter.Before(now.Add(certificateLife/3)) {
		return false
	}
	// A steward that was killed in between left halves of two pairs.
	if _, err := tls.LoadX509KeyPair(filepath.Join(dir, ownCert), filepath.Join(dir, ownKey)); err != nil {
		return false
	}
	return !slices.ContainsFunc(hosts, func(host string) bool { return all[0].VerifyHostname(host) != nil })
}
