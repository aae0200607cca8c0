package stream

import (
	"log/slog"
	"testing"

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

// A server elsewhere that is not there is not waited for: what would be said
// when it is would end the test.
func TestAServerElsewhereIsDialledOnce(t *testing.T) {
	t.Parallel()
	_, err := DialSoon(t.Context(), Address{URL: "nats://host.invalid:4222"}, "test", slog.New(slog.DiscardHandler), func() { t.Error("waited") })
	require.ErrorContains(t, err, "cannot reach NATS at nats://host.invalid:4222")
}
