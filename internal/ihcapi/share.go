package ihcapi

import (
	"bytes"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// parseShare reads a JSON number from 0 to 1 into ten-thousandths by its
// decimal digits, without a detour through binary. Digits beyond the fourth
// decimal are rounded, a half upwards.
func parseShare(number []byte) (ihcmodel.Share, bool) {
	negative := len(number) > 0 && number[0] == '-'
	if negative {
		number = number[1:]
	}
	if len(number) == 0 || number[0] < '0' || number[0] > '9' {
		return 0, false // not a number; encoding/json has seen to the rest of the grammar
	}
	mantissa, exponent := number, 0
	if e := bytes.IndexAny(number, "eE"); e >= 0 {
		mantissa = number[:e]
		if exponent = smallInt(number[e+1:]); exponent == outOfRange {
			return 0, false
		}
	}
	// value and next are the digits down to 10^-4 and the one after them.
	value, next := int64(0), byte('0')
	point := bytes.IndexByte(mantissa, '.')
	if point < 0 {
		point = len(mantissa)
	}
	place := point - 1 + exponent // the power of ten the coming digit stands for
	for _, d := range mantissa {
		if d == '.' {
			continue
		}
		switch {
		case place >= -4:
			if value = value*10 + int64(d-'0'); value > 100*int64(ihcmodel.Whole) {
				return 0, false
			}
		case place == -5:
			next = d
		}
		place--
	}
	for ; place >= -4 && value > 0; place-- {
		if value *= 10; value > int64(ihcmodel.Whole) {
			return 0, false
		}
	}
	if next >= '5' {
		value++
	}
	if value > int64(ihcmodel.Whole) || negative && value > 0 {
		return 0, false
	}
	return ihcmodel.Share(value), true
}

const outOfRange = 1 << 20

// smallInt reads an exponent; outOfRange where it is beyond any sense.
func smallInt(digits []byte) int {
	sign, n := 1, 0
	for _, d := range digits {
		switch d {
		case '+':
		case '-':
			sign = -1
		default:
			if n = n*10 + int(d-'0'); n > 10_000 {
				return outOfRange
			}
		}
	}
	return sign * n
}
