// Package credentials draws a password for each user of the stack's NATS
// server, and makes certificates for them, so that first use needs no set-up.
package credentials

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// Users are the users of the NATS server. What each may do is written in
// deploy/nats.conf.
var Users = []string{stream.UserAdmin, stream.StageAttributor, stream.UserConsole, stream.StageExtractor, stream.UserTools, stream.UserInit, stream.StageReporter, stream.StageWriter}

const (
	serverDir     = "nats"           // what only the server sees: all passwords
	serverFile    = "passwords.conf" // the same in the form its configuration includes
	passwordFile  = "password"       // what a user sees
	tokenFile     = "token"          // what the console asks people for
	readableAlone = 0o440            // by the steward, and by the group of the services
)

// Draw sees to it that each of [Users] has a password, drawn at random
// the first time and kept from then on. It writes them into dir/nats for the
// server, and for each user that has a directory of its own, dir/<user>, into
// the file password there, and the console's token beside its own. The files can be read by the group gid alone.
//
// Errors are environment faults.
func Draw(dir string, gid int) error {
	var conf bytes.Buffer
	for _, user := range Users {
		kept := filepath.Join(dir, serverDir, user)
		password, err := os.ReadFile(kept)
		if errors.Is(err, fs.ErrNotExist) {
			password = []byte(rand.Text())
			err = place(kept, password, gid)
		}
		if err != nil {
			return errkind.Environmentf("password of %s: %w", user, err)
		}
		_, _ = fmt.Fprintf(&conf, "%s_PASSWORD: %q\n", strings.ToUpper(user), password)
		own := filepath.Join(dir, user)
		if _, err := os.Stat(own); errors.Is(err, fs.ErrNotExist) {
			continue // a user without a container of its own
		}
		if err := place(filepath.Join(own, passwordFile), password, gid); err != nil {
			return errkind.Environmentf("password of %s: %w", user, err)
		}
	}
	if err := drawToken(dir, gid); err != nil {
		return errkind.Environmentf("token of the console: %w", err)
	}
	if err := place(filepath.Join(dir, serverDir, serverFile), conf.Bytes(), gid); err != nil {
		return errkind.Environmentf("passwords of the NATS server: %w", err)
	}
	return nil
}

// drawToken sees to it that the console has a token, which people show it.
func drawToken(dir string, gid int) error {
	own := filepath.Join(dir, stream.UserConsole)
	if _, err := os.Stat(own); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	kept := filepath.Join(own, tokenFile)
	if _, err := os.Stat(kept); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return place(kept, []byte(rand.Text()+"\n"), gid)
}

// Ready says whether [Draw] has done its work in dir.
func Ready(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, serverDir, serverFile)); err != nil {
		return errkind.Environmentf("not ready: %w", err)
	}
	return nil
}

// place writes a file that the group gid can read.
func place(path string, content []byte, gid int) error {
	return placeAs(path, content, gid, readableAlone)
}

// placeAs writes a file with its permissions.
func placeAs(path string, content []byte, gid int, perm fs.FileMode) error {
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return err // a volume that is not mounted is not to be made up
	}
	return atomicfile.WriteAs(path, perm, gid, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}
