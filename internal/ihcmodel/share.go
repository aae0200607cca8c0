package ihcmodel

import "strconv"

// Share is a share of a conversion in ten-thousandths: 10000 is the whole of
// it, 4161 is 0.4161. The API's answers have four decimals, and an integer
// holds four decimals exactly, so that sums and comparisons are exact too.
type Share int32

// Whole is the share 1.
const Whole Share = 10_000

// Float returns the share as a number between 0 and 1: the binary
// number nearest to its four decimals, the same that parsing the decimals gives.
func (s Share) Float() float64 { return float64(s) / float64(Whole) }

// String returns the share in decimals as the API writes it: at least one
// decimal, at most four, no idle zeros ("1.0", "0.5", "0.4161").
func (s Share) String() string { return string(s.Append(nil)) }

// Append appends what [Share.String] returns to dst.
func (s Share) Append(dst []byte) []byte {
	v := int64(s)
	if v < 0 {
		dst, v = append(dst, '-'), -v
	}
	dst = strconv.AppendInt(dst, v/int64(Whole), 10)
	dst = append(dst, '.')
	decimals := v % int64(Whole)
	for unit := int64(Whole) / 10; ; unit /= 10 {
		dst = append(dst, byte('0'+decimals/unit))
		decimals %= unit
		if decimals == 0 {
			return dst
		}
	}
}

// MarshalJSON writes the share as a JSON number with the digits of [Share.String].
func (s Share) MarshalJSON() ([]byte, error) { return s.Append(nil), nil }
