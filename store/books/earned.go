package books

import (
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

const (
	// WholeShare is 1 in [store.ShareDecimals].
	WholeShare = 1_000_000_000_000_000
	slack      = WholeShare / 1000 // how far from 1 the shares of a conversion may sum to
	mostShare  = 4000 * WholeShare // of which two have room in 64 bits
)

// Bounded returns the sum of two numbers of shares, unless the first is so large
// already that it is none of 1.
func Bounded(sum, n int64) int64 {
	if max(sum, -sum) > mostShare {
		return sum
	}
	return sum + n
}

// Even says whether a conversion's shares sum to 1.
func Even(sum int64) bool { return max(sum-WholeShare, WholeShare-sum) <= slack }

// Earned is what some attributions of a conversion come to, in
// [store.ShareDecimals].
type Earned struct {
	Revenue unit.Money // of the conversion
	InRange bool       // the conversion
	Share   int64
	Dates   int64 // of Share, on sessions of dates in range
	Rows    int64
}

// Full says that there is no room for more: it is to be added to the totals.
func (e *Earned) Full() bool { return max(e.Share, e.Dates, -e.Share, -e.Dates) > mostShare }

// AddTo adds it to the totals of a report, and begins anew.
func (e *Earned) AddTo(t *store.Totals) {
	add := func(share, refunded, credit *unit.Sum, n int64) {
		share.Add(n)
		if e.Revenue < 0 {
			refunded.Add(n)
		}
		credit.AddProduct(n, int64(e.Revenue))
	}
	add(&t.Share, &t.Refunded, &t.Credit, e.Share)
	add(&t.Dates.Share, &t.Dates.Refunded, &t.Dates.Credit, e.Dates)
	if e.InRange {
		t.Range.Touchpoints += e.Rows
		add(&t.Range.Share, &t.Range.Refunded, &t.Range.Credit, e.Share)
		add(&t.Dates.OwnShare, &t.Dates.OwnRefunded, &t.Dates.OwnCredit, e.Dates)
	}
	e.Share, e.Dates, e.Rows = 0, 0, 0
}
