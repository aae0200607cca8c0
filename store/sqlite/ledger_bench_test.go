package sqlite

import (
	"fmt"
	"testing"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// BenchmarkStore writes batches as the writer does at the paid plan's limits:
// 8 chunks of 100 journeys with 5 sessions each, in one transaction.
func BenchmarkStore(b *testing.B) {
	l := opened(b, build(b, InputSchema))
	const chunks, journeys, sessions = 8, 100, 5
	b.ReportAllocs()
	for n := uint32(0); b.Loop(); n++ {
		b.StopTimer()
		batch := make([]*ihcv1.AttributionResult, chunks)
		for i := range batch {
			batch[i] = &ihcv1.AttributionResult{RunId: "run", Chunk: n*chunks + uint32(i) + 1, Model: "builtin"}
			for k := range journeys {
				batch[i].Attributions = append(batch[i].Attributions, sharedOut(fmt.Sprintf("c%d-%d-%d", n, i, k), 2000, 2000, 2000, 2000, 2000))
			}
		}
		b.StartTimer()
		if err := l.Store(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*chunks*journeys*sessions)/b.Elapsed().Seconds(), "rows/s")
}
