package packing

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/journey"
)

func made(conv, sessions int) journey.Journey {
	j := journey.Journey{ConvID: "c" + strconv.Itoa(conv), Sessions: make([]journey.Session, sessions), Count: sessions}
	for i := range j.Sessions {
		j.Sessions[i] = journey.Session{ID: fmt.Sprintf("c%d-s%d", conv, i), Channel: "Direct"}
	}
	return j
}

func packed(t require.TestingT, l Limits, lengths []int) [][]journey.Journey {
	var chunks [][]journey.Journey
	p := New(l, func(c []journey.Journey) error { chunks = append(chunks, c); return nil })
	for i, n := range lengths {
		require.NoError(t, p.Add(made(i, n)))
	}
	require.NoError(t, p.Flush())
	return chunks
}

func check(t require.TestingT, l Limits, lengths []int, chunks [][]journey.Journey) {
	seen := map[string]int{}
	for _, c := range chunks {
		sessions, weight := 0, 0
		for _, j := range c {
			require.Len(t, j.Sessions, j.Count, "a journey was cut")
			seen[j.ConvID]++
			sessions += len(j.Sessions)
			weight += Weight(j)
		}
		require.NotEmpty(t, c)
		require.LessOrEqual(t, sessions, l.Sessions)
		require.LessOrEqual(t, len(c), l.Journeys)
		require.LessOrEqual(t, weight, l.Bytes)
	}
	require.Len(t, seen, len(lengths), "lost journeys")
	for conv, n := range seen {
		require.Equal(t, 1, n, "journey %s packed %d times", conv, n)
	}
}

// bound is the fewest chunks there can be. A journey so long that even journeys
// of one session cannot fill its chunk up wastes the slots they lack.
func bound(l Limits, lengths []int) int {
	sessions, slots := 0, 0
	for _, n := range lengths {
		sessions += n
		slots += 1 + max(0, l.Journeys-1-(l.Sessions-n))
	}
	if l.Sessions <= l.Journeys { // sessions are the tighter limit throughout
		slots = len(lengths)
	}
	return max((sessions+l.Sessions-1)/l.Sessions, (slots+l.Journeys-1)/l.Journeys)
}

func TestPackingKeepsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{
			Sessions: rapid.IntRange(1, 300).Draw(t, "sessions"),
			Journeys: rapid.IntRange(1, 120).Draw(t, "journeys"),
			Bytes:    rapid.SampledFrom([]int{20_000, 1 << 20}).Draw(t, "bytes"),
		}
		lengths := rapid.SliceOfN(rapid.IntRange(1, l.Sessions), 0, 2000).Draw(t, "lengths")
		chunks := packed(t, l, lengths)
		check(t, l, lengths, chunks)
		require.Equal(t, chunks, packed(t, l, lengths), "not deterministic")
	})
}

// lengthsOf draws journey lengths as shops have them.
var lengthsOf = map[string]func(r *rand.Rand, most int) int{
	"geometric": func(r *rand.Rand, most int) int {
		n := 1
		for n < most && r.Float64() < 0.8 {
			n++
		}
		return n
	},
	"short":        func(r *rand.Rand, _ int) int { return 1 + r.IntN(2) },
	"at the ratio": func(r *rand.Rand, _ int) int { return 1 + r.IntN(3) },
	"pareto": func(r *rand.Rand, most int) int {
		return upTo(most, func() int { return int(math.Pow(1-r.Float64(), -1/1.2)) })
	},
	"heavy pareto": func(r *rand.Rand, most int) int {
		return upTo(most, func() int { return int(2 * math.Pow(1-r.Float64(), -1/0.9)) })
	},
}

// upTo draws until a length is one that is packed: longer ones are excluded.
func upTo(most int, draw func() int) int {
	for {
		if n := draw(); n <= most {
			return n
		}
	}
}

func TestPackingIsNearTheBound(t *testing.T) {
	t.Parallel()
	for name, draw := range lengthsOf {
		for _, l := range []Limits{{200, 100, 1 << 20}, {3000, 100, 1 << 22}} {
			for _, n := range []int{50, 500, 5_000} {
				for seed := range uint64(3) {
					r := rand.New(rand.NewPCG(seed, 7))
					lengths := make([]int, n)
					for i := range lengths {
						lengths[i] = draw(r, l.Sessions)
					}
					chunks := packed(t, l, lengths)
					check(t, l, lengths, chunks)
					least := bound(l, lengths)
					require.LessOrEqualf(t, len(chunks), max(least+1, least*101/100),
						"%s, %d journeys, limits %d/%d, seed %d: the bound is %d", name, n, l.Journeys, l.Sessions, seed, least)
				}
			}
		}
	}
}

// What is in hand must not grow with the input (invariant 8).
func TestPackerHoldsABoundedNumber(t *testing.T) {
	t.Parallel()
	l := Limits{200, 100, 1 << 20}
	p := New(l, func([]journey.Journey) error { return nil })
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100_000 {
		require.NoError(t, p.Add(made(i, 1+r.IntN(200))))
		require.LessOrEqual(t, p.sessions, horizon*l.Sessions)
		require.LessOrEqual(t, p.journeys, horizon*l.Journeys)
	}
}

func BenchmarkPack(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	js := make([]journey.Journey, 10_000)
	for i := range js {
		js[i] = made(i, lengthsOf["geometric"](r, 200))
	}
	p := New(Limits{200, 100, 1 << 20}, func([]journey.Journey) error { return nil })
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := p.Add(js[i%len(js)]); err != nil {
			b.Fatal(err)
		}
	}
}
