package ihcapi

import (
	"errors"
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// wireSession is a row of customer_journeys before it is checked.
type wireSession struct {
	conversionID, sessionID, timestamp, channelLabel loose
	holder, closer, conversion, impression           loose
}

// ParseRequest reads the body of a call. It fails where the call as a whole is
// invalid (StatusInvalid, by the API): not JSON, no journeys, unknown fields,
// a row without conversion_id, a redistribution_parameter that is wrong. A row
// that is wrong otherwise fails its journey alone: see [Request].
func ParseRequest(body []byte) (*Request, error) {
	in := &scanner{data: body}
	var rows []wireSession
	var redistribution loose
	err := in.object(func(name []byte) (err error) {
		switch string(name) {
		case "customer_journeys":
			rows, err = in.sessions()
		case "redistribution_parameter":
			redistribution, err = in.value()
		default:
			err = fmt.Errorf("unknown field %s", quote(string(name)))
		}
		return err
	})
	if err == nil {
		err = in.end()
	}
	if err != nil {
		return nil, fmt.Errorf("the request is not understood: %w", err)
	}
	if len(rows) == 0 {
		return nil, errors.New("customer_journeys is missing or empty")
	}
	req := &Request{Rows: len(rows), Sessions: make([]Session, 0, len(rows))}
	if redistribution.given() {
		r, err := ihcmodel.ParseRedistribution(redistribution)
		if err != nil {
			return nil, fmt.Errorf("redistribution_parameter: %w", err)
		}
		if !r.Empty() {
			req.Redistribution = r
		}
	}
	type key struct{ conversion, session string }
	seen := make(map[key]bool, len(rows))
	journeys := make(map[string]bool) // by conversion id; true if a row of it failed
	conversion := ""
	for i := range rows {
		s, err := rows[i].read(conversion)
		conversion = s.ConversionID
		if s.ConversionID == "" {
			return nil, fmt.Errorf("customer_journeys, row %d: conversion_id is missing, empty or not text", i+1)
		}
		if k := (key{s.ConversionID, s.SessionID}); err == nil && seen[k] {
			err = fmt.Errorf("session_id %s is twice in the journey", quote(s.SessionID))
		} else {
			seen[k] = true
		}
		if err != nil {
			req.Failures = append(req.Failures, PartialFailure{s.ConversionID, s.SessionID, err.Error(), StatusUnparseable})
		}
		journeys[s.ConversionID] = journeys[s.ConversionID] || err != nil
		req.Sessions = append(req.Sessions, s)
	}
	req.Journeys = len(journeys)
	if len(req.Failures) > 0 {
		kept := req.Sessions[:0]
		for _, s := range req.Sessions {
			if !journeys[s.ConversionID] {
				kept = append(kept, s)
			}
		}
		req.Sessions = kept
	}
	return req, nil
}

// sessions reads the list customer_journeys.
func (s *scanner) sessions() ([]wireSession, error) {
	var rows []wireSession
	err := s.array(func() error {
		var row wireSession
		err := s.object(func(name []byte) error {
			v, err := s.value()
			switch string(name) {
			case "conversion_id":
				row.conversionID = v
			case "session_id":
				row.sessionID = v
			case "timestamp":
				row.timestamp = v
			case "channel_label":
				row.channelLabel = v
			case "holder_engagement":
				row.holder = v
			case "closer_engagement":
				row.closer = v
			case "conversion":
				row.conversion = v
			case "impression_interaction":
				row.impression = v
			default:
				return fmt.Errorf("unknown field %s", quote(string(name)))
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("customer_journeys, row %d: %w", len(rows)+1, err)
		}
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

// read checks the row; with an error, the ids are as far as they could be
// read. The conversion is likely that of the row before.
func (w *wireSession) read(conversion string) (s Session, err error) {
	fail := func(ok bool, field string, raw loose, want string) {
		switch {
		case ok || err != nil:
		case !raw.given():
			err = fmt.Errorf("%s is missing", field)
		default:
			err = fmt.Errorf("%s is %s, not %s", field, brief(string(raw)), want)
		}
	}
	var ok bool
	s.ConversionID, _ = w.conversionID.textLike(conversion)
	s.SessionID, ok = w.sessionID.text()
	fail(ok && s.SessionID != "", "session_id", w.sessionID, "text")
	stamp, ok := w.timestamp.text()
	fail(ok, "timestamp", w.timestamp, "text")
	if ok && err == nil {
		s.TimeMicros, err = ParseTimestamp(stamp)
	}
	s.Channel, ok = w.channelLabel.text()
	fail(ok, "channel_label", w.channelLabel, "text")
	for _, f := range []struct {
		name string
		raw  loose
		into *bool
	}{
		{"holder_engagement", w.holder, &s.Holder},
		{"closer_engagement", w.closer, &s.Closer},
		{"conversion", w.conversion, &s.Conversion},
	} {
		*f.into, ok = f.raw.flag()
		fail(ok, f.name, f.raw, "0 or 1")
	}
	if w.impression.given() { // the one that may be left out
		s.Impression, ok = w.impression.flag()
		fail(ok, "impression_interaction", w.impression, "0 or 1")
	}
	return s, err
}
