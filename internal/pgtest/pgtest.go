// Package pgtest starts PostgreSQL servers for tests: each in a directory of its
// own, on a Unix socket, gone when the test ends. It needs PostgreSQL's programs
// and nothing else: a test on a machine that lacks them fails and says what to
// install.
package pgtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Options are what a server is started with.
type Options struct {
	// ICU is the locale that text is ordered by, en-US for example; empty for the
	// order of bytes.
	ICU string
	// TimeZone is the server's, as PostgreSQL names it; empty for UTC.
	TimeZone string
	// Settings are further ones, by name.
	Settings map[string]string
}

// User is the server's superuser, who needs no password.
const User = "ihc"

// Server is a server that runs, or did.
type Server struct {
	dir, bin string
	args     []string
	as       *syscall.Credential

	mu      sync.Mutex
	process *os.Process // nil while there is none
	ended   chan struct{}
}

// Start starts a server, which ends with the test. Nothing is forced to the disk.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	bin, err := programs()
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "pg") //nolint:usetesting // whom the server runs as has to get at it, by a path short enough for a socket
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	as, err := unprivileged()
	require.NoError(t, err)
	if as != nil {
		require.NoError(t, os.Chown(dir, int(as.Uid), int(as.Gid)))
	}
	data := filepath.Join(dir, "data")
	args := []string{"--pgdata", data, "--username", User, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"}
	if o.ICU != "" {
		args = append(args, "--locale-provider", "icu", "--icu-locale", o.ICU)
	}
	create := exec.CommandContext(t.Context(), filepath.Join(bin, "initdb"), args...)
	create.Dir, create.SysProcAttr = dir, attributes(as)
	out, err := create.CombinedOutput()
	require.NoError(t, err, string(out))
	settings := map[string]string{"listen_addresses": "", "unix_socket_directories": dir, "fsync": "off", "timezone": "UTC", "max_connections": "200", "lc_messages": "C", "autovacuum": "off"}
	if o.TimeZone != "" {
		settings["timezone"] = o.TimeZone
	}
	for name, value := range o.Settings {
		settings[name] = value
	}
	args = []string{"-D", data}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	s := &Server{dir: dir, bin: bin, args: args, as: as}
	t.Cleanup(func() { s.end(syscall.SIGQUIT) })
	require.NoError(t, s.serve())
	return s
}

// DSN returns the address of the server's database of that name; postgres is
// there from the beginning.
func (s *Server) DSN(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(User), Path: "/" + database, RawQuery: url.Values{"host": {s.dir}}.Encode()}
	return u.String()
}

// serve starts the server, and returns when it takes connections or has ended.
func (s *Server) serve() error {
	server := exec.Command(filepath.Join(s.bin, "postgres"), s.args...) //nolint:noctx // it outlives the context of the test, to end in order
	server.Dir, server.SysProcAttr = s.dir, attributes(s.as)
	log, err := server.StderrPipe()
	if err != nil {
		return err
	}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		// The system ends the server with the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := server.Start(); err != nil {
			started <- err
			return
		}
		lines := bufio.NewScanner(log)
		said := []string{}
		for lines.Scan() {
			if strings.Contains(lines.Text(), "ready to accept connections") {
				started <- nil
				break
			}
			said = append(said, lines.Text())
		}
		_, _ = io.Copy(io.Discard, log)
		if err := server.Wait(); err != nil {
			said = append(said, err.Error())
		}
		select {
		case started <- fmt.Errorf("the server ended: %s", strings.Join(said, "\n")):
		default:
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.ended = server.Process, ended
	return nil
}

// programs returns the directory of the newest PostgreSQL's programs: of
// IHC_POSTGRES_BIN where that is set.
func programs() (string, error) {
	if dir := os.Getenv("IHC_POSTGRES_BIN"); dir != "" {
		return dir, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	if len(found) > 0 {
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("this test needs PostgreSQL: install it (apt-get install postgresql), or set IHC_POSTGRES_BIN to the directory of initdb and postgres")
}

// unprivileged returns whom to run the server as where that cannot be the user
// of the test: PostgreSQL does not run as root.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // as whoever runs the test
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as")
}
