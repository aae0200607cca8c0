package human

import (
	"strings"

	"github.com/shopspring/decimal"
)

// Decimal writes an exact number with commas and so many places, halves away
// from zero: 104,301.61.
func Decimal(d decimal.Decimal, places int32) string {
	text := d.StringFixed(places)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	whole, rest, _ := strings.Cut(text, ".")
	if strings.Trim(whole+rest, "0") == "" {
		sign = "" // -0.001 to two places is no -0.00
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return sign + whole
}
