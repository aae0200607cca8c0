package extractor

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/journey"
)

// BenchmarkEncode makes the message of a chunk, to its bytes: 40 journeys with
// 5 sessions each, which fill a request of the free plan.
func BenchmarkEncode(b *testing.B) {
	const journeys, sessions = 40, 5
	js := make([]journey.Journey, journeys)
	for i := range js {
		js[i] = journey.Journey{ConvID: fmt.Sprintf("conversion-%032d", i), Count: sessions}
		for k := range sessions {
			js[i].Sessions = append(js[i].Sessions, journey.Session{ID: fmt.Sprintf("2023-09-01_%04d_%032d", k, i),
				Time: int64(i*sessions+k) * 3_600_000_000, Channel: fmt.Sprintf("Channel %d", k%4), Flags: 3})
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		data, err := proto.Marshal(encode(js))
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(data)))
	}
	b.ReportMetric(float64(b.N*journeys*sessions)/b.Elapsed().Seconds(), "sessions/s")
}
