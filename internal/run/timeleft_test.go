package run

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// course is a run over an API that answers so many requests at once, each after
// the same time: the time of every result, in order, with its conversions.
type course struct {
	ends        []time.Duration
	conversions []uint64
	total       uint64
}

func newCourse(chunks, atOnce int, latency time.Duration, conversions func(chunk int) uint64) *course {
	c := &course{}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range chunks {
		jitter := time.Duration(r.Float64() * 0.2 * float64(latency))
		c.ends = append(c.ends, latency*time.Duration(1+i/atOnce)+jitter)
		c.conversions = append(c.conversions, conversions(i))
		c.total += conversions(i)
	}
	return c
}

func (c *course) end() time.Duration { return c.ends[len(c.ends)-1] }

// at returns what the streams tell of the run after so long, before which so
// many chunks were stored by an earlier process.
func (c *course) at(t time.Duration) *State {
	w := &ihcv1.Progress{}
	for i, end := range c.ends {
		if end <= t {
			w.Chunks++
			w.Conversions += c.conversions[i]
		}
	}
	return &State{accepted: true, Request: &ihcv1.RunRequest{Model: ModelAPI},
		Planned:  &ihcv1.RunExtracted{Chunks: uint32(len(c.ends)), Counts: &ihcv1.Counts{InRange: c.total}},
		Progress: Progress{Extractor: &ihcv1.Progress{ConversionsTotal: c.total}, Attributor: &ihcv1.Progress{Requests: w.Chunks}, Writer: w}}
}

// The time left is right within a factor of 1.5 after a tenth of what one watches,
// whatever is in the chunks, wherever the run was when the watch began.
func TestTimeLeftIsRightAfterATenth(t *testing.T) {
	t.Parallel()
	begin := time.Date(2023, 9, 1, 0, 0, 0, 0, time.UTC)
	for name, conversions := range map[string]func(int) uint64{
		"alike": func(int) uint64 { return 40 },
		// The packer begins with the longest journeys.
		"packed": func(i int) uint64 { return uint64(1 + i*i/100) },
	} {
		for _, c := range []*course{
			newCourse(400, 4, 200*time.Millisecond, conversions),
			newCourse(120, 4, time.Second, conversions),
			newCourse(60, 1, 2*time.Second, conversions),
			newCourse(50_000, 16, 100*time.Millisecond, conversions),
		} {
			for _, watched := range []time.Duration{0, c.end() / 3, c.end() * 7 / 10} { // from then on
				for _, every := range []time.Duration{200 * time.Millisecond, time.Second} {
					var left TimeLeft
					looked := 0
					for at := watched; at < c.end()-2*time.Second; at += every {
						pace := left.See(begin.Add(at), c.at(at))
						if at-watched < max((c.end()-watched)/10, 8*time.Second) {
							continue
						}
						require.True(t, pace.Known, "%s: %v of %v, watched from %v", name, at, c.end(), watched)
						truth := (c.end() - at).Seconds()
						require.LessOrEqual(t, pace.Left.Seconds(), 1.5*truth+2, "%s: %v of %v, watched from %v", name, at, c.end(), watched)
						require.GreaterOrEqual(t, pace.Left.Seconds(), truth/1.5-2, "%s: %v of %v, watched from %v", name, at, c.end(), watched)
						looked++
						if looked > 50 { // and not at each of thousands
							at += (c.end() - watched) / 20
						}
					}
				}
			}
		}
	}
}

// pool is a run whose workers each send a request after the other, as the services
// tell of it: twice a second. A process that was killed has done some of it before.
func pool(chunks, workers int, latency, jitter time.Duration, seed uint64) *course {
	c := &course{}
	r := rand.New(rand.NewPCG(seed, 2))
	free := make([]time.Duration, workers)
	const told = 500 * time.Millisecond
	for i := range chunks {
		next := slices.Index(free, slices.Min(free))
		free[next] += latency + time.Duration(r.Float64()*float64(jitter))
		c.ends = append(c.ends, free[next].Truncate(told)+told)
		c.conversions = append(c.conversions, uint64(1+i))
		c.total += uint64(1 + i)
	}
	slices.Sort(c.ends)
	return c
}

// Answers come in bursts, as many as are asked at once. Whenever the watch begins,
// what is told is right, but for a few looks.
func TestTimeLeftIsRightWhereAnswersComeInBursts(t *testing.T) {
	t.Parallel()
	begin := time.Date(2023, 9, 1, 0, 0, 0, 0, time.UTC)
	for name, begun := range map[string]func(seed uint64) *course{
		"a few of seconds":     func(seed uint64) *course { return pool(59, 4, 2*time.Second, 300*time.Millisecond, seed) },
		"some that vary":       func(seed uint64) *course { return pool(120, 4, time.Second, time.Second, seed) },
		"many":                 func(seed uint64) *course { return pool(400, 4, 200*time.Millisecond, 40*time.Millisecond, seed) },
		"one after another":    func(seed uint64) *course { return pool(60, 1, 2*time.Second, time.Second/2, seed) },
		"many at once":         func(seed uint64) *course { return pool(200, 16, time.Second, 200*time.Millisecond, seed) },
		"exactly at the clock": func(seed uint64) *course { return pool(40, 4, 3*time.Second, 0, seed) },
	} {
		looks, wrong, unknown := 0, 0, 0
		for seed := range uint64(8) {
			c := begun(seed)
			for _, watched := range []time.Duration{0, c.end() / 3, c.end() / 2} {
				if c.end()-watched < 10*time.Second {
					continue
				}
				var left TimeLeft
				for at := watched; at < c.end()-2*time.Second; at += 500 * time.Millisecond {
					pace := left.See(begin.Add(at), c.at(at))
					if at-watched < (c.end()-watched)/10 {
						continue
					}
					looks++
					truth := (c.end() - at).Seconds()
					switch told := pace.Left.Seconds(); {
					case !pace.Known:
						unknown++
					case told > 1.5*truth || told < truth/1.5:
						wrong++
					}
				}
			}
		}
		require.LessOrEqual(t, wrong*50, looks, "%s: of %d looks", name, looks)
		require.LessOrEqual(t, unknown*6, looks, "%s: of %d looks", name, looks)
	}
}

func TestNoTimeIsToldWhileARunWaits(t *testing.T) {
	t.Parallel()
	begin := time.Date(2023, 9, 1, 0, 0, 0, 0, time.UTC)
	c := newCourse(400, 4, 200*time.Millisecond, func(int) uint64 { return 40 })
	var left TimeLeft
	for at := time.Duration(0); at < 5*time.Second; at += 200 * time.Millisecond {
		left.See(begin.Add(at), c.at(at))
	}
	require.True(t, left.See(begin.Add(5*time.Second), c.at(5*time.Second)).Known)
	waiting := c.at(5 * time.Second)
	waiting.Progress.Attributor.Waiting = "HTTP 503"
	require.Equal(t, []string{"HTTP 503"}, waiting.Progress.Waiting())
	require.Zero(t, left.See(begin.Add(6*time.Second), waiting))
	// An hour of waiting says nothing of how fast it goes on.
	for at := 5 * time.Second; at < 8*time.Second; at += 200 * time.Millisecond {
		left.See(begin.Add(time.Hour+at), c.at(at))
	}
	pace := left.See(begin.Add(time.Hour+8*time.Second), c.at(8*time.Second))
	require.True(t, pace.Known)
	require.InDelta(t, (c.end() - 8*time.Second).Seconds(), pace.Left.Seconds(), 3)
}
