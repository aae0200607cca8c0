package ihcapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// ClientConfig is what a [Client] needs. The zero value of a field but Key is its default.
type ClientConfig struct {
	BaseURL   string        // with /v1 or the like; DefaultBaseURL
	Key       string        // the API key; required
	Timeout   time.Duration // for one call from start to the reply's last byte; a minute
	UserAgent string        // "ihc-pipeline"
	MaxReply  int64         // the largest reply taken, in bytes; 64 MiB
	HTTP      *http.Client  // copied; its redirects and timeout are replaced
}

// Client calls the IHC API. It is for any number of goroutines. It does not
// retry: whoever calls knows how long the work can wait.
type Client struct {
	base      *url.URL
	key       string
	secret    redactor
	timeout   time.Duration
	userAgent string
	maxReply  int64
	http      http.Client
}

// NewClient checks the configuration; what is wrong with it is an input fault
// that names the environment variable, and never shows the key.
func NewClient(c ClientConfig) (*Client, error) {
	base, err := parseBaseURL(c.BaseURL)
	if err != nil {
		return nil, err
	}
	if c.Key == "" {
		return nil, errkind.Inputf("no API key: set IHC_API_KEY")
	}
	for _, b := range []byte(c.Key) {
		if b <= ' ' || b > '~' {
			return nil, errkind.Inputf("IHC_API_KEY holds a space, a line break or another character that no key has")
		}
	}
	client := &Client{
		base: base, key: c.Key, secret: newRedactor(c.Key),
		timeout: c.Timeout, userAgent: c.UserAgent, maxReply: c.MaxReply,
	}
	if client.timeout <= 0 {
		client.timeout = time.Minute
	}
	if client.userAgent == "" {
		client.userAgent = "ihc-pipeline"
	}
	if client.maxReply <= 0 {
		client.maxReply = 64 << 20
	}
	if c.HTTP != nil {
		client.http = *c.HTTP
	} else {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 64 // all calls go to one host; two would mean a new connection for most
		client.http.Transport = transport
	}
	client.http.Timeout = 0 // the context's, which tells a timeout from a cancel
	client.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client, nil
}

// URL returns the base URL that is called.
func (c *Client) URL() string { return c.base.String() }

// Close gives up the connections kept for the next call.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func parseBaseURL(text string) (*url.URL, error) {
	if text == "" {
		text = DefaultBaseURL
	}
	u, err := url.Parse(strings.TrimRight(text, "/"))
	switch {
	case err != nil:
		return nil, errkind.Inputf("IHC_API_URL is not a URL; it looks like %s", DefaultBaseURL)
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, errkind.Inputf("IHC_API_URL holds a user, a query or a fragment; it looks like %s", DefaultBaseURL)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, errkind.Inputf("IHC_API_URL %s is not an http or https URL; it looks like %s", quote(text), DefaultBaseURL)
	}
	return u, nil
}

// rowsTaken is how many rows a reply may have to a request of so many
// sessions: enough to tell what is wrong with a reply that has each row twice
// or rows nobody asked for, and no more.
func rowsTaken(sessions int) int { return 2*sessions + 100 }

// Compute sends one body, made by [AppendRequest] of so many sessions, to be
// scored by the trained conversion type, and returns the reply if it is a
// success or a partial one.
//
// Every other outcome is an *[Error], but for the end of ctx, whose error is
// returned as it is: then nobody is waiting.
func (c *Client) Compute(ctx context.Context, convTypeID string, body []byte, sessions int) (*Response, error) {
	target := *c.base
	target.Path += ComputePath
	target.RawQuery = url.Values{ConvTypeParam: {convTypeID}}.Encode()
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	header.Set(KeyHeader, c.key)

	attempt, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	reply, err := c.send(attempt, http.MethodPost, &target, header, body)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	defer drain(reply)
	decoded, err := decodeResponse(reply.Body, c.maxReply, rowsTaken(sessions), c.redacted)
	if err != nil && attempt.Err() != nil {
		return nil, c.lost(ctx, err) // the time was up in the middle of the reply
	}
	response, failed := judge(reply.StatusCode, reply.Header, decoded, err, time.Now())
	if failed == nil {
		c.redact(response)
		return response, nil
	}
	if errors.Is(err, ErrTooLarge) {
		failed.Kind = Unexpected // and would be as large the next time
	}
	failed.Reason = c.redacted(failed.Reason)
	c.redactFailures(failed.Failures)
	return nil, failed
}

// Ping asks whether anything answers HTTP at the base URL, without the key and
// without spending a call. Any status will do. The error is like [Client.Compute]'s.
func (c *Client) Ping(ctx context.Context) error {
	attempt, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	reply, err := c.send(attempt, http.MethodGet, c.base, http.Header{}, nil)
	if err != nil {
		return c.lost(ctx, err)
	}
	drain(reply)
	return nil
}

func (c *Client) send(ctx context.Context, method string, target *url.URL, header http.Header, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	header.Set("User-Agent", c.userAgent)
	request.Header = header
	return c.http.Do(request)
}

// drain reads what little may be left, so that the connection can be used again.
func drain(reply *http.Response) {
	_, _ = io.CopyN(io.Discard, reply.Body, 64<<10)
	_ = reply.Body.Close() // nothing was written; there is nothing a failure could lose
}

// lost makes an error of a call that got no reply.
func (c *Client) lost(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("the call to the IHC API was given up: %w", ended)
	}
	e := &Error{Kind: Transient, cause: err}
	var (
		certificate *tls.CertificateVerificationError
		network     net.Error
		system      *net.OpError
		inURL       *url.Error
	)
	if errors.As(err, &inURL) {
		err = inURL.Err // without the address, which is in the configuration
	}
	switch {
	case errors.As(err, &certificate):
		e.Kind = Unexpected
		e.Reason = c.redacted(err.Error())
	case errors.As(err, &network) && network.Timeout():
		e.Reason = fmt.Sprintf("%s did not answer within %s", c.base.Host, c.timeout)
	case errors.As(err, &system): // whose words have nothing of a reply, and name hosts
		e.Reason = brief(fmt.Sprintf("%s: %v", c.base.Host, err))
	default:
		e.Reason = c.base.Host + ": " + c.redacted(err.Error())
	}
	return e
}

// Shown returns a text of a reply, as an id, fit to be shown or logged: on one
// line, not too long, and without the key.
func (c *Client) Shown(text string) string { return c.redacted(text) }

// redacted takes the key out first, so that none is cut in two and half of it
// shown.
func (c *Client) redacted(text string) string { return brief(c.secret.redact(text)) }

func (c *Client) redactFailures(failures []PartialFailure) {
	for i := range failures {
		failures[i].Reason = c.redacted(failures[i].Reason)
	}
}

// redact does so for the words of a reply that may be shown; those of its rows
// were redacted when they were read.
func (c *Client) redact(r *Response) {
	r.Message = c.redacted(r.Message)
	c.redactFailures(r.Failures)
}
