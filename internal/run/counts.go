package run

import (
	"bytes"
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Add counts n conversions of one outcome, with their sessions, into c.
func Add(c *ihcv1.Counts, kind ihcv1.OutcomeKind, n, touchpoints uint64) {
	c.InRange += n
	switch kind {
	case ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED:
		c.Attributed += n
		c.Touchpoints += touchpoints
	case ihcv1.OutcomeKind_OUTCOME_KIND_APPROXIMATED:
		c.Approximated += n
		c.Touchpoints += touchpoints
	case ihcv1.OutcomeKind_OUTCOME_KIND_EXCLUDED:
		c.Excluded += n
	case ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS:
		c.WithoutSessions += n
	default:
		c.Failed += n
	}
}

// Accounted returns how many conversions have an outcome: invariant 4 asks
// that it equal in_range at the end of a run.
func Accounted(c *ihcv1.Counts) uint64 {
	return c.GetAttributed() + c.GetApproximated() + c.GetExcluded() + c.GetFailed() + c.GetWithoutSessions()
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
