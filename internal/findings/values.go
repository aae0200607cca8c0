package findings

import (
	"math"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ihc-pipeline/ihc/internal/civil"
)

// Check looks at one value as it is stored (nil, int64, float64, string or
// []byte) and reports every Rule it breaks.
type Check func(value any, report func(Rule))

const (
	longBytes    = 1 << 10  // LongText
	tooLongBytes = 64 << 10 // TooLong

	// MaxAmount is the least amount of money, in either direction, that is
	// refused: times 10,000 for its own decimals and 10,000 for those of ihc it
	// is the most that fits a 64-bit integer.
	MaxAmount = 9e10
)

// textOf returns the value's text, or reports why it has none, and what to store.
func textOf(value any, want string, report func(Rule)) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case nil:
		report(IsNull)
	default:
		report(WrongType.With(want))
	}
	return "", false
}

// aText is what to store in place of a value that is no text.
const aText = "text, or import it (ihc import --from THIS --db ANOTHER)"

// CheckText reports what is odd about free text.
func CheckText(s string, report func(Rule)) {
	if len(s) <= longBytes && printable(s) {
		return
	}
	switch {
	case len(s) > tooLongBytes:
		report(TooLong)
	case len(s) > longBytes:
		report(LongText)
	}
	switch {
	case !utf8.ValidString(s):
		report(NotUTF8)
	case strings.ContainsFunc(s, unicode.IsControl):
		report(ControlChar)
	}
}

// printable tells whether s is printable ASCII throughout, as nearly all is.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Blank says whether a text is empty or only white space.
func Blank(s string) bool { return strings.TrimSpace(s) == "" }

// CheckID is the [Check] of an id: text that is not blank, and not too long to be
// sent.
func CheckID(value any, report func(Rule)) {
	want := aText
	if blob, is := value.([]byte); is && !utf8.Valid(blob) {
		want = "text, as by a view that has hex() of it"
	}
	s, ok := textOf(value, want, report)
	if !ok {
		return
	}
	if Blank(s) {
		report(BlankID)
	}
	CheckText(s, report)
}

// CheckChannel leaves Blank and similar names to the Check of all channels.
func CheckChannel(value any, report func(Rule)) {
	if s, ok := textOf(value, aText, report); ok {
		CheckText(s, report)
	}
}

// CheckDate is the [Check] of a date, YYYY-MM-DD.
func CheckDate(value any, report func(Rule)) {
	if s, ok := textOf(value, aText, report); ok && !civil.IsDate(s) {
		report(UnreadableDate)
	}
}

// CheckTime is the [Check] of a time of day, HH:MM:SS with up to six digits of a
// fraction, without a zone.
func CheckTime(value any, report func(Rule)) {
	s, ok := textOf(value, aText, report)
	switch {
	case !ok, civil.IsTime(s):
	case zoned.MatchString(s):
		report(ZonedTime)
	default:
		report(UnreadableTime)
	}
}

var zoned = regexp.MustCompile(`^\d\d:\d\d:\d\d(\.\d+)? ?([Zz]|UTC|GMT|[+-]\d\d(:?\d\d)?)$`)

// CheckFlag is the [Check] of a flag: the integers 0 and 1.
func CheckFlag(value any, report func(Rule)) {
	switch value := value.(type) {
	case int64:
		if value != 0 && value != 1 {
			report(BadFlag)
		}
	case nil:
		report(IsNull)
	default:
		report(WrongType.With("an integer, 0 or 1"))
	}
}

// CheckRevenue is the [Check] of a revenue: a finite number below [MaxAmount],
// with up to four decimals.
func CheckRevenue(value any, report func(Rule)) {
	if value == nil {
		report(IsNull)
		return
	}
	checkAmount(value, 4, NegativeRevenue, RevenueDecimals, report)
}

// CheckCost is the [Check] of a cost: like a revenue, with up to six decimals,
// or NULL for none.
func CheckCost(value any, report func(Rule)) {
	if value == nil {
		report(NullCost)
		return
	}
	checkAmount(value, 6, NegativeCost, CostDecimals, report)
}

func checkAmount(value any, decimals int, negative, finer Rule, report func(Rule)) {
	var amount float64
	switch value := value.(type) {
	case float64:
		amount = value
	case int64:
		amount = float64(value)
	default:
		report(WrongType.With("a number"))
		return
	}
	switch {
	case math.IsInf(amount, 0) || math.IsNaN(amount):
		report(NotFinite)
		return
	case math.Abs(amount) >= MaxAmount:
		report(TooLarge)
		return
	case amount < 0:
		report(negative)
	}
	// What floating point adds of itself, as in 0.1 + 0.2, does not count.
	scaled := amount * math.Pow10(decimals)
	if math.Abs(scaled-math.Round(scaled)) > 1e-6+math.Abs(scaled)*4e-16 {
		report(finer)
	}
}
