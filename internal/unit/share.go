package unit

import (
	"strconv"

	"github.com/shopspring/decimal"
)

// Share is a share of a conversion in ten-thousandths: 10000 is the whole of
// it, 4161 is 0.4161. The API's answers have four decimals.
type Share int64

// Whole is the share 1.
const Whole Share = 10_000

// ShareOf returns the share nearest to f, with halves away from zero. It is
// not ok where f is no number or has no place in a Share; whether f is from 0
// to 1 is the caller's to judge.
func ShareOf(f float64) (s Share, ok bool) {
	n, ok := nearest(f, float64(Whole))
	return Share(n), ok
}

// Float returns the share as a number, 1 for [Whole]: the double nearest to
// its four decimals, the same that parsing the decimals gives.
func (s Share) Float() float64 { return float(int64(s), ShareDecimals) }

// Decimal returns the share as a number, 1 for [Whole], exactly.
func (s Share) Decimal() decimal.Decimal { return decimal.New(int64(s), -ShareDecimals) }

// String returns the share in decimals as the API writes it: at least one
// decimal, at most four, no idle zeros ("1.0", "0.5", "0.4161").
func (s Share) String() string { return string(s.Append(nil)) }

// Append appends what [Share.String] returns to dst.
func (s Share) Append(dst []byte) []byte {
	v := uint64(s)
	if s < 0 {
		dst, v = append(dst, '-'), -v
	}
	dst = strconv.AppendUint(dst, v/uint64(Whole), 10)
	dst = append(dst, '.')
	decimals := v % uint64(Whole)
	for digit := uint64(Whole) / 10; ; digit /= 10 {
		dst = append(dst, byte('0'+decimals/digit))
		decimals %= digit
		if decimals == 0 {
			return dst
		}
	}
}

// MarshalJSON writes the share as a JSON number with the digits of [Share.String].
func (s Share) MarshalJSON() ([]byte, error) { return s.Append(nil), nil }
