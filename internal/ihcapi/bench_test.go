package ihcapi

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// fullRequest is as much as the paid plan takes in one call, with ids of 64 digits.
func fullRequest() []Session {
	sessions := make([]Session, PaidLimits.Sessions)
	for i := range sessions {
		sessions[i] = Session{
			ConversionID: fmt.Sprintf("%064x", i/30),
			SessionID:    fmt.Sprintf("%064x", i),
			TimeMicros:   1_693_500_000_000_000 + int64(i)*1_000_000,
			Channel:      "Affiliate & Partnerships",
			Holder:       i%2 == 0,
			Conversion:   i%30 == 29,
		}
	}
	return sessions
}

func replyOf(rows int) []byte {
	reply := &Response{StatusCode: StatusOK, HasValue: true}
	for _, s := range fullRequest()[:rows] {
		reply.Values = append(reply.Values, Value{ConversionID: s.ConversionID, SessionID: s.SessionID, Score: ihcmodel.Score{IHC: 333, Closer: 4161}})
	}
	return AppendResponse(nil, reply)
}

func BenchmarkAppendRequest(b *testing.B) {
	sessions := fullRequest()
	body := AppendRequest(nil, sessions, nil)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		body = AppendRequest(body[:0], sessions, nil)
	}
}

func BenchmarkParseRequest(b *testing.B) {
	body := AppendRequest(nil, fullRequest(), nil)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		_, err := ParseRequest(body)
		require.NoError(b, err)
	}
}

func BenchmarkDecodeResponse(b *testing.B) {
	for _, plan := range []string{"free", "paid"} {
		b.Run(plan, func(b *testing.B) {
			limits, err := PlanLimits(plan)
			require.NoError(b, err)
			body := replyOf(limits.Sessions)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := DecodeResponse(bytes.NewReader(body), 1<<24, limits.Sessions)
				require.NoError(b, err)
			}
		})
	}
}
