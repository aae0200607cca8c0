package cli

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/sandbox"
)

// gate is an API that answers some requests at once, and the others when it is
// opened: a run on it is where a test wants it to be for as long as that needs.
type gate struct {
	*sandbox.Sandbox
	url  string
	came atomic.Int64 // requests, answered or not
	open func()
}

func newGate(t *testing.T, atOnce int) *gate {
	t.Helper()
	s, err := sandbox.New(sandbox.Config{Key: secret})
	require.NoError(t, err)
	tickets := make(chan struct{}, atOnce)
	for range atOnce {
		tickets <- struct{}{}
	}
	g := &gate{Sandbox: s, open: sync.OnceFunc(func() { close(tickets) })}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost { // and not whether anything is here
			g.came.Add(1)
			<-tickets
		}
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { g.open(); server.Close() })
	g.url = server.URL + "/v1"
	return g
}
