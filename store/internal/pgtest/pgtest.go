// Package pgtest starts PostgreSQL servers for tests: each of its own, in a
// directory of its own, on a socket there and on no network.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Options are how a server is made.
type Options struct {
	Locale   string   // of initdb, such as C.UTF-8; "" for C
	TimeZone string   // that sessions begin in; "" for UTC
	Settings []string // more of the server's, as in "max_connections=20"
}

// Server is one that runs until the test ends.
type Server struct {
	dir  string // where its socket is
	bin  string
	data string
	as   *syscall.SysProcAttr
}

// Start starts a server of the newest version that is installed, and stops it
// when the test ends. Where none is installed the test fails.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := start(t, o)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	return s
}

// URL returns the address of one of its databases, which it makes if it is not there.
func (s *Server) URL(t testing.TB, database string) string {
	t.Helper()
	out, err := s.command(t.Context(), "createdb", "-h", s.dir, "-U", "postgres", database).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "already exists") {
		t.Fatalf("createdb %s: %v\n%s", database, err, out)
	}
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database, RawQuery: url.Values{"host": {s.dir}}.Encode()}
	return u.String()
}

// Stop ends the server at once, as a crash does: what it had committed is there
// when it is started again.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if out, err := s.stop("immediate"); err != nil {
		t.Fatalf("stop PostgreSQL: %v\n%s", err, out)
	}
}

// Restart starts it after [Server.Stop].
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.run(context.WithoutCancel(t.Context())); err != nil {
		t.Fatalf("start PostgreSQL again: %v", err)
	}
}

func start(t testing.TB, o Options) (*Server, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	// Not that of the test: the name of a socket has a limit of 107 bytes, and
	// nobody else may enter those of a test that root runs.
	dir, err := os.MkdirTemp("", "pg") //nolint:usetesting // as above
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, data: filepath.Join(dir, "data")}
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(s.data, "postmaster.pid")); err == nil {
			if out, err := s.stop("fast"); err != nil {
				t.Errorf("stop PostgreSQL: %v\n%s", err, out)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if os.Getuid() == 0 { // for which PostgreSQL does not run
		if err := s.disown(); err != nil {
			return nil, err
		}
	}
	ctx := context.WithoutCancel(t.Context())
	locale := o.Locale
	if locale == "" {
		locale = "C"
	}
	out, err := s.command(ctx, "initdb", "-D", s.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale="+locale, "--no-sync").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	settings := append([]string{"listen_addresses=''", "unix_socket_directories='" + dir + "'", "fsync=off", "shared_buffers=16MB", "max_connections=40", "timezone='UTC'"}, o.Settings...)
	if o.TimeZone != "" {
		settings = append(settings, "timezone='"+o.TimeZone+"'")
	}
	conf, err := os.OpenFile(filepath.Join(s.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = conf.WriteString("\n" + strings.Join(settings, "\n") + "\n")
	if err := errors.Join(err, conf.Close()); err != nil {
		return nil, err
	}
	err = s.run(ctx)
	return s, err
}

// run starts the server and waits until it takes connections.
func (s *Server) run(ctx context.Context) error {
	log := filepath.Join(s.dir, "log")
	if out, err := s.command(ctx, "pg_ctl", "-D", s.data, "-l", log, "-w", "-t", "120", "start").CombinedOutput(); err != nil {
		said, _ := os.ReadFile(log)
		return fmt.Errorf("%w\n%s%s", err, out, said)
	}
	return nil
}

func (s *Server) stop(mode string) ([]byte, error) {
	return s.command(context.Background(), "pg_ctl", "-D", s.data, "-w", "-t", "120", "-m", mode, "stop").CombinedOutput()
}

// disown gives the directory to a user that is not root, as whom all runs.
func (s *Server) disown() error {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		s.as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		return os.Chown(s.dir, int(uid), int(gid))
	}
	return errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

func (s *Server) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, s.as
	cmd.Env = []string{"PATH=" + s.bin + ":/usr/bin:/bin", "LC_ALL=C", "HOME=" + s.dir}
	return cmd
}

// find returns the directory of the newest version's programs.
func find() (string, error) {
	all, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian
	if err != nil {
		return "", err
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	slices.SortFunc(all, func(a, b string) int { return version(b) - version(a) })
	if len(all) > 0 {
		return filepath.Dir(all[0]), nil
	}
	found, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("it is not installed: apt-get install postgresql (Debian), or put initdb and pg_ctl into PATH")
	}
	found, err = filepath.EvalSymlinks(found)
	return filepath.Dir(found), err
}
