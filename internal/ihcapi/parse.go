package ihcapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// wireSession is a row of customer_journeys before it is checked.
type wireSession struct {
	ConversionID json.RawMessage `json:"conversion_id"`
	SessionID    json.RawMessage `json:"session_id"`
	Timestamp    json.RawMessage `json:"timestamp"`
	Channel      json.RawMessage `json:"channel_label"`
	Holder       json.RawMessage `json:"holder_engagement"`
	Closer       json.RawMessage `json:"closer_engagement"`
	Conversion   json.RawMessage `json:"conversion"`
	Impression   json.RawMessage `json:"impression_interaction"`
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
	fail := func(ok bool, field string, raw json.RawMessage, want string) {
		switch {
		case ok || err != nil:
		case !given(raw):
			err = fmt.Errorf("%s is missing", field)
		default:
			err = fmt.Errorf("%s is %s, not %s", field, shown(raw), want)
		}
	}
	var ok bool
	s.ConversionID, _ = text(w.ConversionID)
	s.SessionID, ok = text(w.SessionID)
	fail(ok && s.SessionID != "", "session_id", w.SessionID, "text")
	stamp, ok := text(w.Timestamp)
	fail(ok, "timestamp", w.Timestamp, "text")
	if ok && err == nil {
		s.TimeMicros, err = ParseTimestamp(stamp)
	}
	s.Channel, ok = text(w.Channel)
	fail(ok, "channel_label", w.Channel, "text")
	for _, f := range []struct {
		name string
		raw  json.RawMessage
		into *bool
	}{
		{"holder_engagement", w.Holder, &s.Holder},
		{"closer_engagement", w.Closer, &s.Closer},
		{"conversion", w.Conversion, &s.Conversion},
		{"impression_interaction", w.Impression, &s.Impression},
	} {
		if f.into == &s.Impression && !given(f.raw) {
			continue // the one that may be left out
		}
		*f.into = string(f.raw) == "1"
		fail(*f.into || string(f.raw) == "0", f.name, f.raw, "0 or 1")
	}
	return s, err
}

// text returns the value of a field if it is a string.
func text(raw json.RawMessage) (s string, ok bool) {
	ok = given(raw) && json.Unmarshal(raw, &s) == nil
	return s, ok
}
