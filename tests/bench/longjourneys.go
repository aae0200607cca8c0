package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/shop"
)

// requestLimit is how many sessions a request may hold for which strategies are
// compared: the free plan's.
const requestLimit = 200

// longJourneys measures what each strategy for journeys longer than a request
// costs in truth: how far ihc is from that of the whole journey. What scores is
// the built-in model; as for the strategies that ask it for a place to begin or
// for the shares, it stands for an API whose parameters are the same, or its own:
// those trained on the shop.
func (b *bench) longJourneys() error {
	for _, s := range []struct {
		name string
		shop.Config
	}{
		{"dense", shop.Config{Seed: 11, Sessions: 200_000, MaxJourney: 2_000, Touchpoints: 2_000_000}},
		{"sparse", shop.Config{Seed: 12, Sessions: 200_000, MaxJourney: 2_000, Touchpoints: 2_000_000, Days: 1_460}},
	} {
		journeys, err := longOnes(b, s.Config)
		if err != nil {
			return err
		}
		published := ihcmodel.DefaultParams()
		trained, err := ihcmodel.Train("trained", "", ihcmodel.TrainOptions{}, slices.Values(journeys.all))
		if err != nil {
			return err
		}
		for _, truth := range []struct {
			name   string
			params *ihcmodel.Params
		}{{"its own parameters", published}, {"other parameters", trained.Params}} {
			if err := b.compare(s.name+", "+truth.name, journeys.long, truth.params, published); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare scores journeys by each strategy where the API has the true
// parameters and the pipeline knows the published ones.
func (b *bench) compare(name string, journeys [][]ihcmodel.Session, truth, known *ihcmodel.Params) error {
	api, err := ihcmodel.New(truth)
	if err != nil {
		return err
	}
	own, err := ihcmodel.New(known)
	if err != nil {
		return err
	}
	scorer, builtin := api.Scorer(nil), own.Scorer(nil)
	for _, strategy := range []string{run.LongLatest, run.LongCut, run.LongBuiltin} {
		var e misplaced
		for _, j := range journeys {
			whole := scorer.Score(j, nil)
			begin := len(j) - requestLimit
			if strategy == run.LongCut {
				begin += own.Begin(requestLimit, func(k int) int64 { return j[len(j)-requestLimit+k].TimeMicros })
			}
			by := scorer
			if strategy == run.LongBuiltin {
				begin, by = 0, builtin
			}
			e.add(whole, by.Score(j[begin:], nil), begin)
		}
		b.add(strategy+", mean error of ihc, "+name, e.sum/e.sessions, "of a conversion", 0,
			"a session, of %d conversions with more than %d; of the conversion's credit %.2f%% is misplaced", e.conversions, requestLimit, 100*e.moved/float64(e.conversions))
		b.add(strategy+", largest error of ihc, "+name, e.largest, "of a conversion", 0, "a session")
	}
	return nil
}

// misplaced adds up how far approximated shares are from true ones.
type misplaced struct {
	sum, sessions, largest, moved float64
	conversions                   int
}

// add takes the true shares of a journey and those of its sessions from begin on.
func (e *misplaced) add(whole, approximated []ihcmodel.Score, begin int) {
	e.conversions++
	for k := range whole {
		is := 0.0
		if k >= begin {
			is = float64(approximated[k-begin].IHC)
		}
		off := math.Abs(float64(whole[k].IHC)-is) / float64(ihcmodel.Whole)
		e.sum += off
		e.sessions++
		e.moved += off / 2
		e.largest = max(e.largest, off)
	}
}

// walked are the journeys of a made-up shop.
type walked struct {
	all, long [][]ihcmodel.Session
	users     map[string][]ihcmodel.Session
	ends      []walkedEnd
}

type walkedEnd struct {
	user string
	at   int64
}

// longOnes makes a shop and returns its journeys, and those longer than a request.
func longOnes(b *bench, c shop.Config) (*walked, error) {
	w := &walked{users: map[string][]ihcmodel.Session{}}
	if _, err := shop.Generate(b.ctx, c, w); err != nil {
		return nil, err
	}
	for _, end := range w.ends {
		sessions := w.users[end.user] // in order of time
		n, _ := slices.BinarySearchFunc(sessions, end.at, func(s ihcmodel.Session, at int64) int { return int(s.TimeMicros - at) })
		if n == 0 {
			continue
		}
		w.all = append(w.all, sessions[:n])
		if n > requestLimit {
			w.long = append(w.long, sessions[:n])
		}
	}
	return w, nil
}

// Session implements [shop.Rows].
func (w *walked) Session(_, user, date, clock, channel string, holder, closer, impression bool) error {
	at, err := civil.ParseTime(date + " " + clock)
	if err != nil {
		return fmt.Errorf("the shop's %s %s: %w", date, clock, err)
	}
	w.users[user] = append(w.users[user], ihcmodel.Session{TimeMicros: at, Channel: channel, Holder: holder, Closer: closer, Impression: impression})
	return nil
}

// Conversion implements [shop.Rows].
func (w *walked) Conversion(_, user, date, clock string, _ float64) error {
	at, err := civil.ParseTime(date + " " + clock)
	w.ends = append(w.ends, walkedEnd{user, at})
	return err
}

// Cost implements [shop.Rows].
func (w *walked) Cost(string, float64) error { return nil }
