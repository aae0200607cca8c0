package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
)

// Faults are how the sandbox behaves badly; GET, PUT (all) and PATCH (some) of
// /faults show and change them while it runs. The rates are shares of the
// calls, 0 to 1, at most 1 together, each call having one fault at most.
type Faults struct {
	Latency   Duration `json:"latency"`    // from a call's arrival to its answer
	Jitter    Duration `json:"jitter"`     // up to as much more, drawn evenly
	SlowDelay Duration `json:"slow_delay"` // what a slow call takes on top

	Rate429      float64 `json:"rate_429"`        // HTTP 429 with Retry-After
	Rate5xx      float64 `json:"rate_5xx"`        // HTTP 500, 502, 503 or 504, with or without JSON
	Rate500In200 float64 `json:"rate_500_in_200"` // HTTP 200 with statusCode 500 and value null
	RateCutOff   float64 `json:"rate_truncated"`  // the scored answer breaks off half-way
	RateReset    float64 `json:"rate_reset"`      // the connection is reset without an answer
	RateSlow     float64 `json:"rate_slow"`       // SlowDelay on top of Latency

	RetryAfter        Duration `json:"retry_after"`         // what a 429 of Rate429 asks for
	RequestsPerSecond float64  `json:"requests_per_second"` // above it: 429; 0 is no limit
	Burst             int      `json:"burst"`               // calls that may come at once; at least 1

	// Patterns of conversion ids: an id as it is, or its beginning and a star.
	Poison  []string          `json:"poison"`  // a call with such a conversion is answered 400
	Partial []string          `json:"partial"` // such a conversion comes back in partialFailureErrors
	Spoil   map[string]string `json:"spoil"`   // such a conversion's values are wrong, in one of the ways of spoilWays

	// Break has calls with such a conversion end in one of the ways of breakWays.
	Break map[string]string `json:"break"`
	// Instead is what comes in place of every reply, in one of the ways of
	// insteadWays; "" for the reply.
	Instead string `json:"instead"`

	Shuffle bool `json:"shuffle"` // values in random order, since none is documented
}

// The ways a call can end that has a conversion of Break: with such a status,
// not at all, with a reset, or with a page.
const (
	breakHang  = "hang"
	breakReset = "reset"
)

var breakWays = []string{"500", "502", "503", "504", breakHang, breakReset, insteadPage}

// What can come in place of a reply, or around it.
const (
	insteadPage     = "page"     // HTTP 200 with a sign-in page
	insteadEnvelope = "envelope" // the reply as a field of another object
	insteadList     = "list"     // the values alone
	insteadNothing  = "nothing"  // HTTP 200 without a body
	insteadMark     = "bom"      // a byte order mark before the reply
)

var insteadWays = []string{"", insteadPage, insteadEnvelope, insteadList, insteadNothing, insteadMark}

// The ways a conversion's values can be wrong.
const (
	spoilSum      = "sum"      // ihc sums to half
	spoilMissing  = "missing"  // the last session is left out
	spoilForeign  = "foreign"  // a session is named that was not sent
	spoilTwice    = "twice"    // the last session comes two times
	spoilNegative = "negative" // an ihc is below 0
)

var spoilWays = []string{spoilSum, spoilMissing, spoilForeign, spoilTwice, spoilNegative}

// Validate says which field has a value it cannot have.
func (f *Faults) Validate() error {
	var sum float64
	for _, r := range []struct {
		name string
		rate float64
	}{
		{"rate_429", f.Rate429},
		{"rate_5xx", f.Rate5xx},
		{"rate_500_in_200", f.Rate500In200},
		{"rate_truncated", f.RateCutOff},
		{"rate_reset", f.RateReset},
		{"rate_slow", f.RateSlow},
	} {
		if !(r.rate >= 0 && r.rate <= 1) {
			return fmt.Errorf("%s: %v is not within 0 to 1", r.name, r.rate)
		}
		sum += r.rate
	}
	if sum > 1+1e-9 {
		return fmt.Errorf("the rates sum to %v; a call has one fault at most, so they sum to 1 or less", sum)
	}
	for _, d := range []struct {
		name string
		d    Duration
	}{{"latency", f.Latency}, {"jitter", f.Jitter}, {"slow_delay", f.SlowDelay}, {"retry_after", f.RetryAfter}} {
		if d.d < 0 || d.d > Duration(time.Hour) {
			return fmt.Errorf("%s: %v is not within 0s to 1h", d.name, time.Duration(d.d))
		}
	}
	if !(f.RequestsPerSecond >= 0 && f.RequestsPerSecond <= 1e6) {
		return fmt.Errorf("requests_per_second: %v is not within 0 to 1000000", f.RequestsPerSecond)
	}
	if f.Burst < 0 {
		return fmt.Errorf("burst: %d is below 0", f.Burst)
	}
	for pattern, way := range f.Spoil {
		if !slices.Contains(spoilWays, way) {
			return fmt.Errorf("spoil: %q: %q is none of %s", pattern, way, strings.Join(spoilWays, ", "))
		}
	}
	for pattern, way := range f.Break {
		if !slices.Contains(breakWays, way) {
			return fmt.Errorf("break: %q: %q is none of %s", pattern, way, strings.Join(breakWays, ", "))
		}
	}
	if !slices.Contains(insteadWays, f.Instead) {
		return fmt.Errorf("instead: %q is none of %s", f.Instead, strings.Join(insteadWays[1:], ", "))
	}
	return nil
}

// change reads a JSON object over f, leaving what it does not name; unknown
// fields are refused. f is changed only if the result is valid.
func (f *Faults) change(body io.Reader) error {
	next := *f
	next.Spoil, next.Break = nil, nil // a map would be merged into, and is shared with calls under way
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&next); err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("faults: something follows the closing }")
	}
	if next.Spoil == nil {
		next.Spoil = f.Spoil
	}
	if next.Break == nil {
		next.Break = f.Break
	}
	if err := next.Validate(); err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	*f = next
	return nil
}

// Duration is a time.Duration that JSON shows as text: "200ms".
type Duration time.Duration

// MarshalJSON writes it as text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads text like "200ms" or "1m30s".
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("a duration is text like \"200ms\", not %s", data)
	}
	parsed, err := time.ParseDuration(text)
	*d = Duration(parsed)
	return err
}

// matches reports whether a pattern is id, or its beginning and a star.
func matches(pattern, id string) bool {
	if prefix, star := strings.CutSuffix(pattern, "*"); star {
		return strings.HasPrefix(id, prefix)
	}
	return pattern == id
}

func matchesAny(patterns []string, id string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, id) })
}

// poisoned returns the first conversion of the request that is poison.
func (f *Faults) poisoned(sessions []ihcapi.Session) (id string, found bool) {
	for i := range sessions {
		if matchesAny(f.Poison, sessions[i].ConversionID) {
			return sessions[i].ConversionID, true
		}
	}
	return "", false
}

// breaks returns how a call with these sessions ends, "" if it is answered.
func (f *Faults) breaks(sessions []ihcapi.Session) string {
	for _, pattern := range slices.Sorted(maps.Keys(f.Break)) {
		if slices.ContainsFunc(sessions, func(s ihcapi.Session) bool { return matches(pattern, s.ConversionID) }) {
			return f.Break[pattern]
		}
	}
	return ""
}

// takeOut moves the conversions of Partial from the request's sessions to its failures.
func (f *Faults) takeOut(req *ihcapi.Request) {
	if len(f.Partial) == 0 {
		return
	}
	kept := req.Sessions[:0]
	reported := map[string]bool{}
	for _, s := range req.Sessions {
		switch {
		case !matchesAny(f.Partial, s.ConversionID):
			kept = append(kept, s)
		case !reported[s.ConversionID]:
			reported[s.ConversionID] = true
			req.Failures = append(req.Failures, ihcapi.PartialFailure{
				ConversionID: s.ConversionID, SessionID: s.SessionID,
				Reason: "the customer journey could not be parsed (the sandbox was told to say so)", StatusCode: ihcapi.StatusUnparseable,
			})
		}
	}
	req.Sessions = kept
}

// spoilValues makes the values of the conversions of Spoil wrong.
func (f *Faults) spoilValues(values []ihcapi.Value) []ihcapi.Value {
	if len(f.Spoil) == 0 {
		return values
	}
	var out []ihcapi.Value
	for i, v := range values {
		way := ""
		for pattern, w := range f.Spoil {
			if matches(pattern, v.ConversionID) {
				way = w
			}
		}
		last := i+1 == len(values) || values[i+1].ConversionID != v.ConversionID
		switch {
		case way == spoilSum:
			v.IHC /= 2
		case !last:
		case way == spoilMissing:
			continue
		case way == spoilForeign:
			out = append(out, ihcapi.Value{ConversionID: v.ConversionID, SessionID: v.SessionID + "-not-sent"})
		case way == spoilTwice:
			out = append(out, v)
		case way == spoilNegative:
			v.IHC = -v.IHC - 1
		}
		out = append(out, v)
	}
	return out
}
