package report

import (
	"math"

	"github.com/shopspring/decimal"
)

// Sums are integers, so that they do not depend on the order rows are read in:
// shares in ten-thousandths (what the API gives), revenue in ten-thousandths
// of the currency, cost in millionths. A share times a revenue is then in
// hundred-millionths, and is kept in two parts that cannot overflow.
const (
	shareUnit   = 10_000
	revenueUnit = 10_000
	costUnit    = 1_000_000
	productUnit = shareUnit * revenueUnit
)

func toShare(ihc float64) int64       { return int64(math.Round(ihc * shareUnit)) }
func toRevenue(revenue float64) int64 { return int64(math.Round(revenue * revenueUnit)) }
func toCost(cost float64) int64       { return int64(math.Round(cost * costUnit)) }

// product sums shares times revenues: whole units and the rest.
type product struct{ whole, rest int64 }

func (p *product) add(share, revenue int64) {
	x := share * revenue
	p.whole += x / productUnit
	p.rest += x % productUnit
}

func (p *product) sum(q product) {
	p.whole += q.whole
	p.rest += q.rest
}

func (p product) decimal() decimal.Decimal {
	return decimal.NewFromInt(p.whole).Add(decimal.New(p.rest, -8))
}

func shareDecimal(n int64) decimal.Decimal { return decimal.New(n, -4) }
func costDecimal(n int64) decimal.Decimal  { return decimal.New(n, -6) }
