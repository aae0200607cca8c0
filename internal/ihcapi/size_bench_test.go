package ihcapi

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func BenchmarkDecodeResponseFree(b *testing.B) {
	full, err := DecodeResponse(bytes.NewReader(fullReply()), 1<<24)
	require.NoError(b, err)
	full.Values = full.Values[:FreeLimits.Sessions]
	body := AppendResponse(nil, full)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		_, err := DecodeResponse(bytes.NewReader(body), 1<<24)
		require.NoError(b, err)
	}
}
