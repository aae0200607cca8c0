package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/shop"
)

// The shops that measure the machine: users with few and with thousands of
// visits, at the paid plan's limits, so that no journey is too long.
var (
	fiveMillion = shop.Config{Sessions: 1_000_000, Touchpoints: 5_000_000, MaxJourney: 3000}
	oneMillion  = shop.Config{Sessions: 200_000, Touchpoints: 1_000_000, MaxJourney: 3000}
	tenMillion  = shop.Config{Sessions: 2_000_000, Touchpoints: 10_000_000, MaxJourney: 3000}
)

// whole runs a fresh copy of a shop through the embedded pipeline.
func (b *bench) whole(c shop.Config) (r result, logged map[string]float64, err error) {
	path, err := b.shop(c)
	if err == nil {
		path, err = b.fresh(path)
	}
	if err != nil {
		return r, nil, err
	}
	r, err = b.ihc(nil, "run", "--verbose", "--db", path, "--out", filepath.Join(b.dir, "report"), "--max-sessions", "3000")
	return r, seconds(r.log), err
}

// seconds returns the durations in a log by the line's message.
func seconds(log string) map[string]float64 {
	all := map[string]float64{}
	for line := range strings.Lines(log) {
		var entry struct {
			Msg     string
			Seconds float64
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Seconds > 0 {
			all[entry.Msg] = entry.Seconds
		}
	}
	return all
}

// itself runs this program as a process of its own.
func (b *bench) itself(args ...string) (usage, error) {
	path, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	p, err := b.start(os.Stderr, nil, path, args...)
	if err != nil {
		return usage{}, err
	}
	return p.wait()
}

// machine compares the pipeline with the floor.
func (b *bench) machine() error {
	const pairs = 3
	var ratios, ours, floors []float64
	var r result
	for range pairs {
		path, err := b.shop(fiveMillion)
		if err == nil {
			path, err = b.fresh(path)
		}
		if err != nil {
			return err
		}
		floor, err := b.itself("floor", path)
		if err != nil {
			return err
		}
		if r, _, err = b.whole(fiveMillion); err != nil {
			return err
		}
		ratios = append(ratios, r.seconds/floor.seconds)
		ours, floors = append(ours, r.seconds), append(floors, floor.seconds)
	}
	b.add("pipeline ÷ floor", median(ratios), "ratio", 1.25, "median of %d pairs; %.1f s and %.1f s for %d touchpoints", pairs, median(ours), median(floors), r.Touchpoints)
	b.add("touchpoints a second", float64(r.Touchpoints)/median(ours), "a second", 0, "the whole of the pipeline in one process")
	return nil
}

// growth compares ten million touchpoints with one million, and measures the
// report on the way.
func (b *bench) growth() error {
	small, err := b.several(oneMillion)
	if err != nil {
		return err
	}
	large, err := b.several(tenMillion)
	if err != nil {
		return err
	}
	seconds, mib := median(large.seconds), median(large.mib)
	b.add("ten million ÷ one million ÷ 10", seconds/median(small.seconds)/10, "ratio", 1.15, "medians of %d, %.1f s and %.2f s, for exactly as many touchpoints", runs, seconds, median(small.seconds))
	b.add("memory of the whole, 10 million", mib, "MiB", 512, "most resident memory of ihc run")
	b.add("memory, ten million ÷ one million", mib/median(small.mib), "ratio", 1.2, "%.0f MiB and %.0f MiB", mib, median(small.mib))
	bare, err := b.itself("aggregate", filepath.Join(b.dir, "work.db"))
	if err != nil {
		return err
	}
	report := median(large.report)
	b.add("report ÷ bare SQL aggregate", report/bare.seconds, "ratio", 1.5, "%.1f s and %.1f s for %d touchpoints", report, bare.seconds, large.touchpoints)
	return nil
}

// runs is how often a shop is run through the whole to compare it with another.
const runs = 3

// several is what some runs of one shop took.
type several struct {
	seconds     []float64 // for exactly as many touchpoints as were asked for
	mib, report []float64
	touchpoints int
}

func (b *bench) several(c shop.Config) (s several, err error) {
	for range runs {
		r, logged, err := b.whole(c)
		if err != nil {
			return s, err
		}
		s.seconds = append(s.seconds, r.seconds*float64(c.Touchpoints)/float64(r.Touchpoints))
		s.mib, s.report, s.touchpoints = append(s.mib, r.mib), append(s.report, logged["run reported"]), r.Touchpoints
	}
	return s, nil
}
