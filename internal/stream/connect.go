package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/retry"
)

// Client is one process's connection to the streams: what it publishes and
// consumes goes through here, is counted here and is logged here.
type Client struct {
	stage      string
	instance   string
	nc         *nats.Conn
	js         jetstream.JetStream
	kv         jetstream.KeyValue
	log        *slog.Logger
	metrics    *metrics
	grace      time.Duration
	hurry      atomic.Bool
	refused    refusals
	meters     meters
	clock      retry.Clock
	redelivery retry.Policy // the client's [retry.Redelivery]
	crashed    retry.Policy // the client's [retry.Crashed]
	room       room
	told       func(why error)
	missing    missing
}

// Options say who a [Client] is.
type Options struct {
	// Stage is the service's name, one of the Stage constants, or any word
	// for a tool. Instance tells replicas of it apart.
	Stage, Instance string
	Log             *slog.Logger
	// Metrics receives the client's counters; nil keeps them to itself.
	Metrics prometheus.Registerer
	// Grace is how long work under way may take to finish when a consumer is
	// told to stop; 0 means 20 seconds.
	Grace time.Duration
	// Missing is told at each look why the streams are not there yet. It may be nil.
	Missing func(why error)
	// Refused is called when NATS has not taken a message for half a second, and
	// goes on being tried. It may be nil.
	Refused func(why error)
	// Clock measures the waits before the client tries again; nil means
	// [retry.Real].
	Clock retry.Clock
}

// Address is where NATS is and who asks.
type Address struct {
	URL string
	// User and Password (or PasswordFile, a file that holds nothing else), or
	// Creds (a credentials file); all may be empty.
	User, Password, PasswordFile, Creds string
	// TLS is by which certificates.
	TLS TLS
}

