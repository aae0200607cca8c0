package run

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Outcome is one way in which a conversion in a run's range can end. A new one
// is a kind and a field of Counts in run.proto, and one line in the table of
// [Outcomes].
type Outcome struct {
	Kind ihcv1.OutcomeKind
	// Name is its name in JSON, tables and metrics; Words is its name for people.
	Name, Words string
	// Attributed says that such conversions have rows in
	// attribution_customer_journey, so that their sessions are touchpoints.
	Attributed bool

	field func(*ihcv1.Counts) *uint64
}

var outcomes = []Outcome{
	outcome(ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED, true, func(c *ihcv1.Counts) *uint64 { return &c.Attributed }),
	outcome(ihcv1.OutcomeKind_OUTCOME_KIND_APPROXIMATED, true, func(c *ihcv1.Counts) *uint64 { return &c.Approximated }),
	outcome(ihcv1.OutcomeKind_OUTCOME_KIND_EXCLUDED, false, func(c *ihcv1.Counts) *uint64 { return &c.Excluded }),
	outcome(ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, false, func(c *ihcv1.Counts) *uint64 { return &c.Failed }),
	outcome(ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS, false, func(c *ihcv1.Counts) *uint64 { return &c.WithoutSessions }),
}

func outcome(kind ihcv1.OutcomeKind, attributed bool, field func(*ihcv1.Counts) *uint64) Outcome {
	name := OutcomeName(kind)
	return Outcome{Kind: kind, Name: name, Words: strings.ReplaceAll(name, "_", " "), Attributed: attributed, field: field}
}

// Outcomes returns every outcome, in the order in which they are shown.
func Outcomes() []Outcome { return slices.Clone(outcomes) }

// OutcomeOf returns the outcome of a kind: failed for a kind that this version
// does not know, since it has no better word for it.
func OutcomeOf(kind ihcv1.OutcomeKind) Outcome {
	i := slices.IndexFunc(outcomes, func(o Outcome) bool { return o.Kind == kind })
	if i < 0 {
		return OutcomeOf(ihcv1.OutcomeKind_OUTCOME_KIND_FAILED)
	}
	return outcomes[i]
}

// Each yields every outcome with its number of conversions, those with none
// included, in the order of [Outcomes]. Nil counts are counts of 0.
func Each(c *ihcv1.Counts) iter.Seq2[Outcome, uint64] {
	return func(yield func(Outcome, uint64) bool) {
		for _, o := range outcomes {
			if !yield(o, Of(c, o.Kind)) {
				return
			}
		}
	}
}

// Of returns how many conversions ended in one way.
func Of(c *ihcv1.Counts, kind ihcv1.OutcomeKind) uint64 {
	if c == nil {
		return 0
	}
	return *OutcomeOf(kind).field(c)
}

// Add counts n conversions of one outcome, with their sessions, into c.
func Add(c *ihcv1.Counts, kind ihcv1.OutcomeKind, n, touchpoints uint64) {
	o := OutcomeOf(kind)
	c.InRange += n
	*o.field(c) += n
	if o.Attributed {
		c.Touchpoints += touchpoints
	}
}

// AddAll adds other counts to c.
func AddAll(c, other *ihcv1.Counts) {
	for o, n := range Each(other) {
		*o.field(c) += n
	}
	c.InRange += other.GetInRange()
	c.Touchpoints += other.GetTouchpoints()
	c.Reused += other.GetReused()
}

// Accounted returns how many conversions have an outcome: invariant 4 asks
// that it equal in_range at the end of a run.
func Accounted(c *ihcv1.Counts) uint64 {
	return sum(c, func(Outcome) bool { return true })
}

// WithAttribution returns how many conversions have rows in
// attribution_customer_journey.
func WithAttribution(c *ihcv1.Counts) uint64 {
	return sum(c, func(o Outcome) bool { return o.Attributed })
}

// Attributed returns how many of some outcomes are of conversions with rows in
// attribution_customer_journey: those that a run uses again.
func Attributed(outcomes []*ihcv1.Outcome) (n uint64) {
	for _, o := range outcomes {
		if OutcomeOf(o.GetKind()).Attributed {
			n++
		}
	}
	return n
}

func sum(c *ihcv1.Counts, counts func(Outcome) bool) (total uint64) {
	for o, n := range Each(c) {
		if counts(o) {
			total += n
		}
	}
	return total
}

const outcomePrefix = "OUTCOME_KIND_"

// OutcomeName returns how an outcome is written outside of messages:
// "attributed", "without_sessions" and so on.
func OutcomeName(k ihcv1.OutcomeKind) string {
	return strings.ToLower(strings.TrimPrefix(k.String(), outcomePrefix))
}

// OutcomeKind is the inverse of [OutcomeName]; an unknown name gives the
// unspecified kind.
func OutcomeKind(name string) ihcv1.OutcomeKind {
	return ihcv1.OutcomeKind(ihcv1.OutcomeKind_value[outcomePrefix+strings.ToUpper(name)])
}

// JSON writes a message as JSON with the field names of the .proto file: the
// same bytes every time, on one line without indent, on several with it.
func JSON(m proto.Message, indent string) ([]byte, error) {
	loose, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: indent != ""}.Marshal(m)
	if err != nil {
		return nil, err
	}
	// protojson varies its white space on purpose.
	var b bytes.Buffer
	if err := json.Compact(&b, loose); err != nil || indent == "" {
		return b.Bytes(), err
	}
	tight := bytes.Clone(b.Bytes())
	b.Reset()
	err = json.Indent(&b, tight, "", indent)
	return b.Bytes(), err
}
