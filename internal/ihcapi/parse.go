package ihcapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// wireSession is a row of customer_journeys before it is checked: string,
// json.Number, bool, nil or another JSON value.
type wireSession struct {
	ConversionID any `json:"conversion_id"`
	SessionID    any `json:"session_id"`
	Timestamp    any `json:"timestamp"`
	Channel      any `json:"channel_label"`
	Holder       any `json:"holder_engagement"`
	Closer       any `json:"closer_engagement"`
	Conversion   any `json:"conversion"`
	Impression   any `json:"impression_interaction"`
}

// ParseRequest reads the body of a call. It fails where the call as a whole is
// invalid (StatusInvalid, by the API): not JSON, no journeys, unknown fields,
// a row without conversion_id, a redistribution_parameter that is wrong. A row
// that is wrong otherwise fails its journey alone: see [Request].
func ParseRequest(body []byte) (*Request, error) {
	call, err := object[map[string]json.RawMessage](body)
	if err != nil {
		return nil, fmt.Errorf("the request is not understood: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(*call)) {
		if name != "customer_journeys" && name != "redistribution_parameter" {
			return nil, fmt.Errorf("the request is not understood: unknown field %s", quote(name))
		}
	}
	req := &Request{}
	if raw := (*call)["redistribution_parameter"]; given(raw) {
		r, err := ihcmodel.ParseRedistribution(raw)
		if err != nil {
			return nil, fmt.Errorf("redistribution_parameter: %w", err)
		}
		if !r.Empty() {
			req.Redistribution = r
		}
	}
	if err := req.readSessions((*call)["customer_journeys"]); err != nil {
		return nil, err
	}
	return req, nil
}

// readSessions reads customer_journeys.
func (req *Request) readSessions(list json.RawMessage) error {
	type key struct{ conversion, session string }
	seen := make(map[key]bool)
	failed := make(map[string]bool) // by conversion id; true if a row of it failed
	for row, err := range elements[wireSession](list, true) {
		req.Rows++
		if err != nil {
			return fmt.Errorf("customer_journeys, row %d: %w", req.Rows, err)
		}
		s, err := row.read()
		if s.ConversionID == "" {
			return fmt.Errorf("customer_journeys, row %d: conversion_id is missing, empty or not text", req.Rows)
		}
		if k := (key{s.ConversionID, s.SessionID}); err == nil && seen[k] {
			err = fmt.Errorf("session_id %s is twice in the journey", quote(s.SessionID))
		} else {
			seen[k] = true
		}
		if err != nil {
			req.Failures = append(req.Failures, PartialFailure{s.ConversionID, s.SessionID, err.Error(), StatusUnparseable})
		}
		failed[s.ConversionID] = failed[s.ConversionID] || err != nil
		req.Sessions = append(req.Sessions, s)
	}
	if req.Rows == 0 {
		return errors.New("customer_journeys is missing or empty, or not a list")
	}
	req.Journeys = len(failed)
	req.Sessions = slices.DeleteFunc(req.Sessions, func(s Session) bool { return failed[s.ConversionID] })
	return nil
}

// read checks the row; with an error, the ids are as far as they could be read.
func (w *wireSession) read() (s Session, err error) {
	fail := func(ok bool, field string, sent any, want string) {
		switch {
		case ok || err != nil:
		case sent == nil:
			err = fmt.Errorf("%s is missing", field)
		default:
			raw, _ := json.Marshal(sent) // it was JSON before
			err = fmt.Errorf("%s is %s, not %s", field, shown(raw), want)
		}
	}
	var ok bool
	s.ConversionID, _ = w.ConversionID.(string)
	s.SessionID, ok = w.SessionID.(string)
	fail(ok && s.SessionID != "", "session_id", w.SessionID, "text")
	stamp, ok := w.Timestamp.(string)
	fail(ok, "timestamp", w.Timestamp, "text")
	if ok && err == nil {
		s.TimeMicros, err = ParseTimestamp(stamp)
	}
	s.Channel, ok = w.Channel.(string)
	fail(ok, "channel_label", w.Channel, "text")
	for _, f := range []struct {
		name string
		sent any
		into *bool
	}{
		{"holder_engagement", w.Holder, &s.Holder},
		{"closer_engagement", w.Closer, &s.Closer},
		{"conversion", w.Conversion, &s.Conversion},
		{"impression_interaction", w.Impression, &s.Impression},
	} {
		if f.into == &s.Impression && f.sent == nil {
			continue // the one that may be left out
		}
		*f.into = f.sent == json.Number("1")
		fail(*f.into || f.sent == json.Number("0"), f.name, f.sent, "0 or 1")
	}
	return s, err
}
