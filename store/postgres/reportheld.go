package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/memory"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store/books"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
)

// A shop that fits in the memory set aside for it is added up here: its sessions
// and conversions are held, and each row of attribution_customer_journey is looked
// up in them as it comes, in whatever order. That takes a third of what the server
// takes to join the tables, and the journal is read beside it. What does not fit the
// server adds up: see [summing.readTables].

// held is a shop that fits.
type held struct {
	count    int // sessions
	sessions *sessionindex.Index
	groups   []group // by number
	in       []bool  // by number: the date is in the range

	hash        sessionindex.Hash // of conversions, which go by it as sessions do
	conversions *sessionindex.Table
	sold        []sold // by their number there
	more        bool   // there are attributions that only the server can tell about: see [summing.checkHeldShares]
}

// close gives back the memory of what is looked up.
func (h *held) close() {
	h.sessions.Close()
	h.conversions.Close()
}

// sold is a conversion.
type sold struct {
	units      int64 // of [unit.Money]
	share      int64 // of all its attributions, in [store.ShareDecimals], [books.Bounded]
	inRange    bool
	attributed bool
}

// found returns a conversion, nil where it is not there.
func (h *held) found(conv []byte) *sold {
	if n, there := h.conversions.Find(h.hash.Mark(inPlace(conv))); there {
		return &h.sold[n]
	}
	return nil
}

