package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcapi"
)

// started runs "ihc sandbox" until the test ends or stop is called, and
// returns the line it prints when it is ready.
func started(t *testing.T, args ...string) (line string, stop func() (log string, err error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var log strings.Builder
	cmd := newSandboxCmd()
	cmd.SetArgs(append([]string{"--listen", "127.0.0.1:0"}, args...))
	cmd.SetOut(in)
	cmd.SetErr(&log)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	done := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		_ = in.CloseWithError(err)
		done <- err
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	stopped := false
	stop = func() (string, error) {
		cancel()
		stopped = true
		err := <-done
		return log.String(), err
	}
	t.Cleanup(func() {
		if !stopped {
			_, _ = stop()
		}
	})
	return line, stop
}

func sandboxURL(t *testing.T, line string) string {
	t.Helper()
	_, rest, found := strings.Cut(line, "IHC API sandbox at ")
	require.True(t, found, line)
	url, _, _ := strings.Cut(rest, " ")
	return url
}

func oneCall(t *testing.T, url, key string) error {
	t.Helper()
	client, err := ihcapi.NewClient(ihcapi.ClientConfig{BaseURL: url, Key: key})
	require.NoError(t, err)
	defer client.Close()
	body := ihcapi.AppendRequest(nil, []ihcapi.Session{{ConversionID: "c", SessionID: "s", Conversion: true}}, nil)
	_, err = client.Compute(t.Context(), "any", body, 1)
	return err
}

func TestSandboxServesUntilStopped(t *testing.T) {
	t.Parallel()
	line, stop := started(t, "--key", "k", "--plan", "paid")
	require.Contains(t, line, "(plan paid: 100 journeys, 3000 sessions a request; key checked)")
	url := sandboxURL(t, line)
	require.NoError(t, oneCall(t, url, "k"))
	var e *ihcapi.Error
	require.ErrorAs(t, oneCall(t, url, "other"), &e)
	require.Equal(t, ihcapi.Denied, e.Kind)
	log, err := stop()
	require.NoError(t, err)
	require.Equal(t, "sandbox stopped: 2 requests, 1 conversion scored (0 more than once), 0 contract violations\n", log)
}

func TestSandboxKeyFromTheEnvironment(t *testing.T) {
	t.Setenv(sandboxKeyEnv, "from-the-environment")
	line, _ := started(t)
	require.NotContains(t, line, "from-the-environment")
	require.NoError(t, oneCall(t, sandboxURL(t, line), "from-the-environment"))
	require.Error(t, oneCall(t, sandboxURL(t, line), "other"))
	// The flag goes first, also to say that any key will do.
	line, _ = started(t, "--key", "")
	require.Contains(t, line, "any key")
	require.NoError(t, oneCall(t, sandboxURL(t, line), "other"))
}

func TestSandboxFaultFlags(t *testing.T) {
	t.Parallel()
	line, stop := started(t, "--fault-429", "1", "--retry-after", "3s", "--latency", "1ms", "--seed", "9", "--poison", "p*", "--conv-type-id", "any")
	url := sandboxURL(t, line)
	var e *ihcapi.Error
	require.ErrorAs(t, oneCall(t, url, "k"), &e)
	require.Equal(t, 429, e.HTTPStatus)
	require.Equal(t, "3s", e.RetryAfter.String())
	reply, err := http.Get(strings.TrimSuffix(url, "/v1") + "/faults")
	require.NoError(t, err)
	text, err := io.ReadAll(reply.Body)
	require.NoError(t, err)
	require.NoError(t, reply.Body.Close())
	for _, says := range []string{`"rate_429": 1`, `"latency": "1ms"`, `"p*"`} {
		require.Contains(t, string(text), says)
	}
	_, err = stop()
	require.NoError(t, err)
}

func TestSandboxSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	for _, tc := range []struct {
		kind errkind.Kind
		says string
		args []string
	}{
		{errkind.Input, `--plan: unknown plan "gold"`, []string{"--plan", "gold"}},
		{errkind.Input, "rate_429: 2 is not within 0 to 1", []string{"--fault-429", "2"}},
		{errkind.Input, "the rates sum to", []string{"--fault-429", "0.7", "--fault-5xx", "0.7"}},
		{errkind.Input, "model parameters no-such-file", []string{"--model-params", "no-such-file"}},
		{errkind.Environment, "the sandbox cannot listen on " + taken.Addr().String(), []string{"--listen", taken.Addr().String()}},
		{errkind.Environment, "the sandbox cannot listen on nowhere", []string{"--listen", "nowhere"}},
	} {
		_, _, err := called(t, newSandboxCmd(), "", tc.args...)
		requireFault(t, tc.kind, tc.says, err)
	}
}

func TestAddressURL(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8088}, "http://127.0.0.1:8088"},
		{&net.TCPAddr{IP: net.IPv6zero, Port: 80}, "http://127.0.0.1:80"},
		{&net.TCPAddr{IP: net.IPv6loopback, Port: 80}, "http://[::1]:80"},
		{&net.UnixAddr{Name: "x"}, "http://x"},
	} {
		require.Equal(t, tc.want, addressURL(tc.addr))
	}
}
