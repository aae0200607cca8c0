// Package unit holds the units of account: shares, money and cost as integers
// that hold their decimals exactly, so that sums and comparisons are exact and
// do not depend on the order of the rows; and the bits of a session's
// engagement.
//
// A number enters by an …Of function (from a double of the database or of the
// API) and leaves by Float or Decimal.
package unit

import (
	"math"
	"math/big"

	"github.com/shopspring/decimal"
)

// The number of decimals each unit holds. A [Sum] of shares times money has
// [ShareDecimals] + [MoneyDecimals].
const (
	ShareDecimals = 4
	MoneyDecimals = 4
	CostDecimals  = 6
)

// Money is an amount in ten-thousandths of the currency: the unit of revenue.
type Money int64

// MoneyOf returns the amount nearest to f, with halves away from zero. It is
// not ok where f is no number or has no place in a Money.
func MoneyOf(f float64) (m Money, ok bool) {
	n, ok := nearest(f, 1e4)
	return Money(n), ok
}

// Float returns the amount in the currency: the double nearest to it.
func (m Money) Float() float64 { return float(int64(m), MoneyDecimals) }

// Decimal returns the amount in the currency, exactly.
func (m Money) Decimal() decimal.Decimal { return decimal.New(int64(m), -MoneyDecimals) }

// Cost is an amount in millionths of the currency: the unit of what sessions
// cost, of which single ones may be worth fractions of a cent.
type Cost int64

// CostOf returns the amount nearest to f, with halves away from zero. It is
// not ok where f is no number or has no place in a Cost.
func CostOf(f float64) (c Cost, ok bool) {
	n, ok := nearest(f, 1e6)
	return Cost(n), ok
}

// Float returns the amount in the currency: the double nearest to it.
func (c Cost) Float() float64 { return float(int64(c), CostDecimals) }

// Decimal returns the amount in the currency, exactly.
func (c Cost) Decimal() decimal.Decimal { return decimal.New(int64(c), -CostDecimals) }

// nearest returns the integer nearest to f × unit, if an int64 can hold it.
func nearest(f, unit float64) (int64, bool) {
	const limit = 1 << 63
	scaled := math.Round(f * unit)
	if !(scaled >= -limit && scaled < limit) { // NaN is neither
		return 0, false
	}
	return int64(scaled), true
}

// float returns the double nearest to n ÷ 10^decimals.
func float(n int64, decimals int) float64 {
	const exact = 1 << 53 // integers up to here are doubles, and one division of two doubles rounds once
	if -exact <= n && n <= exact {
		return float64(n) / math.Pow10(decimals)
	}
	return quotient(big.NewInt(n), decimals)
}

// quotient returns the double nearest to n ÷ 10^decimals.
func quotient(n *big.Int, decimals int) float64 {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil)
	f, _ := new(big.Rat).SetFrac(n, scale).Float64()
	return f
}
