// Package broker runs a NATS server with JetStream on disk inside the process,
// so that the whole pipeline works without anything to install.
package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
)

// MaxPayload is the largest message the server takes, in bytes: a journey of
// some 200,000 sessions. It is not far from the most that the server's files are
// made for. deploy/nats.conf has the same.
const MaxPayload = 16 << 20

// Config says where the server keeps its data and whether it listens.
type Config struct {
	// Dir holds the streams; it is created where it does not exist.
	Dir string
	// Listen is a host:port to accept clients on, or empty for none but this
	// process.
	Listen string
	// Sync has every message on the disk, not only with the operating system,
	// before it is acknowledged, so that it outlives a loss of power. Without
	// it messages outlive the process, which is all a directory needs that is
	// removed with it.
	Sync bool
	// Holder is what Dir is used for, as another process that wants it is told, for
	// example "run nightly-1"; "" for nothing to tell.
	Holder string
	Log    *slog.Logger
}

// InUseError says that another process uses a data directory.
type InUseError struct {
	Dir string
	// Holder is that process's [Config.Holder].
	Holder string
}

func (e *InUseError) Error() string {
	text := fmt.Sprintf("data directory %s is in use by another process", e.Dir)
	if e.Holder != "" {
		text += " (" + human.Printable(e.Holder) + ")"
	}
	return text
}

// Server is a running embedded server.
type Server struct {
	ns     *server.Server
	lock   *os.File
	broken chan error
}

// Start runs the server and returns when it accepts connections. A directory
// that another process uses, which is an [InUseError], or that cannot be written,
// or an address that is taken is an environment fault.
func Start(cfg Config) (*Server, error) {
	opts := &server.Options{
		ServerName: "ihc", JetStream: true, StoreDir: cfg.Dir, NoSigs: true, NoLog: true,
		DontListen: cfg.Listen == "", JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 40, MaxPayload: MaxPayload,
		SyncAlways: cfg.Sync,
	}
	if cfg.Listen != "" {
		if err := listen(opts, cfg.Listen); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, errkind.Environmentf("cannot create the data directory %s: %w", cfg.Dir, err)
	}
	lock, err := lockDir(cfg.Dir, cfg.Holder)
	if err != nil {
		return nil, err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		_ = lock.Close()
		return nil, errkind.Environmentf("cannot start the embedded NATS server in %s: %w", cfg.Dir, err)
	}
	broken := make(chan error, 1)
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ns.SetLogger(logger{log.With("component", "nats"), cfg.Dir, broken}, false, false)
	ns.Start()
	if !ns.ReadyForConnections(30*time.Second) || !ns.JetStreamEnabled() {
		ns.Shutdown()
		_ = lock.Close()
		return nil, errkind.Environmentf("the embedded NATS server in %s did not become ready", cfg.Dir)
	}
	return &Server{ns: ns, lock: lock, broken: broken}, nil
}

// listen puts an address into opts once it is known to be free: the server ends
// the process when it cannot listen.
func listen(opts *server.Options, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		opts.Host = host
		opts.Port, err = strconv.Atoi(port)
	}
	if err != nil {
		return errkind.Inputf("address %q: write it as host:port, for example 127.0.0.1:4222", address)
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	probe, err := net.Listen("tcp", address)
	if err != nil {
		return errkind.Environmentf("cannot listen on %s: %w; is a NATS server running there already?", address, err)
	}
	_ = probe.Close()
	return nil
}

// StreamsDir is the name of the directory, in a data directory, that has the
// streams.
const StreamsDir = "jetstream"

// lockFile is the name of the file in a data directory that says who has it.
const lockFile = "lock"

// Seize takes a data directory that is there and that no process uses, as one that
// was killed left it, until release is called. It changes nothing in it. One that
// a process uses is an [InUseError].
func Seize(dir string) (release func(), err error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, errkind.As(errkind.Environment, err)
	}
	if err := lockBy(f, dir); err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// mostHolder is how much is read of what the lock's file says, in bytes.
const mostHolder = 256

// lockDir takes dir for this process: two servers on one store would destroy it.
// The file says who has it, for those who want it meanwhile.
func lockDir(dir, holder string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o644)
	if errors.Is(err, syscall.ELOOP) { // what it leads to would be written over
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("it is a symbolic link; remove it")}
	}
	if err != nil {
		return nil, errkind.Environmentf("cannot write to the data directory: %w", err)
	}
	if err := lockBy(f, dir); err != nil {
		return nil, err
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteString(holder)
	}
	if err != nil {
		_ = f.Close()
		return nil, errkind.Environmentf("cannot write to the data directory: %w", err)
	}
	return f, nil
}

// lockBy takes dir by its lock file, or closes that and says who has it.
func lockBy(f *os.File, dir string) error {
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(f, mostHolder))
	_ = f.Close()
	return errkind.As(errkind.Environment, &InUseError{dir, string(said)})
}

// Connect returns a connection to the server that needs no network. It is told by the
// address that others use.
func (s *Server) Connect(name string) (*nats.Conn, error) {
	nc, err := nats.Connect(cmp.Or(s.URL(), "nats://embedded"), nats.InProcessServer(s.ns), nats.Name(name), nats.MaxReconnects(-1))
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded NATS server: %w", err)
	}
	return nc, nil
}

// URL returns the address clients use, "" for a server that does not listen.
func (s *Server) URL() string {
	if a := s.ns.Addr(); a != nil {
		return "nats://" + a.String()
	}
	return ""
}

// Stop shuts the server down with everything on disk, or gives up waiting for
// that when ctx ends.
func (s *Server) Stop(ctx context.Context) {
	s.ns.Shutdown()
	done := make(chan struct{})
	go func() { s.ns.WaitForShutdown(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	_ = s.lock.Close()
}

// Discard shuts the server down without putting what it holds in order on the
// disk, for a directory that is removed next. It deletes every stream.
func (s *Server) Discard(ctx context.Context) {
	if nc, err := s.Connect("discard"); err == nil {
		if js, err := jetstream.New(nc); err == nil {
			// Of a server that is out of order, what stays takes a little longer to stop.
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			for name := range js.StreamNames(ctx).Name() {
				_ = js.DeleteStream(ctx, name)
			}
		}
		nc.Close()
	}
	s.Stop(ctx)
}

// Broken gets an environment fault when the disk is full: the server takes
// nothing more then, not even when there is room again, until it is started
// anew.
func (s *Server) Broken() <-chan error { return s.broken }

// logger passes the server's warnings and errors on.
type logger struct {
	log    *slog.Logger
	dir    string
	broken chan<- error
}

func (l logger) Noticef(f string, a ...any) { l.log.Debug("notice", "text", fmt.Sprintf(f, a...)) }
func (l logger) Warnf(f string, a ...any)   { l.log.Debug("warning", "text", fmt.Sprintf(f, a...)) }
func (l logger) Fatalf(f string, a ...any)  { l.log.Error("fatal", "text", fmt.Sprintf(f, a...)) }
func (l logger) Debugf(string, ...any)      {}
func (l logger) Tracef(string, ...any)      {}

func (l logger) Errorf(f string, a ...any) {
	text := fmt.Sprintf(f, a...)
	l.log.Error("error", "text", text)
	if !strings.Contains(text, syscall.ENOSPC.Error()) { // the one place where the server tells
		return
	}
	select {
	case l.broken <- errkind.Environmentf("no space left for the streams in %s: free some and start again", l.dir):
	default: // it was told
	}
}
