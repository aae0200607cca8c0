package ihcapi

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// ErrTooLarge says that a reply was cut off at the most bytes taken.
var ErrTooLarge = errors.New("the reply is larger than is taken")

// DecodeResponse reads one reply of at most limit bytes. It fails on what is
// not a whole JSON object (one that was cut off, a gateway's HTML page), and
// with [ErrTooLarge]; all else is told by the Response: a StatusCode of 0 is
// one that was missing, and a row that cannot be used has a Problem, be it for
// a NaN, which JSON does not know but some services write. Unknown fields are
// passed over.
func DecodeResponse(r io.Reader, limit int64) (*Response, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%w (%d bytes)", ErrTooLarge, limit)
	}
	return decodeResponse(body)
}

func decodeResponse(body []byte) (*Response, error) {
	in := &scanner{data: body}
	out := &Response{}
	said := map[string]string{} // what an error body says of itself, by field
	err := in.object(func(name []byte) error {
		switch string(name) {
		case "value":
			return in.values(out)
		case "partialFailureErrors":
			return in.failures(out)
		}
		v, err := in.value()
		switch field := string(name); field {
		case "statusCode":
			out.StatusCode = v.small()
		case "message", "error", "reason":
			said[field], _ = v.text()
		}
		return err
	})
	if err == nil {
		err = in.end()
	}
	if err != nil {
		return nil, fmt.Errorf("the reply is not a whole JSON object: %w", err)
	}
	out.Message = cmp.Or(said["message"], said["error"], said["reason"])
	return out, nil
}

// values reads the field value, if it is a list.
func (s *scanner) values(out *Response) error {
	if s.space() != '[' {
		_, err := s.value()
		return err
	}
	out.HasValue = true
	// A row of short ids has about 120 bytes; room for too many is soon freed.
	out.Values = make([]Value, 0, min(len(s.data)/120, 1<<14))
	var row wireValue
	conversion := ""
	return s.array(func() error {
		row = wireValue{}
		if s.space() != '{' {
			out.Values = append(out.Values, Value{Problem: "a row that is not an object"})
			_, err := s.value()
			return err
		}
		err := s.object(func(name []byte) error {
			v, err := s.value()
			switch string(name) {
			case "conversion_id":
				row.conversionID = v
			case "session_id":
				row.sessionID = v
			case "initializer":
				row.initializer = v
			case "holder":
				row.holder = v
			case "closer":
				row.closer = v
			case "ihc":
				row.ihc = v
			}
			return err
		})
		if err != nil {
			return err
		}
		out.Values = append(out.Values, row.read(conversion))
		conversion = out.Values[len(out.Values)-1].ConversionID
		return nil
	})
}

// failures reads the field partialFailureErrors, if it is a list; what is not
// an object in it is passed over.
func (s *scanner) failures(out *Response) error {
	if s.space() != '[' {
		_, err := s.value()
		return err
	}
	return s.array(func() error {
		if s.space() != '{' {
			_, err := s.value()
			return err
		}
		var f PartialFailure
		err := s.object(func(name []byte) error {
			if string(name) == "trigger" && s.space() == '{' {
				return s.object(func(name []byte) error {
					v, err := s.value()
					switch string(name) {
					case "conversion_id":
						f.ConversionID, _ = v.text()
					case "session_id":
						f.SessionID, _ = v.text()
					}
					return err
				})
			}
			v, err := s.value()
			switch string(name) {
			case "reason":
				f.Reason, _ = v.text()
			case "statusCode":
				f.StatusCode = v.small()
			}
			return err
		})
		out.Failures = append(out.Failures, f)
		return err
	})
}

// wireValue is a row of value before it is checked.
type wireValue struct {
	conversionID, sessionID          loose
	initializer, holder, closer, ihc loose
}

// read makes the row a Value, with the first Problem found. The conversion is
// likely that of the row before.
func (w *wireValue) read(conversion string) Value {
	var v Value
	var ok bool
	if v.ConversionID, ok = w.conversionID.textLike(conversion); !ok || v.ConversionID == "" {
		v.Problem = "conversion_id is missing or not text"
	}
	if v.SessionID, ok = w.sessionID.text(); (!ok || v.SessionID == "") && v.Problem == "" {
		v.Problem = "session_id is missing or not text"
	}
	if !w.ihc.given() && v.Problem == "" {
		v.Problem = "ihc is missing or null"
	}
	for _, f := range []struct {
		name string
		raw  loose
		into *ihcmodel.Share
	}{
		{"ihc", w.ihc, &v.IHC},
		{"initializer", w.initializer, &v.Initializer},
		{"holder", w.holder, &v.Holder},
		{"closer", w.closer, &v.Closer},
	} {
		if !f.raw.given() {
			continue
		}
		if *f.into, ok = parseShare(f.raw); !ok && v.Problem == "" {
			v.Problem = fmt.Sprintf("%s is %s, not a number from 0 to 1", f.name, brief(string(f.raw)))
		}
	}
	if v.Problem != "" {
		v.Score = ihcmodel.Score{}
	}
	return v
}

// parseShare reads a JSON number from 0 to 1 into ten-thousandths by its
// decimal digits, without a detour through binary. Digits beyond the fourth
// decimal are rounded, a half upwards.
func parseShare(number []byte) (ihcmodel.Share, bool) {
	negative := len(number) > 0 && number[0] == '-'
	if negative {
		number = number[1:]
	}
	if len(number) == 0 || number[0] < '0' || number[0] > '9' {
		return 0, false // not a number; the scanner has seen to the rest of the grammar
	}
	mantissa, exponent := number, 0
	if e := bytes.IndexAny(number, "eE"); e >= 0 {
		mantissa = number[:e]
		if exponent = smallInt(number[e+1:]); exponent == outOfRange {
			return 0, false
		}
	}
	// value and next are the digits down to 10^-4 and the one after them.
	value, next := int64(0), byte('0')
	point := bytes.IndexByte(mantissa, '.')
	if point < 0 {
		point = len(mantissa)
	}
	place := point - 1 + exponent // the power of ten the coming digit stands for
	for _, d := range mantissa {
		if d == '.' {
			continue
		}
		switch {
		case place >= -4:
			if value = value*10 + int64(d-'0'); value > 100*int64(ihcmodel.Whole) {
				return 0, false
			}
		case place == -5:
			next = d
		}
		place--
	}
	for ; place >= -4 && value > 0; place-- {
		if value *= 10; value > int64(ihcmodel.Whole) {
			return 0, false
		}
	}
	if next >= '5' {
		value++
	}
	if value > int64(ihcmodel.Whole) || negative && value > 0 {
		return 0, false
	}
	return ihcmodel.Share(value), true
}

const outOfRange = 1 << 20

// smallInt reads an exponent; outOfRange where it is beyond any sense.
func smallInt(digits []byte) int {
	sign, n := 1, 0
	for _, d := range digits {
		switch d {
		case '+':
		case '-':
			sign = -1
		default:
			if n = n*10 + int(d-'0'); n > 10_000 {
				return outOfRange
			}
		}
	}
	return sign * n
}

// quote returns s in quotes on one line, and not all of a long one.
func quote(s string) string { return `"` + brief(s) + `"` }

// brief returns s on one line of printable text, and not all of a long one.
func brief(s string) string {
	const most = 200
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(s), " ") {
		if b.Len() > most {
			b.WriteString("…")
			break
		}
		if r < ' ' || r == 0x7f {
			r = utf8.RuneError
		}
		b.WriteRune(r)
	}
	return b.String()
}
