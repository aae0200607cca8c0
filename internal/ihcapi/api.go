// Package ihcapi is the wire contract of the IHC Attribution API: the one
// place that knows how a request and a reply are written, what a plan allows,
// and what an answer means for whoever asked. [Client] asks; the sandbox
// answers in the same terms.
//
// What the vendor's public material does not say is not assumed here; where
// something had to be chosen, the comment says so.
package ihcapi

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

const (
	// DefaultBaseURL is where the vendor serves the API.
	DefaultBaseURL = "https://api.ihc-attribution.com/v1"
	// ComputePath follows the base URL: POST, with ConvTypeParam in the query.
	ComputePath = "/compute_ihc"
	// ConvTypeParam is the query parameter that names the trained conversion type.
	ConvTypeParam = "conv_type_id"
	// KeyHeader carries the API key.
	KeyHeader = "x-api-key"
)

// The values of statusCode, in the body, that the vendor documents. This is
// the status that counts; the HTTP status may differ.
const (
	StatusOK          = 200
	StatusPartial     = 206 // succeeded, but for what partialFailureErrors lists
	StatusInvalid     = 400 // invalid input
	StatusForbidden   = 403 // no valid key
	StatusUnparseable = 406 // a journey could not be parsed; found inside partialFailureErrors
	StatusBroken      = 500 // the service failed; value is null
)

// ReasonAfterConversion is the API's wording for a session left out because it
// is later than the one flagged as the conversion.
const ReasonAfterConversion = "Session/Impression excluded from customer journey since it occurs after the conversion event"

// Limits are the most journeys and sessions one request may hold.
type Limits struct {
	Journeys, Sessions int
}

// The limits of the vendor's plans.
var (
	FreeLimits = Limits{Journeys: 100, Sessions: 200}
	PaidLimits = Limits{Journeys: 100, Sessions: 3000}
)

// PlanLimits returns the limits of the plan "free" or "paid".
func PlanLimits(plan string) (Limits, error) {
	switch plan {
	case "free":
		return FreeLimits, nil
	case "paid":
		return PaidLimits, nil
	}
	return Limits{}, fmt.Errorf("unknown plan %q; there are free and paid", plan)
}

// Session is one row of customer_journeys: one session of one conversion's journey.
type Session struct {
	ConversionID string
	SessionID    string
	TimeMicros   int64 // UTC, microseconds since 1970; the wire has whole seconds
	Channel      string
	Holder       bool
	Closer       bool
	Conversion   bool // on the last session of the journey, and on no other
	Impression   bool
}

// Request is the body of a call, as far as it could be understood.
type Request struct {
	// Sessions are those of the journeys that could be parsed, in the order sent.
	Sessions []Session
	// Failures has one entry for each row that could not be, with StatusUnparseable.
	// The other rows of its conversion are left out of Sessions too.
	Failures []PartialFailure
	// Redistribution is nil where none was sent, and where it was {}.
	Redistribution *ihcmodel.Redistribution
	// Journeys and Rows count everything sent, understood or not.
	Journeys, Rows int
}

// Response is the body of a reply.
type Response struct {
	StatusCode int
	Failures   []PartialFailure // partialFailureErrors
	Values     []Value          // in the order received, which is not documented
	HasValue   bool             // whether value was a list at all, rather than null or absent
	Message    string           // what an error body says of itself, if anything
}

// PartialFailure is one entry of partialFailureErrors.
type PartialFailure struct {
	ConversionID, SessionID string // its trigger
	Reason                  string
	StatusCode              int
}

// Value is one row of a reply: a session's shares of its conversion.
type Value struct {
	ConversionID, SessionID string
	// Score holds the row's numbers in ten-thousandths. More than the four
	// decimals the API gives are rounded, a half upwards. Shares of a phase
	// that the row leaves out are 0.
	ihcmodel.Score
	// Problem says what makes the row unusable ("ihc is -0.5, …"); empty for
	// a good one. The ids are given as far as they could be read, so that one
	// bad row costs one conversion and not the reply. Score is 0 then.
	Problem string
}

// WireID returns an id as it comes back in a reply. JSON is UTF-8, so a byte
// that is not becomes U+FFFD on the way; compare reply ids with this.
func WireID(id string) string {
	if utf8.ValidString(id) {
		return id
	}
	var b strings.Builder
	for _, r := range id { // a bad byte ranges as U+FFFD, one for each
		b.WriteRune(r)
	}
	return b.String()
}

const (
	// TimestampLayout is how AppendTimestamp writes, in Go's notation: UTC, without a zone.
	TimestampLayout = time.DateTime
	// zonedLayout is the other form the API takes.
	zonedLayout = time.DateTime + " -0700"
)

// AppendTimestamp appends the time, in UTC and to the second (fractions are
// dropped, towards the past), as the API wants it. Years go from 0 to 9999.
func AppendTimestamp(dst []byte, micros int64) []byte {
	return time.UnixMicro(micros).UTC().AppendFormat(dst, TimestampLayout)
}

// ParseTimestamp reads a time as the API does: "2023-09-01 13:01:28", which is
// UTC, or with a zone, "2023-09-01 13:01:28 +0400". The result is in microseconds since 1970.
func ParseTimestamp(s string) (micros int64, err error) {
	layout := TimestampLayout
	if len(s) != len(TimestampLayout) {
		layout = zonedLayout
	}
	// The length check refuses what time.Parse would let pass: fractions and one-digit hours.
	if len(s) == len(layout) {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UnixMicro(), nil
		}
	}
	return 0, fmt.Errorf("timestamp %s is not of the form %q, with or without a zone like %q", quote(s), TimestampLayout, " +0400")
}

// quote returns s in quotes on one line, and not all of a long one.
func quote(s string) string { return `"` + brief(s) + `"` }

const (
	mostShown = 200           // bytes of a text that brief shows
	mostRead  = 4 * mostShown // bytes of a text that brief looks at
)

// brief returns s on one line of printable text, and not all of a long one.
func brief(s string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(s[:min(len(s), mostRead)]), " ") {
		if b.Len() > mostShown {
			b.WriteString("…")
			break
		}
		if !unicode.IsGraphic(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
	}
	return b.String()
}
