package ihcapi

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// AppendRequest appends the body of a call for these sessions to dst. It is
// valid JSON whatever the ids and labels hold: a byte that is not UTF-8
// becomes U+FFFD (see [WireID]). The redistribution is left out when it is
// nil or moves nothing.
func AppendRequest(dst []byte, sessions []Session, redistribution *ihcmodel.Redistribution) []byte {
	dst = append(dst, `{"customer_journeys":[`...)
	for i := range sessions {
		s := &sessions[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"conversion_id":`...)
		dst = appendString(dst, s.ConversionID)
		dst = append(dst, `,"session_id":`...)
		dst = appendString(dst, s.SessionID)
		dst = append(dst, `,"timestamp":"`...)
		dst = AppendTimestamp(dst, s.TimeMicros)
		dst = append(dst, `","channel_label":`...)
		dst = appendString(dst, s.Channel)
		dst = append(dst, `,"holder_engagement":`...)
		dst = append(dst, digit(s.Holder))
		dst = append(dst, `,"closer_engagement":`...)
		dst = append(dst, digit(s.Closer))
		dst = append(dst, `,"conversion":`...)
		dst = append(dst, digit(s.Conversion))
		dst = append(dst, `,"impression_interaction":`...)
		dst = append(dst, digit(s.Impression), '}')
	}
	dst = append(dst, ']')
	if !redistribution.Empty() {
		if text, err := json.Marshal(redistribution); err == nil { // strings and finite numbers: it cannot fail
			dst = append(dst, `,"redistribution_parameter":`...)
			dst = append(dst, text...)
		}
	}
	return append(dst, '}')
}

// AppendResponse appends the body of a reply to dst: the form the API uses,
// with "value" null unless r.HasValue, and "message" when there is one.
func AppendResponse(dst []byte, r *Response) []byte {
	dst = append(dst, `{"statusCode":`...)
	dst = strconv.AppendInt(dst, int64(r.StatusCode), 10)
	dst = append(dst, `,"partialFailureErrors":[`...)
	for i, f := range r.Failures {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"trigger":{"conversion_id":`...)
		dst = appendString(dst, f.ConversionID)
		dst = append(dst, `,"session_id":`...)
		dst = appendString(dst, f.SessionID)
		dst = append(dst, `},"reason":`...)
		dst = appendString(dst, f.Reason)
		dst = append(dst, `,"statusCode":`...)
		dst = strconv.AppendInt(dst, int64(f.StatusCode), 10)
		dst = append(dst, '}')
	}
	dst = append(dst, `],"value":`...)
	if r.HasValue {
		dst = append(dst, '[')
		for i := range r.Values {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, &r.Values[i])
		}
		dst = append(dst, ']')
	} else {
		dst = append(dst, "null"...)
	}
	if r.Message != "" {
		dst = append(dst, `,"message":`...)
		dst = appendString(dst, r.Message)
	}
	return append(dst, '}')
}

func appendValue(dst []byte, v *Value) []byte {
	dst = append(dst, `{"conversion_id":`...)
	dst = appendString(dst, v.ConversionID)
	dst = append(dst, `,"session_id":`...)
	dst = appendString(dst, v.SessionID)
	dst = append(dst, `,"initializer":`...)
	dst = v.Initializer.Append(dst)
	dst = append(dst, `,"holder":`...)
	dst = v.Holder.Append(dst)
	dst = append(dst, `,"closer":`...)
	dst = v.Closer.Append(dst)
	dst = append(dst, `,"ihc":`...)
	dst = v.IHC.Append(dst)
	return append(dst, '}')
}

func digit(set bool) byte {
	if set {
		return '1'
	}
	return '0'
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	plain := 0 // s[plain:i] needs no escape
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[plain:i]...)
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, "\uFFFD"...)
		}
		i += size
		plain = i
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}
