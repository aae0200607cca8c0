package ihcapi

import (
	"encoding/json"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// AppendRequest appends the body of a call for these sessions to dst. It is
// valid JSON whatever the ids and labels hold: a byte that is not UTF-8
// becomes U+FFFD (see [WireID]). The redistribution, which must be valid, is
// left out when it is nil or moves nothing.
func AppendRequest(dst []byte, sessions []Session, redistribution *ihcmodel.Redistribution) []byte {
	type row struct {
		ConversionID string `json:"conversion_id"`
		SessionID    string `json:"session_id"`
		Timestamp    string `json:"timestamp"`
		Channel      string `json:"channel_label"`
		Holder       int    `json:"holder_engagement"`
		Closer       int    `json:"closer_engagement"`
		Conversion   int    `json:"conversion"`
		Impression   int    `json:"impression_interaction"`
	}
	rows := make([]row, len(sessions))
	for i, s := range sessions {
		rows[i] = row{s.ConversionID, s.SessionID, string(AppendTimestamp(nil, s.TimeMicros)), s.Channel,
			digit(s.Holder), digit(s.Closer), digit(s.Conversion), digit(s.Impression)}
	}
	if redistribution.Empty() {
		redistribution = nil
	}
	return appendJSON(dst, struct {
		Journeys       []row                    `json:"customer_journeys"`
		Redistribution *ihcmodel.Redistribution `json:"redistribution_parameter,omitempty"`
	}{rows, redistribution})
}

// AppendResponse appends the body of a reply to dst: the form the API uses,
// with "value" null unless r.HasValue, and "message" when there is one.
func AppendResponse(dst []byte, r *Response) []byte {
	failures := make([]wireFailure, len(r.Failures))
	for i, f := range r.Failures {
		failures[i].Trigger.ConversionID, failures[i].Trigger.SessionID = f.ConversionID, f.SessionID
		failures[i].Reason, failures[i].StatusCode = f.Reason, f.StatusCode
	}
	reply := wireReply{StatusCode: r.StatusCode, Failures: appendJSON(nil, failures), Message: r.Message}
	if r.HasValue {
		values := make([]wireValue, len(r.Values))
		for i, v := range r.Values {
			values[i] = wireValue{v.ConversionID, v.SessionID, share(v.Initializer), share(v.Holder), share(v.Closer), share(v.IHC)}
		}
		reply.Value = appendJSON(nil, values)
	}
	return appendJSON(dst, reply)
}

func share(s ihcmodel.Share) json.RawMessage { return s.Append(nil) }

func digit(set bool) int {
	if set {
		return 1
	}
	return 0
}
