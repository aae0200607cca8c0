package run

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/url"
	"strings"

	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// ScoringDigest returns the digest of what scores a run, 16 bytes; nil for nil,
// which stands for what is not settled. Equal digests mean equal shares for the
// same journey.
func ScoringDigest(s *ihcv1.Scoring) []byte {
	if s == nil {
		return nil
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
	if err != nil { // of text that is no UTF-8, which nothing gets past Complete
		b = []byte(err.Error())
	}
	sum := sha256.Sum256(b)
	return sum[:16]
}

// SameScoring says whether two give every journey the same shares.
func SameScoring(a, b *ihcv1.Scoring) bool { return bytes.Equal(ScoringDigest(a), ScoringDigest(b)) }

// Address returns the address of an API without what is secret or means
// nothing: credentials, a query, a slash at the end.
func Address(apiURL string) string {
	u, err := url.Parse(strings.TrimSpace(apiURL))
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	return strings.TrimRight(u.String(), "/")
}

// DescribeScoring says in a few words what scores a run.
func DescribeScoring(s *ihcv1.Scoring) string {
	text := "the built-in model"
	switch {
	case s == nil:
		return "what is not settled yet"
	case s.GetModel() == ModelAPI:
		text = fmt.Sprintf("the IHC API at %s, conversion type %q", s.GetApiUrl(), s.GetConvTypeId())
	case IsRule(s.GetModel()):
		return "the model " + s.GetModel()
	default:
		text += fmt.Sprintf(", parameters %.8x", sha256.Sum256([]byte(s.GetModelParams())))
	}
	if s.GetRedistributionParameter() != nil {
		text += ", with redistribution"
	}
	return text
}
