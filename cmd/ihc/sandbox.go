package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
)

// sandboxKeyEnv is the environment's name for the sandbox's key.
const sandboxKeyEnv = "IHC_SANDBOX_KEY"

// drainTime is how long calls under way may take once the sandbox is told to stop.
const drainTime = 5 * time.Second

type sandboxFlags struct {
	listen, key, plan, params       string
	convTypes                       []string
	seed                            uint64
	latency, jitter, slow, retry    time.Duration
	perSecond                       float64
	burst                           int
	f429, f5xx, f500, cut, rst, lag float64
	poison, partial                 []string
	shuffle, check                  bool
	urlFile                         string
}

// newSandboxCmd is "ihc sandbox": the API's contract on one's own machine.
func newSandboxCmd() *cobra.Command {
	var f sandboxFlags
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve the IHC API's contract on this machine, over the built-in model",
		Long: `Serves a stand-in for the IHC API: the same request and reply, key, plan limits,
partial errors, and on request the troubles of a web service: latency, rate limits,
errors, broken connections. Prints one line with its URL when it is ready, and runs
until it is interrupted.

The --fault flags are shares of the calls, from 0 to 1, at most 1 together. They and
more can be changed while it runs, with PATCH or PUT on /faults. /stats counts calls,
sessions, conversions scored and scored twice, and violations of the contract.`,
		Example: `  ihc sandbox --key test &
  IHC_API_KEY=test IHC_CONV_TYPE_ID=any ihc run --db shop.db --model api --api-url http://127.0.0.1:8088/v1

  ihc sandbox --key test --plan paid --latency 200ms --fault-429 0.05 --fault-reset 0.01 --seed 7
  curl -X PATCH -d '{"rate_5xx": 0.2, "break": {"c17": "504"}}' http://127.0.0.1:8088/faults
  curl http://127.0.0.1:8088/stats`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serveSandbox(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8088", "`ADDRESS` to listen on; port 0 is any free one")
	flags.StringVar(&f.key, "key", "", "the key to accept, also from "+sandboxKeyEnv+" (default: any but none)")
	flags.StringArrayVar(&f.convTypes, "conv-type-id", nil, "a conv_type_id to accept, repeatable (default: any but none)")
	flags.StringVar(&f.plan, "plan", "free", "limits of a request: free (100 journeys, 200 sessions) or paid (100, 3000)")
	flags.StringVar(&f.params, "model-params", "", "parameter `FILE` of the model (default: the built-in published-shop)")
	flags.Uint64Var(&f.seed, "seed", 1, "seed of all that is drawn")
	flags.DurationVar(&f.latency, "latency", 0, "time from a call to its answer")
	flags.DurationVar(&f.jitter, "jitter", 0, "up to as much more, drawn for each call")
	flags.Float64Var(&f.perSecond, "rate-limit", 0, "calls a second, above which the answer is 429 with Retry-After (0: no limit)")
	flags.IntVar(&f.burst, "burst", 1, "calls that may come at once under --rate-limit")
	flags.Float64Var(&f.f429, "fault-429", 0, "share answered 429")
	flags.DurationVar(&f.retry, "retry-after", time.Second, "the Retry-After of --fault-429, in whole seconds (0: none)")
	flags.Float64Var(&f.f5xx, "fault-5xx", 0, "share answered 500, 502, 503 or 504")
	flags.Float64Var(&f.f500, "fault-500-in-200", 0, "share answered HTTP 200 with statusCode 500")
	flags.Float64Var(&f.cut, "fault-truncated", 0, "share whose answer breaks off half-way")
	flags.Float64Var(&f.rst, "fault-reset", 0, "share whose connection is reset without an answer")
	flags.Float64Var(&f.lag, "fault-slow", 0, "share that takes --slow-delay longer")
	flags.DurationVar(&f.slow, "slow-delay", 5*time.Second, "how much longer a slow call takes")
	flags.StringArrayVar(&f.poison, "poison", nil, "a conversion `ID` (or ID*) that gets its call answered 400, repeatable")
	flags.StringArrayVar(&f.partial, "partial", nil, "a conversion `ID` (or ID*) reported in partialFailureErrors, repeatable")
	flags.StringVar(&f.urlFile, "url-file", "", "`FILE` that holds the URL for as long as the sandbox runs (an attributor's IHC_SANDBOX_URL_FILE)")
	flags.BoolVar(&f.check, "check", false, "serve nothing, but ask the sandbox of --url-file whether it answers")
	flags.BoolVar(&f.shuffle, "shuffle", false, "give the values in random order, since none is documented")
	return cmd
}

// newSandbox makes the sandbox the flags describe.
func (f *sandboxFlags) newSandbox(in io.Reader) (*sandbox.Sandbox, ihcapi.Limits, error) {
	limits, err := ihcapi.PlanLimits(f.plan)
	if err != nil {
		return nil, limits, errkind.Inputf("--plan: %w", err)
	}
	model, err := loadModel(in, f.params)
	if err != nil {
		return nil, limits, err
	}
	s, err := sandbox.New(sandbox.Config{
		Key: f.key, ConvTypeIDs: f.convTypes, Limits: limits, Model: model, Seed: f.seed,
		Faults: sandbox.Faults{
			Latency: sandbox.Duration(f.latency), Jitter: sandbox.Duration(f.jitter), SlowDelay: sandbox.Duration(f.slow),
			Rate429: f.f429, Rate5xx: f.f5xx, Rate500In200: f.f500, RateCutOff: f.cut, RateReset: f.rst, RateSlow: f.lag,
			RetryAfter: sandbox.Duration(f.retry), RequestsPerSecond: f.perSecond, Burst: f.burst,
			Poison: f.poison, Partial: f.partial, Shuffle: f.shuffle,
		},
	})
	return s, limits, errkind.As(errkind.Input, err)
}

func serveSandbox(cmd *cobra.Command, f sandboxFlags) error {
	if f.check {
		return checkSandbox(cmd.Context(), f.urlFile)
	}
	if !cmd.Flags().Changed("key") {
		f.key = os.Getenv(sandboxKeyEnv)
	}
	s, limits, err := f.newSandbox(cmd.InOrStdin())
	if err != nil {
		return err
	}
	ctx := cmd.Context() // ends with the first signal
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return errkind.Environmentf("the sandbox cannot listen on %s: %w", f.listen, bareNetwork(err))
	}
	calls, cancelCalls := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelCalls()
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return calls },
	}
	withdraw, err := announce(f.urlFile, listener.Addr())
	if err != nil {
		return err
	}
	defer withdraw()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	key := "any key"
	if f.key != "" {
		key = "key checked"
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "IHC API sandbox at %s/v1 (plan %s: %d journeys, %d sessions a request; %s)\n",
		addressURL(listener.Addr()), f.plan, limits.Journeys, limits.Sessions, key); err != nil {
		_ = server.Close()
		return err
	}
	select {
	case err := <-served:
		return errkind.Environmentf("the sandbox stopped: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(calls, drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	cancelCalls() // ends the calls that wait out a latency longer than the drain
	_ = server.Close()
	stats := s.Stats()
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "sandbox stopped: %d requests, %d conversions scored (%d more than once), %d contract violations\n",
		stats.Requests, stats.ConversionsScored, stats.ConversionsScoredTwice, stats.ContractViolations)
	return err
}

