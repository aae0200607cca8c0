package unit

import (
	"cmp"
	"math/big"
	"math/bits"

	"github.com/shopspring/decimal"
)

// Sum is an exact sum of amounts and of products of two amounts, in 128 bits:
// room for 2^64 of the largest amounts, and for 10^19 products of a share and
// an amount of revenue. It does not know its unit: [Sum.Decimal] and
// [Sum.Float] are told the decimals. The zero value is 0; values are copied
// and compared with == like numbers.
type Sum struct {
	hi int64 // two's complement, together with lo
	lo uint64
}

// SumOf returns the sum that is n.
func SumOf(n int64) Sum { return Sum{hi: n >> 63, lo: uint64(n)} }

// Add adds n.
func (s *Sum) Add(n int64) { *s = s.Plus(SumOf(n)) }

// AddProduct adds a × b.
func (s *Sum) AddProduct(a, b int64) {
	// The product of the bits read as unsigned numbers is too large by 2^64 b
	// where a is negative, and the other way round.
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	signed := int64(hi) - (a>>63)&b - (b>>63)&a
	*s = s.Plus(Sum{hi: signed, lo: lo})
}

// Plus returns s + t.
func (s Sum) Plus(t Sum) Sum {
	lo, carry := bits.Add64(s.lo, t.lo, 0)
	hi, _ := bits.Add64(uint64(s.hi), uint64(t.hi), carry)
	return Sum{hi: int64(hi), lo: lo}
}

// Sub returns s - t.
func (s Sum) Sub(t Sum) Sum {
	lo, borrow := bits.Sub64(s.lo, t.lo, 0)
	hi, _ := bits.Sub64(uint64(s.hi), uint64(t.hi), borrow)
	return Sum{hi: int64(hi), lo: lo}
}

// Sign returns -1, 0 or 1, as s is below, at or above 0.
func (s Sum) Sign() int { return s.Cmp(Sum{}) }

// Abs returns s without its sign.
func (s Sum) Abs() Sum {
	if s.hi < 0 {
		return Sum{}.Sub(s)
	}
	return s
}

// Cmp returns -1, 0 or 1, as s is below, at or above t.
func (s Sum) Cmp(t Sum) int { return cmp.Or(cmp.Compare(s.hi, t.hi), cmp.Compare(s.lo, t.lo)) }

// Decimal returns s ÷ 10^decimals, exactly.
func (s Sum) Decimal(decimals int32) decimal.Decimal {
	return decimal.NewFromBigInt(s.integer(), -decimals)
}

// Float returns the double nearest to s ÷ 10^decimals, which is not negative.
func (s Sum) Float(decimals int32) float64 { return quotient(s.integer(), int(decimals)) }

func (s Sum) integer() *big.Int {
	n := new(big.Int).Lsh(big.NewInt(s.hi), 64)
	return n.Add(n, new(big.Int).SetUint64(s.lo))
}
