package sqlite

import (
	"context"

	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/store/books"
)

// Whether the shares of each conversion sum to 1 is seen on the way, since all
// of them are read for the report: of a table without row numbers each part has
// whole conversions. Of another the parts are put together by a hash of the
// conversion, as many as memory is set aside for. Where that shows a conversion
// that is not whole, or has no room, SQLite finds them by sorting.

// mostPartial bounds the conversions that are put together.
const mostPartial = 1 << 19

// uneven is what the shares of conversions sum to in some of the rows, by a
// hash of their ids.
type uneven struct {
	sums    map[uint64]int64
	crowded bool // there are too many
}

func (u *uneven) put(mark uint64, sum int64) {
	if u.sums == nil {
		u.sums = map[uint64]int64{}
	}
	was, there := u.sums[mark]
	if !there && len(u.sums) == mostPartial {
		u.crowded = true
		return
	}
	u.sums[mark] = books.Bounded(was, sum)
}

func (u *uneven) add(other uneven) {
	u.crowded = u.crowded || other.crowded
	for mark, sum := range other.sums {
		u.put(mark, sum)
	}
}

// addWhole notes what a conversion's shares sum to in a part, in the first pass,
// which sees all of them.
func (s *summing) addWhole(p *part, a *conversionSums, in condition) {
	switch {
	case !s.x.First():
	case !in.whole:
		p.uneven.put(s.x.Mark(a.conv), a.all)
	case !books.Even(a.all):
		p.addUneven(1, "conv_id "+human.QuoteText(a.conv))
	}
}

// addUneven counts conversions whose shares do not sum to 1. The example does
// not depend on the parts.
func (p *part) addUneven(n int64, example string) {
	if n > 0 && (p.Uneven == 0 || example < p.UnevenExample) {
		p.UnevenExample = example
	}
	p.Uneven += n
}

// checkPartial finds the conversions whose shares do not sum to 1 where the parts
// have shown that there may be some.
func (s *summing) checkPartial(ctx context.Context) error {
	u := &s.whole.uneven
	sound := !u.crowded
	for _, sum := range u.sums {
		sound = sound && books.Even(sum)
	}
	u.sums = nil
	if sound {
		return nil
	}
	found, err := s.conn.QueryContext(ctx, `SELECT conv_id||'' FROM attribution_customer_journey GROUP BY +conv_id COLLATE BINARY
		HAVING abs(total(CASE WHEN typeof(ihc) IN ('integer', 'real') AND ihc BETWEEN -100 AND 100 THEN ihc ELSE 0 END) - 1) > 0.001000000001`)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var conv string
		if err := found.Scan(&conv); err != nil {
			return err
		}
		s.whole.addUneven(1, "conv_id "+human.QuoteText(conv))
	}
	return found.Err()
}
