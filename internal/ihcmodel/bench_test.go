package ihcmodel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// randomJourneys makes journeys of the given length over a few days, with the
// published shop's channels.
func randomJourneys(count, length int) [][]Session {
	random := rand.New(rand.NewPCG(5, uint64(length)))
	channels := DefaultParams().Channels()
	journeys := make([][]Session, count)
	for i := range journeys {
		at := int64(1_693_500_000_000_000)
		for range length {
			at += int64(random.ExpFloat64() * 12 * microsPerHour)
			journeys[i] = append(journeys[i], Session{
				TimeMicros: at,
				Channel:    channels[random.IntN(len(channels))],
				Holder:     random.IntN(10) < 7,
				Closer:     random.IntN(10) < 3,
			})
		}
	}
	return journeys
}

func BenchmarkScore(b *testing.B) {
	redistribution := &Redistribution{
		Initializer: &Rule{EarlierSessions, 0, []string{"Direct Traffic"}},
		Holder:      &Rule{AnySession, 0, []string{"Direct Traffic"}},
		Closer:      &Rule{LaterSessions, 0.1, []string{"Organic Traffic"}},
	}
	for _, length := range []int{1, 2, 5, 13, 200} {
		for name, r := range map[string]*Redistribution{"plain": nil, "redistributed": redistribution} {
			b.Run(fmt.Sprintf("%s/%d", name, length), func(b *testing.B) {
				journeys := randomJourneys(1024, length)
				scorer := published(b).Scorer(r)
				var out []Score
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					out = scorer.Score(journeys[i%len(journeys)], out)
				}
				b.ReportMetric(float64(b.N*length)/b.Elapsed().Seconds(), "sessions/s")
			})
		}
	}
}

func TestScoreAllocatesNothing(t *testing.T) {
	journeys := randomJourneys(64, 9)
	for _, j := range journeys {
		j[3], j[5] = j[5], j[3] // the sort must not allocate either
	}
	for name, r := range map[string]*Redistribution{
		"plain":         nil,
		"redistributed": {Holder: &Rule{AnySession, 0, []string{"Direct Traffic"}}, Closer: &Rule{LaterSessions, 0.1, []string{"Referral"}}},
	} {
		scorer := published(t).Scorer(r)
		out := scorer.Score(journeys[0], nil)
		i := 0
		allocations := testing.AllocsPerRun(1000, func() {
			out = scorer.Score(journeys[i%len(journeys)], out)
			i++
		})
		require.Zero(t, allocations, name)
	}
}
