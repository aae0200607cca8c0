package ihcapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// ErrTooLarge says that a reply has more bytes or rows than are taken.
var ErrTooLarge = errors.New("the reply is larger than is taken")

// errNoReply says that a body came whole and is not a reply of the IHC API.
var errNoReply = errors.New("the reply is not a whole JSON object")

// byteOrderMark stands before some services' JSON, where it has no business.
var byteOrderMark = []byte("\xef\xbb\xbf")

// DecodeResponse reads one reply of at most limit bytes, and rows entries in
// each of its lists: a compressed kilobyte can hold a million of them. It
// fails on what is not a whole JSON object (one that was cut off, a gateway's
// HTML page), and with [ErrTooLarge]; all else is told by the Response: a
// StatusCode of 0 is one that was missing, and a row that cannot be used has a
// Problem, be it for a NaN, which JSON does not know but some services write.
// Unknown fields are passed over, names are taken in upper and lower case, and a
// byte order mark before the object is too.
func DecodeResponse(r io.Reader, limit int64, rows int) (*Response, error) {
	return decodeResponse(r, limit, rows, brief)
}

// decodeResponse is [DecodeResponse] with how texts are made fit to be shown.
func decodeResponse(r io.Reader, limit int64, rows int, shown func(string) string) (*Response, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%w (%d bytes)", ErrTooLarge, limit)
	}
	body = bytes.TrimPrefix(body, byteOrderMark)
	reply, err := object[wireReply](body)
	if err != nil {
		return nil, notReply(body, err, shown)
	}
	out := &Response{
		StatusCode: status(reply.StatusCode),
		Message:    cmp.Or(reply.Message, reply.Error, reply.Reason),
		HasValue:   isList(reply.Value),
	}
	if out.Failures, err = readFailures(reply.Failures, rows); err != nil {
		return nil, err
	}
	if out.Values, err = readValues(reply.Value, rows, shown); err != nil {
		return nil, err
	}
	return out, nil
}

// notReply tells what came in place of an object. What begins as one and ends
// too early was cut off on its way; all else came as it was meant.
func notReply(body []byte, why error, shown func(string) string) error {
	text := bytes.TrimSpace(body)
	switch {
	case bytes.HasPrefix(text, []byte("{")) && cutOff(text):
		return fmt.Errorf("the reply is not a whole JSON object: %w", why)
	case bytes.HasPrefix(text, []byte("<")):
		return fmt.Errorf("%w but a page: \"%s\"", errNoReply, shown(title(text)))
	default:
		return fmt.Errorf("%w: %w", errNoReply, why)
	}
}

// cutOff says whether JSON ends before it is whole.
func cutOff(body []byte) bool {
	var whole json.RawMessage
	var wrong *json.SyntaxError
	return errors.As(json.Unmarshal(body, &whole), &wrong) && wrong.Offset >= int64(len(body))
}

// title returns the title of a page of HTML, or its beginning.
func title(page []byte) string {
	page = page[:min(len(page), 64<<10)]
	lower := bytes.ToLower(page)
	if from := bytes.Index(lower, []byte("<title>")); from >= 0 {
		if to := bytes.Index(lower[from:], []byte("</title>")); to > 0 {
			return string(page[from+len("<title>") : from+to])
		}
	}
	return string(page)
}

// status returns a statusCode, or 0 for a number that cannot be one.
func status(code int) int {
	if code < 0 || code > 999_999 {
		return 0
	}
	return code
}

// readFailures reads partialFailureErrors; what is not an object in it is passed over.
func readFailures(list json.RawMessage, rows int) ([]PartialFailure, error) {
	var all []PartialFailure
	for f, err := range elements[wireFailure](list, false) {
		if err != nil {
			continue
		}
		if len(all) == rows {
			return nil, fmt.Errorf("%w (%d entries of partialFailureErrors)", ErrTooLarge, rows)
		}
		all = append(all, PartialFailure{f.Trigger.ConversionID, f.Trigger.SessionID, f.Reason, status(f.StatusCode)})
	}
	return all, nil
}

// readValues reads the rows of value; nil if it is no list.
func readValues(list json.RawMessage, rows int, shown func(string) string) ([]Value, error) {
	if !isList(list) {
		return nil, nil
	}
	all := []Value{}
	for row, err := range elements[wireValue](list, false) {
		if len(all) == rows {
			return nil, fmt.Errorf("%w (%d rows of value)", ErrTooLarge, rows)
		}
		if err != nil {
			all = append(all, Value{Problem: "a row that is not an object"})
			continue
		}
		all = append(all, row.read(shown))
	}
	return all, nil
}

// read makes the row a Value, with the first Problem found.
func (w *wireValue) read(shown func(string) string) Value {
	v := Value{ConversionID: w.ConversionID, SessionID: w.SessionID}
	switch {
	case v.ConversionID == "":
		v.Problem = "conversion_id is missing or not text"
	case v.SessionID == "":
		v.Problem = "session_id is missing or not text"
	case !given(w.IHC):
		v.Problem = "ihc is missing or null"
	}
	for _, f := range []struct {
		name string
		raw  json.RawMessage
		into *ihcmodel.Share
	}{
		{"ihc", w.IHC, &v.IHC},
		{"initializer", w.Initializer, &v.Initializer},
		{"holder", w.Holder, &v.Holder},
		{"closer", w.Closer, &v.Closer},
	} {
		if !given(f.raw) {
			continue
		}
		var ok bool
		if *f.into, ok = parseShare(f.raw); !ok && v.Problem == "" {
			v.Problem = fmt.Sprintf("%s is %s, not a number from 0 to 1", f.name, shown(asSent(f.raw)))
		}
	}
	if v.Problem != "" {
		v.Score = ihcmodel.Score{}
	}
	return v
}

// given reports whether a field was there, and not null.
func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }
