package main

import (
	"os"
	"path/filepath"
)

// rounds are runs of one shop in which the pipeline and what it is compared
// with take turns, so that all of them meet the same hours of the machine.
type rounds struct {
	ours   several
	floors []float64 // seconds; none where nobody wants them
	peers  []usage   // likewise
	tuned  []usage   // likewise, with the peer's statements as fast as they can be
	before int64     // bytes of the shop's database
	db     string    // the database as the pipeline left it
}

// rounds plays the rounds at first use.
func (b *bench) rounds() (*rounds, error) {
	if b.played != nil {
		return b.played, nil
	}
	path, err := b.shop(b.config)
	if err != nil {
		return nil, err
	}
	rs := &rounds{db: filepath.Join(b.dir, "ran.db")}
	if rs.before, err = fileSize(path); err != nil {
		return nil, err
	}
	if b.wants("peer") {
		if _, err := b.itself("csv", path); err != nil {
			return nil, err
		}
	}
	for range b.runs {
		if err := b.round(rs); err != nil {
			return nil, err
		}
	}
	work := filepath.Join(b.dir, "work.db")
	if err := checkpoint(b.ctx, work); err != nil {
		return nil, err
	}
	b.played = rs
	return rs, os.Rename(work, rs.db)
}

func (b *bench) round(rs *rounds) error {
	if b.wants("pipeline") {
		path, err := b.freshShop(b.config)
		if err != nil {
			return err
		}
		floor, err := b.itself("floor", path)
		if err != nil {
			return err
		}
		rs.floors = append(rs.floors, floor.seconds)
	}
	if b.wants("peer") {
		tuned, err := b.fillPeer("counted")
		if err != nil {
			return err
		}
		peer, err := b.fillPeer("window")
		if err != nil {
			return err
		}
		rs.peers, rs.tuned = append(rs.peers, peer), append(rs.tuned, tuned)
	}
	r, err := b.whole(b.config)
	if err == nil {
		rs.ours.add(r)
	}
	return err
}

// ratio returns the median over the rounds of our time to another's.
func (rs *rounds) ratio(others []float64) float64 {
	var ratios []float64
	for i, other := range others {
		ratios = append(ratios, rs.ours.seconds[i]/other)
	}
	return median(ratios)
}

// pipeline compares the pipeline with the floor.
func (b *bench) pipeline() error {
	rs, err := b.rounds()
	if err != nil {
		return err
	}
	took := median(rs.ours.seconds)
	b.add("pipeline ÷ floor", rs.ratio(rs.floors), "ratio", 0.7, "median of %d pairs; %.1f s and %.1f s for %d touchpoints", b.runs, took, median(rs.floors), rs.ours.touchpoints)
	b.add("touchpoints a second", float64(rs.ours.touchpoints)/took, "a second", 0, "the whole of the pipeline in one process")
	return nil
}
