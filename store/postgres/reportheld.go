package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
)

// A shop that fits in the memory set aside for it is added up here: its sessions
// and conversions are held, and each row of attribution_customer_journey is looked
// up in them as it comes, in whatever order. That takes a third of what the server
// takes to join the tables, and the journal is read beside it. What does not fit the
// server adds up: see [summing.readTables].

// held is a shop that fits.
type held struct {
	*sessionGroups
	groups []group // by number
	in     []bool  // by number: the date is in the range

	seed maphash.Seed // of conversions, which go by their hash as sessions do
	conv map[uint64]uint32
	sold []sold
	more bool // there are attributions that only the server can tell about: see [summing.addHeld]
}

// sold is a conversion.
type sold struct {
	units      int64 // of [unit.Money]
	share      int64 // of all its attributions, in [store.ShareDecimals], [bounded]
	inRange    bool
	attributed bool
}

// found returns a conversion, nil where it is not there.
func (h *held) found(conv []byte) *sold {
	if n, there := h.conv[maphash.Bytes(h.seed, conv)]; there {
		return &h.sold[n]
	}
	return nil
}

// fits says whether there is room for the shop's sessions and conversions.
func (s *summing) fits(ctx context.Context) (fits bool, err error) {
	err = s.tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM session_sources) <= $1 AND (SELECT count(*) FROM conversions) <= $1`, s.d.sessions).Scan(&fits)
	return fits, err
}

// beside calls do with a copy of the reading that sees what this one sees, by a
// connection of its own.
func (s *summing) beside(ctx context.Context, do func(*summing) error) error {
	var snapshot string
	if err := s.tx.QueryRow(ctx, `SELECT pg_export_snapshot()`).Scan(&snapshot); err != nil {
		return err
	}
	return s.d.inTransaction(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		err := see(ctx, tx, snapshot)
		if err == nil {
			err = inBulk(ctx, tx)
		}
		if err != nil {
			return err
		}
		other := *s
		other.tx = tx
		return do(&other)
	})
}

// readHeld adds up a shop that fits.
func (s *summing) readHeld(ctx context.Context) error {
	return s.beside(ctx, func(one *summing) error {
		return s.beside(ctx, func(other *summing) error { return s.readBoth(ctx, one, other) })
	})
}

// readBoth adds up the shop by two readings beside the report's own.
func (s *summing) readBoth(ctx context.Context, one, other *summing) error {
	h := &held{sessionGroups: newSessionGroups(s.d.sessions)}
	both, entering := errgroup.WithContext(ctx)
	both.Go(func() error { return one.enterSessions(entering, h.sessionGroups) })
	both.Go(func() error { return other.enterConversions(entering, h) })
	if err := both.Wait(); err != nil {
		return err
	}
	h.groups = make([]group, len(h.keys))
	for _, k := range h.keys {
		h.in = append(h.in, s.inDates(k.date))
	}
	both, adding := errgroup.WithContext(ctx)
	both.Go(func() error { return one.readJourneys(adding, h.sessionGroups) })
	both.Go(func() error {
		return other.inSteps(adding, []step{
			{"read session_costs", func(ctx context.Context) error { return other.addCosts(ctx, h) }},
			{"read attribution_customer_journey", func(ctx context.Context) error { return other.addAttributions(ctx, h) }},
			{"add up the shares of each conversion", func(ctx context.Context) error { return other.checkHeldShares(ctx, h) }},
			{"read the outcomes of the run", func(ctx context.Context) error { return other.countOutcomes(ctx, h) }},
			{"read the outcomes of conversions", func(ctx context.Context) error { return other.countUnattributed(ctx, h) }},
			{"read session_costs", other.readKnownCosts},
			{"read pipeline_daily_costs", other.readDailyCosts},
			{"read the conversions after the range", other.readDates},
		})
	})
	if err := both.Wait(); err != nil {
		return err
	}
	for n, k := range h.keys {
		s.groups[k] = &h.groups[n]
	}
	return nil
}

// enterConversions enters all conversions, and adds up those in range.
func (s *summing) enterConversions(ctx context.Context, h *held) error {
	for range mostHashes {
		h.seed, h.conv, h.sold = maphash.MakeSeed(), map[uint64]uint32{}, nil
		alike := false
		err := s.raw(ctx, `SELECT v.conv_id, v.units, v.conv_date FROM {conversions} v`, func(row [][]byte) error {
			mark := maphash.Bytes(h.seed, row[0])
			if _, alike = h.conv[mark]; alike {
				return errAlike
			}
			h.conv[mark] = uint32(len(h.sold))
			h.sold = append(h.sold, sold{units: integer(row[1]), inRange: run.InRange(s.req, string(row[2]))})
			return nil
		})
		if !errors.Is(err, errAlike) {
			return err
		}
	}
	return errkind.As(errkind.Input, errors.New("two conversions of conversions have the same id"))
}

// addCosts adds what sessions cost, by the date of the session.
func (s *summing) addCosts(ctx context.Context, h *held) error {
	s.WithoutCost = int64(len(h.sessionGroups.of))
	return s.raw(ctx, `SELECT c.session_id, c.units FROM {costs} c`, func(row [][]byte) error {
		n, there := h.find(row[0])
		if !there {
			return nil
		}
		cost := integer(row[1])
		h.groups[n].cost.Add(cost)
		s.Cost.Add(cost)
		s.WithoutCost--
		if h.in[n] {
			s.Dates.Cost.Add(cost)
		}
		return nil
	})
}

// earning is a conversion and what attributions of it, one after the other, add up
// to.
type earning struct {
	conv  []byte
	sold  *sold // nil where there is no such conversion
	share int64
	dates int64 // of it, on sessions of dates in range
	rows  int64
}

// addAttributions adds what sessions earned, by the date of the session.
func (s *summing) addAttributions(ctx context.Context, h *held) error {
	e := &earning{}
	err := s.raw(ctx, `SELECT conv_id::text, session_id::text, ihc::double precision FROM attribution_customer_journey`, func(row [][]byte) error {
		if e.sold == nil || !bytes.Equal(e.conv, row[0]) {
			s.addEarning(e)
			*e = earning{conv: append(e.conv[:0], row[0]...), sold: h.found(row[0])}
		}
		share, odd := shareOf(row[2])
		h.more = h.more || odd || e.sold == nil
		if e.sold != nil {
			e.sold.attributed, e.sold.share = true, bounded(e.sold.share, share)
		}
		n, there := h.find(row[1])
		if !there || e.sold == nil {
			s.Orphans++
			return nil
		}
		g := &h.groups[n]
		g.share.Add(share)
		if e.sold.units < 0 {
			g.refunded.Add(share)
		}
		g.credit.AddProduct(share, e.sold.units)
		e.share, e.rows = e.share+share, e.rows+1
		if h.in[n] {
			e.dates += share
		}
		if max(e.share, -e.share) > mostShare { // before there is no room
			s.addEarning(e)
			e.share, e.dates, e.rows = 0, 0, 0
		}
		return nil
	})
	s.addEarning(e)
	return err
}

// addEarning adds what attributions of a conversion came to.
func (s *summing) addEarning(e *earning) {
	if e.rows == 0 {
		return
	}
	add := func(share, refunded, credit *unit.Sum, n int64) {
		share.Add(n)
		if e.sold.units < 0 {
			refunded.Add(n)
		}
		credit.AddProduct(n, e.sold.units)
	}
	add(&s.Share, &s.Refunded, &s.Credit, e.share)
	add(&s.Dates.Share, &s.Dates.Refunded, &s.Dates.Credit, e.dates)
	if e.sold.inRange {
		s.Range.Touchpoints += e.rows
		add(&s.Range.Share, &s.Range.Refunded, &s.Range.Credit, e.share)
		add(&s.Dates.OwnShare, &s.Dates.OwnRefunded, &s.Dates.OwnCredit, e.dates)
	}
}

const (
	wholeShare = 1_000_000_000_000_000 // 1 in [store.ShareDecimals]
	slack      = wholeShare / 1000     // how far from 1 the shares of a conversion may sum to
	mostShare  = 4000 * wholeShare     // of which two have room in 64 bits
)

// bounded adds to a sum, unless it is so large already that it is none of 1.
func bounded(sum, n int64) int64 {
	if max(sum, -sum) > mostShare {
		return sum
	}
	return sum + n
}

// shareOf returns a share as [attributions] has it, and whether it is odd.
func shareOf(column []byte) (share int64, odd bool) {
	if len(column) != 8 {
		return 0, true // NULL
	}
	switch ihc := math.Float64frombits(binary.BigEndian.Uint64(column)); {
	case ihc >= 0 && ihc <= 1:
		return int64(math.Floor(float64(ihc*wholeShare) + 0.5)), false
	case ihc >= -100 && ihc <= 100:
		return int64(math.RoundToEven(ihc * wholeShare)), true
	default:
		return 0, true
	}
}

// checkHeldShares is checkShares where all conversions are held, and adds up those
// that are in range. Examples only the server can tell, and what is of conversions
// that are not there.
func (s *summing) checkHeldShares(ctx context.Context, h *held) error {
	r := &s.Range
	for i := range h.sold {
		v := &h.sold[i]
		h.more = h.more || v.attributed && max(v.share-wholeShare, wholeShare-v.share) > slack
		if !v.inRange {
			continue
		}
		r.Conversions++
		r.All.Add(v.units)
		if v.units < 0 {
			r.Refunds++
			r.RefundRevenue.Add(v.units)
		}
		if !v.attributed {
			continue
		}
		r.Attributed++
		r.Revenue.Add(v.units)
		r.Gross = r.Gross.Plus(unit.SumOf(v.units).Abs())
		if v.units < 0 {
			r.RefundsAttributed++
		}
	}
	if !h.more {
		return nil
	}
	return s.checkShares(ctx)
}
