// Package pgtest starts PostgreSQL servers for tests: each in a directory of its
// own, on a Unix socket, gone when the test ends. It needs PostgreSQL's programs
// and nothing else: a test on a machine that lacks them fails and says what to
// install.
package pgtest

import (
	"bufio"
	"context"
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

	restart sync.Mutex // held by who starts it again
	mu      sync.Mutex
	process *os.Process // nil while there is none
	ended   chan struct{}
}

// Start starts a server, which ends with the test. Nothing is forced to the disk.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Run(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

// Run starts a server for a program that is no test, which has to stop it. Settings
// may have it force to the disk what it commits, which it does not by itself.
func Run(ctx context.Context, o Options) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	// Whom the server runs as has to get at it, by a path short enough for a socket.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, as: as}
	if as != nil {
		err = os.Chown(dir, int(as.Uid), int(as.Gid))
	}
	if err == nil {
		err = s.create(ctx, o)
	}
	if err == nil {
		err = s.serve()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// create makes the server's directory, and knows how it is started.
func (s *Server) create(ctx context.Context, o Options) error {
	data := filepath.Join(s.dir, "data")
	args := []string{"--pgdata", data, "--username", User, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"}
	if o.ICU != "" {
		args = append(args, "--locale-provider", "icu", "--icu-locale", o.ICU)
	}
	create := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), args...)
	create.Dir, create.SysProcAttr = s.dir, attributes(s.as)
	if out, err := create.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	settings := map[string]string{"listen_addresses": "", "unix_socket_directories": s.dir, "fsync": "off", "timezone": "UTC", "max_connections": "500", "lc_messages": "C", "autovacuum": "off"}
	if o.TimeZone != "" {
		settings["timezone"] = o.TimeZone
	}
	for name, value := range o.Settings {
		settings[name] = value
	}
	s.args = []string{"-D", data}
	for name, value := range settings {
		s.args = append(s.args, "-c", name+"="+value)
	}
	return nil
}

// Stop ends the server, if it runs, and removes what it held.
func (s *Server) Stop() error {
	s.end(syscall.SIGQUIT)
	return os.RemoveAll(s.dir)
}

// Processes returns the ids of the server's processes, its first one first; none
// where it does not run.
func (s *Server) Processes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	return append([]int{s.process.Pid}, children(s.process.Pid)...)
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