// password returns the password in the file, if one is named.
func (a Address) password() (string, error) {
	if a.PasswordFile == "" {
		return a.Password, nil
	}
	data, err := os.ReadFile(a.PasswordFile)
	if err != nil {
		return "", errkind.Environmentf("NATS password: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// Dial connects to NATS and keeps the connection up for as long as the
// process lives: it goes on trying where the server is away, now or later.
// name shows in the server's monitoring. Without wait, a server that cannot
// be reached at once is an environment fault.
func Dial(a Address, name string, log *slog.Logger, wait bool) (*nats.Conn, error) {
	shown := a.Shown()
	said := "" // why there is no connection; handlers are called one after the other
	opts := []nats.Option{
		nats.Name(name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(wait),
		nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.Timeout(5 * time.Second),
		// A server that stands still, or a network that swallows everything, is left
		// for another one after half a minute.
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("lost the connection to NATS, reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			said = ""
			log.Info("connected to NATS again", "server", nc.ConnectedUrlRedacted())
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if text := unreachable(shown, err).Error(); text != said {
				said = text
				log.Warn("cannot connect to NATS, trying again", "error", text)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("NATS reports", "error", err) }),
	}
	secure, err := a.TLS.options()
	if err != nil {
		return nil, err
	}
	opts = append(opts, secure...)
	if a.User != "" {
		password, err := a.password()
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.UserInfo(a.User, password))
		// Answers come to inboxes of the user's own, so that the server can
		// keep users from reading one another's.
		if !strings.ContainsAny(a.User, ".*> \t") {
			opts = append(opts, nats.CustomInboxPrefix("_INBOX."+a.User))
		}
	}
	if a.Creds != "" {
		opts = append(opts, nats.UserCredentials(a.Creds))
	}
	nc, err := nats.Connect(a.URL, opts...)
	if err != nil {
		return nil, unreachable(shown, err)
	}
	return nc, nil
}

// DialSoon is [Dial] of a server that should be there. One on this machine may
// have been started a moment ago: it has five seconds to come, and waiting is
// called after one.
func DialSoon(ctx context.Context, a Address, name string, log *slog.Logger, waiting func()) (*nats.Conn, error) {
	var nc *nats.Conn
	err := retry.Loopback(ctx, retry.Real, a.URL, func(context.Context) (err error) {
		nc, err = Dial(a, name, log, false)
		return err
	}, func(err error) bool { return errors.Is(err, nats.ErrNoServers) }, waiting)
	return nc, err
}

// Shown returns the URL without the passwords in it.
func (a Address) Shown() string {
	all := strings.Split(a.URL, ",")
	for i, one := range all {
		if u, err := url.Parse(strings.TrimSpace(one)); err == nil {
			all[i] = u.Redacted()
		}
	}
	return strings.Join(all, ",")
}

func unreachable(shown string, err error) error {
	why := untrusted(err)
	switch {
	case why != "":
		return errkind.Environmentf("NATS at %s: %s", shown, why)
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return errkind.Environmentf("NATS at %s refused the credentials: set NATS_USER and NATS_PASSWORD (or NATS_PASSWORD_FILE), or NATS_CREDS", shown)
	default:
		return errkind.Environmentf("cannot reach NATS at %s: %w; is it running, and is the address right?", shown, err)
	}
}

// New puts a client on nc. It waits until the streams are there (see
// [Ensure]), which another process may still be about to create.
func New(ctx context.Context, nc *nats.Conn, o Options) (*Client, error) {
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(10*time.Second))
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	if err := Await(ctx, js, o.Missing); err != nil {
		return nil, errkind.Environmentf("the pipeline's streams are not on this NATS server: %w", err)
	}
	kv, err := bucket(ctx, js)
	if err != nil {
		return nil, errkind.Environmentf("open bucket %s: %w", State, err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Grace == 0 {
		o.Grace = 20 * time.Second
	}
	if o.Clock == nil {
		o.Clock = retry.Real
	}
	if o.Instance == "" {
		o.Instance = "0"
	}
	c := &Client{stage: o.Stage, instance: o.Instance, nc: nc, js: js, kv: kv, log: o.Log, metrics: newMetrics(o.Metrics, o.Stage),
		grace: o.Grace, clock: o.Clock, redelivery: retry.Redelivery, crashed: retry.Crashed, told: o.Refused}
	showSpace(c, o.Metrics)
	return c, nil
}

// bucket opens the state bucket, also if the server goes away in between.
func bucket(ctx context.Context, js jetstream.JetStream) (jetstream.KeyValue, error) {
	var kv jetstream.KeyValue
	err := retry.Do(ctx, retry.Real, retry.Server, func(ctx context.Context) (err error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		kv, err = js.KeyValue(ctx, State)
		return err
	}, Transient)
	return kv, err
}

// Healthy says whether the connection is up: nil, or what is wrong.
func (c *Client) Healthy() error {
	s := c.nc.Status()
	if s == nats.CONNECTED {
		return nil
	}
	if why := untrusted(c.nc.LastError()); why != "" {
		return errkind.Environmentf("NATS connection is %s: %s", s, why)
	}
	return errkind.Environmentf("NATS connection is %s", s)
}

// Check says whether the streams can be used now: nil, or an environment fault
// that tells what is wrong. It asks the server, for as long as ctx lives.
func (c *Client) Check(ctx context.Context) error {
	if err := c.Healthy(); err != nil {
		return err
	}
	if err := c.refused.last(); err != nil {
		return errkind.Environmentf("NATS does not take a message: %w", err)
	}
	return c.Room(ctx)
}

// Stage returns the name the client was made with.
func (c *Client) Stage() string { return c.stage }

// Hurry gives up the grace: consumers that are told to stop, now or later, do
// not wait for what is under way. It is for a server that takes nothing more.
func (c *Client) Hurry() { c.hurry.Store(true) }

// Close drains the connection: what was published is sent, what was received
// is settled. It returns when the connection is closed or ctx ends.
func (c *Client) Close(ctx context.Context) error {
	c.tellDue(ctx)
	return Drain(ctx, c.nc)
}

// Drain closes nc once everything under way is flushed, or ctx ends.
func Drain(ctx context.Context, nc *nats.Conn) error {
	closed := nc.StatusChanged(nats.CLOSED)
	if err := nc.Drain(); err != nil {
		nc.Close()
		return nil //nolint:nilerr // not connected: there is nothing to flush to
	}
	for !nc.IsClosed() {
		select {
		case <-closed:
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			nc.Close()
			return ctx.Err()
		}
	}
	return nil
}

// passing are faults that the server calls the client's, and that pass: what is
// full has room again when messages age or limits are raised. Codes of
// nats-server, which the client has no names for.
var passing = []jetstream.ErrorCode{
	10002, // the account's storage is used up
	10028, // the server's memory
	10047, // the server's disk, or the storage it was given
	10077, // the stream is full
	10158, // servers of a cluster are still storing the same message, whose first try nobody heard the end of
}

// Transient tells whether an error of this package is one of NATS itself that
// may pass: the server is away, starting, or full.
func Transient(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code >= 500 || api.Code == http.StatusTooManyRequests || slices.Contains(passing, api.ErrorCode)
	}
	// A connection that broke under a write.
	if network := net.Error(nil); errors.As(err, &network) {
		return true
	}
	for _, e := range []error{
		io.EOF, io.ErrUnexpectedEOF,
		nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded,
		nats.ErrNoStreamResponse, jetstream.ErrNoStreamResponse, jetstream.ErrJetStreamNotEnabled, jetstream.ErrAsyncPublishTimeout,
		jetstream.ErrTooManyStalledMsgs, jetstream.ErrServerShutdown, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