// count returns how many sessions and conversions the shop has.
func (s *summing) count(ctx context.Context) (sessions, conversions int, err error) {
	err = s.tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM session_sources), (SELECT count(*) FROM conversions)`).Scan(&sessions, &conversions)
	return sessions, conversions, err
}

// beside calls do with a copy of the reading that sees what this one sees, by a
// connection of its own.
func (s *summing) beside(ctx context.Context, do func(*summing) error) error {
	return s.d.beside(ctx, s.tx, func(tx pgx.Tx) error {
		if err := inBulk(ctx, tx); err != nil {
			return err
		}
		other := *s
		other.tx = tx
		return do(&other)
	})
}

// readHeld adds up a shop that fits, of so many sessions and conversions.
func (s *summing) readHeld(ctx context.Context, sessions, conversions int) error {
	s.journey = 0.3 / float64(max(conversions, 1))
	h := &held{count: sessions, sessions: sessionindex.New(sessions, sessionindex.NewHash()), conversions: sessionindex.NewTable(conversions), sold: make([]sold, 0, conversions)}
	defer h.close()
	defer memory.Allow(int64(conversions) * int64(unsafe.Sizeof(sold{})))()
	return s.beside(ctx, func(one *summing) error {
		return s.beside(ctx, func(other *summing) error { return s.readBoth(ctx, h, one, other) })
	})
}

// readBoth adds up the shop by two readings beside the report's own.
func (s *summing) readBoth(ctx context.Context, h *held, one, other *summing) error {
	both, entering := errgroup.WithContext(ctx)
	both.Go(func() error {
		return one.inSteps(entering, []step{{"read session_sources", 0.2, func(ctx context.Context) error { return one.enterSessions(ctx, h.sessions) }}})
	})
	both.Go(func() error {
		return other.inSteps(entering, []step{{"read conversions", 0.03, func(ctx context.Context) error { return other.enterConversions(ctx, h) }}})
	})
	if err := both.Wait(); err != nil {
		return err
	}
	keys := h.sessions.Keys()
	h.groups = make([]group, len(keys))
	for _, k := range keys {
		h.in = append(h.in, s.inDates(k.Date))
	}
	both, adding := errgroup.WithContext(ctx)
	both.Go(func() error { return one.readJourneys(adding, h.sessions) })
	both.Go(func() error {
		return other.inSteps(adding, []step{
			{"read session_costs", 0.1, func(ctx context.Context) error { return other.addCosts(ctx, h) }},
			{"read attribution_customer_journey", 0.2, func(ctx context.Context) error { return other.addAttributions(ctx, h) }},
			{"add up the shares of each conversion", 0.02, func(ctx context.Context) error { return other.checkHeldShares(ctx, h) }},
			{"read the outcomes of the run", 0.02, func(ctx context.Context) error { return other.countOutcomes(ctx, h) }},
			{"read the outcomes of conversions", 0.05, func(ctx context.Context) error { return other.countUnattributed(ctx, h) }},
			{"read session_costs", 0.02, other.readKnownCosts},
			{"read pipeline_daily_costs", 0, other.readDailyCosts},
			{"read the conversions after the range", 0, other.readDates},
		})
	})
	if err := both.Wait(); err != nil {
		return err
	}
	for n, k := range keys {
		s.groups[k] = &h.groups[n]
	}
	return nil
}

// enterConversions enters all conversions.
func (s *summing) enterConversions(ctx context.Context, h *held) error {
	return toldApart("two conversions of conversions", func(hash sessionindex.Hash) error {
		h.conversions.Clear()
		h.hash, h.sold = hash, h.sold[:0]
		return s.raw(ctx, `SELECT v.conv_id, v.units, v.conv_date FROM {conversions} v`, func(row [][]byte) error {
			h.sold = append(h.sold, sold{units: integer(row[1]), inRange: run.InRange(s.req, inPlace(row[2]))})
			return h.conversions.Enter(hash.Mark(inPlace(row[0])), uint32(len(h.sold)-1))
		})
	})
}

// addCosts adds what sessions cost, by the date of the session.
func (s *summing) addCosts(ctx context.Context, h *held) error {
	s.WithoutCost = int64(h.count)
	return s.raw(ctx, `SELECT c.session_id, c.units FROM {costs} c`, func(row [][]byte) error {
		n, there := h.sessions.Group(h.sessions.Mark(inPlace(row[0])))
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

// touchpoints are some of the attributions, one after the other.
type touchpoints struct {
	sold   []*sold  // of each, nil where there is no such conversion
	marks  []uint64 // of their sessions
	shares []int64
	groups []uint32 // memory
}

// touchpointsAtATime is how many have their sessions looked up at once.
const touchpointsAtATime = 512

// earning is a conversion and what attributions of it, one after the other, come to.
type earning struct {
	sold *sold
	books.Earned
}

// addAttributions adds what sessions earned, by the date of the session.
func (s *summing) addAttributions(ctx context.Context, h *held) error {
	var conv []byte
	var of *sold // conv, nil where it is not there
	some, e := &touchpoints{}, &earning{}
	err := s.raw(ctx, `SELECT conv_id::text, session_id::text, ihc::double precision FROM attribution_customer_journey`, func(row [][]byte) error {
		if of == nil || !bytes.Equal(conv, row[0]) {
			conv, of = append(conv[:0], row[0]...), h.found(row[0])
		}
		share, odd := shareOf(row[2])
		h.more = h.more || odd || of == nil
		if of != nil {
			of.attributed, of.share = true, books.Bounded(of.share, share)
		}
		some.sold, some.marks, some.shares = append(some.sold, of), append(some.marks, h.sessions.Mark(inPlace(row[1]))), append(some.shares, share)
		if len(some.sold) == touchpointsAtATime {
			s.addSome(h, some, e)
		}
		return nil
	})
	s.addSome(h, some, e)
	e.AddTo(s.Totals)
	return err
}

// addSome adds attributions to the groups of their sessions, and to what those
// before came to of their conversion.
func (s *summing) addSome(h *held, some *touchpoints, e *earning) {
	some.groups = h.sessions.Groups(some.marks, some.groups[:0])
	for i, n := range some.groups {
		of, share := some.sold[i], some.shares[i]
		if of == nil || n == sessionindex.NoGroup {
			s.Orphans++
			continue
		}
		if of != e.sold || e.Full() {
			e.AddTo(s.Totals)
			*e = earning{of, books.Earned{Revenue: unit.Money(of.units), InRange: of.inRange}}
		}
		g := &h.groups[n]
		g.share.Add(share)
		if of.units < 0 {
			g.refunded.Add(share)
		}
		g.credit.AddProduct(share, of.units)
		e.Share, e.Rows = e.Share+share, e.Rows+1
		if h.in[n] {
			e.Dates += share
		}
	}
	some.sold, some.marks, some.shares = some.sold[:0], some.marks[:0], some.shares[:0]
}

// shareOf returns a share as [attributions] has it, and whether it is odd.
func shareOf(column []byte) (share int64, odd bool) {
	if len(column) != 8 {
		return 0, true // NULL
	}
	switch ihc := math.Float64frombits(binary.BigEndian.Uint64(column)); {
	case ihc >= 0 && ihc <= 1:
		return int64(math.Floor(float64(ihc*books.WholeShare) + 0.5)), false
	case ihc >= -100 && ihc <= 100:
		return int64(math.RoundToEven(ihc * books.WholeShare)), true
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
		h.more = h.more || v.attributed && !books.Even(v.share)
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
