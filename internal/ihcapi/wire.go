package ihcapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/strictjson"
)

// wireReply is the body of a reply; the fields that are nil here may be of any type.
type wireReply struct {
	StatusCode int             `json:"statusCode"`
	Failures   json.RawMessage `json:"partialFailureErrors"`
	Value      json.RawMessage `json:"value"`
	Message    string          `json:"message,omitempty"`
	Error      string          `json:"error,omitempty"`
	Reason     string          `json:"reason,omitempty"`
}

// wireFailure is an entry of partialFailureErrors.
type wireFailure struct {
	Trigger struct {
		ConversionID string `json:"conversion_id"`
		SessionID    string `json:"session_id"`
	} `json:"trigger"`
	Reason     string `json:"reason"`
	StatusCode int    `json:"statusCode"`
}

// wireValue is a row of value. The shares are kept as text, since a float64
// does not hold four decimals exactly.
type wireValue struct {
	ConversionID string          `json:"conversion_id"`
	SessionID    string          `json:"session_id"`
	Initializer  json.RawMessage `json:"initializer"`
	Holder       json.RawMessage `json:"holder"`
	Closer       json.RawMessage `json:"closer"`
	IHC          json.RawMessage `json:"ihc"`
}

// appendJSON appends v as JSON to dst. It is for values that encoding/json
// always takes: text, integers, shares and a valid redistribution.
func appendJSON(dst []byte, v any) []byte {
	out := bytes.NewBuffer(dst)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false) // ids and labels stay readable in saved payloads
	_ = enc.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// object reads body as one JSON object and nothing after it. A field whose
// value is of another type than T says is left empty, and NaN is taken: see [boxNonNumbers].
func object[T any](body []byte) (*T, error) {
	var read *T
	err := json.Unmarshal(body, &read)
	if wrong := (*json.SyntaxError)(nil); errors.As(err, &wrong) {
		if boxed := boxNonNumbers(body); len(boxed) > len(body) {
			return object[T](boxed)
		}
		return nil, strictjson.Syntax(body)
	}
	return read, notObject(err, read == nil)
}

// elements reads a list that [object] has found to be JSON, one element at a
// time, so that what is not wanted of a long list takes no memory. A list
// that is absent, null or of another type has no elements. strict refuses
// unknown fields; other errors are as those of object. Both concern one
// element, and the next can be read.
func elements[T any](list json.RawMessage, strict bool) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		if !isList(list) {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(list))
		dec.UseNumber()
		if strict {
			dec.DisallowUnknownFields()
		}
		_, _ = dec.Token() // the opening bracket
		for dec.More() {
			element := new(T)
			err := dec.Decode(&element)
			if !yield(element, notObject(err, element == nil)) {
				return
			}
		}
	}
}

// isList reports whether raw, which is JSON or empty, is a list.
func isList(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '[' }

// notObject returns what encoding/json has to say of a value that was to
// become a struct, but for fields of another type, which are left empty.
func notObject(err error, null bool) error {
	wrong := (*json.UnmarshalTypeError)(nil)
	switch {
	case null:
		return errors.New("null stands where an object belongs")
	case errors.As(err, &wrong) && wrong.Field == "":
		return fmt.Errorf("%s stands where an object belongs", wrong.Value)
	case err != nil && wrong == nil: // an unknown field
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

var nonNumbers = []string{"NaN", "Infinity", "-Infinity"}

// boxNonNumbers makes JSON of what some services write in place of a number
// that does not exist: NaN outside of text becomes ["NaN"] and so on, which is
// neither a number nor text, so that it costs one row and not the reply.
func boxNonNumbers(body []byte) []byte {
	var out []byte
	copied, inText := 0, false // body[:copied] is in out
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inText && c == '\\':
			i++ // the escaped character does not end the text
		case c == '"':
			inText = !inText
		case !inText && (c == 'N' || c == 'I' || c == '-'):
			for _, word := range nonNumbers {
				if bytes.HasPrefix(body[i:], []byte(word)) {
					out = append(out, body[copied:i]...)
					out = append(out, `["`+word+`"]`...)
					copied = i + len(word)
					i = copied - 1
					break
				}
			}
		}
	}
	return append(out, body[copied:]...)
}

var unboxed = strings.NewReplacer(`["NaN"]`, "NaN", `["Infinity"]`, "Infinity", `["-Infinity"]`, "-Infinity")

// shown returns the JSON of one field for a person, as it was sent.
func shown(raw json.RawMessage) string { return brief(asSent(raw)) }

// asSent returns the JSON of one field before numbers were put into boxes.
func asSent(raw json.RawMessage) string { return unboxed.Replace(string(raw)) }
