package stream

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

func TestPasswordsInAddressesAreNotShown(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"nats://me:secret@host:4222":                     "nats://me:xxxxx@host:4222",
		"nats://a:4222, nats://me:secret@b:4222,tls://c": "nats://a:4222,nats://me:xxxxx@b:4222,tls://c",
		"127.0.0.1:4222":                                 "127.0.0.1:4222",
	} {
		require.Equal(t, want, Address{URL: url}.Shown())
	}
}

// What a server, or a cluster, says of itself may pass, and what it says of the
// message does not.
func TestWhatPassesByItselfIsToldFromWhatDoesNot(t *testing.T) {
	t.Parallel()
	for _, passes := range []*jetstream.APIError{
		{Code: 503, ErrorCode: 10008, Description: "JetStream system temporarily unavailable"},
		{Code: 400, ErrorCode: 10077, Description: "maximum bytes exceeded"},
		{Code: 400, ErrorCode: 10002, Description: "resource limits exceeded for account"},
		{Code: 429, ErrorCode: 10167, Description: "too many requests"},
		{Code: 409, ErrorCode: 10158, Description: "duplicate message id is in process"},
	} {
		require.True(t, Transient(fmt.Errorf("publish: %w", passes)), passes.Description)
	}
	for _, stays := range []*jetstream.APIError{
		{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence, Description: "wrong last sequence: 3"},
		{Code: 404, ErrorCode: jetstream.JSErrCodeStreamNotFound, Description: "stream not found"},
	} {
		require.False(t, Transient(stays), stays.Description)
	}
}

// A server elsewhere that is not there is not waited for: what would be said
// when it is would end the test.
func TestAServerElsewhereIsDialledOnce(t *testing.T) {
	t.Parallel()
	_, err := DialSoon(t.Context(), Address{URL: "nats://host.invalid:4222"}, "test", slog.New(slog.DiscardHandler), func() { t.Error("waited") })
	require.ErrorContains(t, err, "cannot reach NATS at nats://host.invalid:4222")
}
