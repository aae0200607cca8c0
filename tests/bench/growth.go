package main

import (
	"encoding/json"
	"path/filepath"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/shop"
)

// The shops that measure the machine: users with few and with thousands of
// visits, at the paid plan's limits, so that no journey is too long.
var (
	oneMillion = sized(200_000)
	tenMillion = sized(2_000_000)
)

// sized returns a shop with five touchpoints for each session.
func sized(sessions int) shop.Config {
	return shop.Config{Sessions: sessions, Touchpoints: 5 * sessions, MaxJourney: 3000}
}

// whole runs a fresh copy of a shop through the embedded pipeline.
func (b *bench) whole(c shop.Config) (r result, err error) {
	path, err := b.freshShop(c)
	if err != nil {
		return r, err
	}
	return b.embedded(path)
}

// embedded runs a database through the embedded pipeline.
func (b *bench) embedded(path string) (result, error) {
	return b.ihc(nil, "run", "--verbose", "--db", path, "--out", filepath.Join(b.dir, "report"), "--max-sessions", "3000")
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
	mib := median(large.mib)
	b.add("ten million ÷ one million ÷ 10", large.each()/small.each(), "ratio", 1.15, "medians of %d, %.1f s and %.2f s, for exactly as many touchpoints",
		b.runs, large.each()*float64(tenMillion.Touchpoints), small.each()*float64(oneMillion.Touchpoints))
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

// far compares a shop eight times the pipeline's with the latter.
func (b *bench) far() error {
	near, err := b.rounds()
	if err != nil {
		return err
	}
	far, err := b.several(sized(8 * b.config.Sessions))
	if err != nil {
		return err
	}
	const micro = 1e6
	b.add("eight times ÷ one, a touchpoint", far.each()/near.ours.each(), "ratio", 1.15, "medians of %d, %.2f µs and %.2f µs; %.1f s for %d touchpoints",
		b.runs, far.each()*micro, near.ours.each()*micro, median(far.seconds), far.touchpoints)
	b.add("memory of the whole, eight times", median(far.mib), "MiB", 512, "most resident memory of ihc run; %.0f MiB for %d touchpoints", median(near.ours.mib), near.ours.touchpoints)
	return nil
}

// several is what some runs of one shop took.
type several struct {
	seconds, mib, report []float64
	touchpoints          int
}

func (s *several) add(r result) {
	s.seconds, s.mib, s.touchpoints = append(s.seconds, r.seconds), append(s.mib, r.mib), r.Touchpoints
	s.report = append(s.report, seconds(r.log)["run reported"])
}

// each returns the seconds a touchpoint took.
func (s *several) each() float64 { return median(s.seconds) / float64(s.touchpoints) }

func (b *bench) several(c shop.Config) (s several, err error) {
	for range b.runs {
		r, err := b.whole(c)
		if err != nil {
			return s, err
		}
		s.add(r)
	}
	return s, nil
}