// announce writes the sandbox's URL into a file, where one is named, and
// returns how to take it back. One that listens on all addresses gives its
// host's name, by which its neighbours in a network of containers know it.
func announce(path string, addr net.Addr) (withdraw func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	url := addressURL(addr)
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		host, err := os.Hostname()
		if err != nil {
			return nil, errkind.Environmentf("the sandbox cannot name its host: %w", err)
		}
		url = "http://" + net.JoinHostPort(host, strconv.Itoa(tcp.Port))
	}
	if err := atomicfile.WriteBytes(path, 0o644, []byte(url+"/v1\n")); err != nil {
		return nil, errkind.Environmentf("--url-file: %w", err)
	}
	return func() { _ = os.Remove(path) }, nil
}

// checkSandbox asks the sandbox that is announced in a file how it is.
func checkSandbox(ctx context.Context, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return errkind.Environmentf("no sandbox: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	url := strings.TrimSuffix(strings.TrimSpace(string(data)), "/v1") + "/healthz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return errkind.Environmentf("no sandbox: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return errkind.Environmentf("the sandbox does not answer: %w", err)
	}
	return resp.Body.Close()
}

// addressURL is where a listener is reached from this machine.
func addressURL(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return "http://" + addr.String()
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

// bareNetwork takes the address, which the caller names, off a network error.
func bareNetwork(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}
