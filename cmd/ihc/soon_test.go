package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/freeport"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/services/attributor"
)

// sayer calls heard with each line that is said.
type sayer func(line string)

func (s sayer) Write(p []byte) (int, error) { s(string(p)); return len(p), nil }

func TestAnAPIOnThisMachineThatIsJustStartingIsWaitedFor(t *testing.T) {
	t.Parallel()
	address := freeport.Hold(t).String()
	var said []string
	say := sayer(func(line string) {
		said = append(said, line)
		if !strings.HasPrefix(line, "waiting for the IHC API at http://"+address) {
			return
		}
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		server := &http.Server{Handler: http.NotFoundHandler()}
		t.Cleanup(func() { _ = server.Close() })
		go func() { _ = server.Serve(l) }()
	})
	c := attributor.Config{APIKey: "key", APIURL: "http://" + address + "/v1", ConvTypeID: "any"}
	require.NoError(t, chooseModel(t.Context(), say, &c, &ihcv1.RunRequest{Model: run.ModelAPI}))
	require.Len(t, said, 2)
}
