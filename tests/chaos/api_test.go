//go:build chaos

package chaos

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
)

const apiKey = "chaos-key-4711"

// api is the sandbox, and a record of what was paid for: every call that got
// a whole answer with values in it.
type api struct {
	*sandbox.Sandbox
	url string

	mu    sync.Mutex
	calls int // of any outcome
	paid  []paidCall
	waits []callWait
	// deadly is a conversion whose calls do something else than be answered.
	deadly string
	does   func()
}

// callWait is a wait for the call of a number.
type callWait struct {
	number  int
	reached chan struct{}
}

type paidCall struct {
	at    time.Time // when it arrived
	body  [sha256.Size]byte
	convs []string
}

func startAPI(t *testing.T, seed uint64, faults sandbox.Faults) *api {
	t.Helper()
	s, err := sandbox.New(sandbox.Config{Key: apiKey, Limits: ihcapi.PaidLimits, Faults: faults, Seed: seed})
	require.NoError(t, err)
	a := &api{Sandbox: s}
	server := httptest.NewServer(a)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	a.url = server.URL + "/v1"
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		a.Sandbox.ServeHTTP(w, r)
		return
	}
	call := paidCall{at: time.Now()}
	a.mu.Lock()
	a.calls++
	for _, w := range a.waits {
		if w.number == a.calls {
			close(w.reached)
		}
	}
	deadly, does := a.deadly, a.does
	a.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	if deadly != "" && bytes.Contains(body, []byte(`"`+deadly+`"`)) {
		does()
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := &answer{ResponseWriter: w}
	a.Sandbox.ServeHTTP(answer, r) // a fault may panic its way out: not paid
	reply, err := ihcapi.DecodeResponse(&answer.body, 64<<20, ihcapi.PaidLimits.Sessions)
	if err != nil || !reply.HasValue {
		return
	}
	call.body = sha256.Sum256(body)
	if req, err := ihcapi.ParseRequest(body); err == nil {
		seen := map[string]bool{}
		for _, s := range req.Sessions {
			if !seen[s.ConversionID] {
				seen[s.ConversionID] = true
				call.convs = append(call.convs, s.ConversionID)
			}
		}
	}
	a.mu.Lock()
	a.paid = append(a.paid, call)
	a.mu.Unlock()
}

// onConversion has calls about a conversion do something else than be
// answered; none does for "".
func (a *api) onConversion(id string, does func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deadly, a.does = id, does
}

// asked returns how many calls there were, of any outcome.
func (a *api) asked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

// onCall returns a channel that is closed when the n-th call from now arrives.
func (a *api) onCall(n int) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := callWait{number: a.calls + n, reached: make(chan struct{})}
	a.waits = append(a.waits, w)
	return w.reached
}

// repeats counts requests that were paid for more than once.
func (a *api) repeats() (requests, repeated int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	times := map[[sha256.Size]byte]int{}
	for _, c := range a.paid {
		times[c.body]++
	}
	return len(times), len(a.paid) - len(times)
}

// answer keeps a copy of what is answered. ResponseController finds its way
// through Unwrap to the connection, for faults that break it.
type answer struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) Write(p []byte) (int, error) {
	a.body.Write(p)
	return a.ResponseWriter.Write(p)
}
