// Package strictjson reads JSON that people write, such as model parameters.
// It refuses what encoding/json lets pass (unknown names, names in another
// case, names given twice, nulls, text that is not UTF-8), because each is a
// slip of the pen that would change a result in silence.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Member is one name and value of a JSON object.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Members reads data as one JSON object and nothing after it, and returns its
// members in the order written. A name given twice is an error.
func Members(data []byte) ([]Member, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8 text")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // so that a number beyond float64 is JSON like any other
	open, err := dec.Token()
	if err != nil {
		return nil, notJSON(data)
	}
	if open != json.Delim('{') {
		return nil, fmt.Errorf("want an object {…}, have %s", Brief(data))
	}
	var all []Member
	seen := map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, notJSON(data)
		}
		m := Member{Name: name.(string)} // in an object, the token before a value is its name
		if err := dec.Decode(&m.Value); err != nil {
			return nil, notJSON(data)
		}
		if seen[m.Name] {
			return nil, fmt.Errorf("%q is given twice", m.Name)
		}
		seen[m.Name] = true
		all = append(all, m)
	}
	if _, err := dec.Token(); err != nil {
		return nil, notJSON(data)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the closing }")
	}
	return all, nil
}

// Field is one name an object may have, and a pointer to where its value goes.
type Field struct {
	Name     string
	Into     any
	Optional bool
}

// Object reads data as a JSON object of exactly these fields: an unknown name,
// a name given twice, a null and a missing required field are errors that say which.
func Object(data []byte, fields ...Field) error {
	given, err := Members(data)
	if err != nil {
		return err
	}
	for _, m := range given {
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == m.Name })
		if i < 0 {
			return fmt.Errorf("unknown field %q; known are %s", m.Name, names(fields))
		}
		if err := Value(m.Value, fields[i].Into); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	for _, f := range fields {
		if !f.Optional && !slices.ContainsFunc(given, func(m Member) bool { return m.Name == f.Name }) {
			return fmt.Errorf("field %q is missing", f.Name)
		}
	}
	return nil
}

// Value decodes one value, which may not be null, into what the pointer into points to.
func Value(raw json.RawMessage, into any) error {
	if string(bytes.TrimSpace(raw)) == "null" {
		return errors.New("is null; leave it out or give a value")
	}
	err := json.Unmarshal(raw, into)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return fmt.Errorf("a %s where a value of another type belongs (%s)", wrong.Value, Brief(raw))
	}
	return err
}

func names(fields []Field) string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = f.Name
	}
	return strings.Join(all, ", ")
}

func notJSON(data []byte) error { return fmt.Errorf("not JSON: %w", Syntax(data)) }

// Syntax says what keeps data from being one JSON value, and at which byte,
// counted from 1. It returns nil for JSON.
func Syntax(data []byte) error {
	var whole json.RawMessage
	var wrong *json.SyntaxError
	if err := json.Unmarshal(data, &whole); !errors.As(err, &wrong) {
		return err
	}
	if wrong.Error() == "unexpected end of JSON input" { // which has no type of its own
		return errors.New("it ends too early")
	}
	return fmt.Errorf("byte %d: %w", wrong.Offset, wrong)
}

// Brief returns the beginning of data on one line, to show what was found.
func Brief(data []byte) string {
	s := strings.Join(strings.Fields(string(data)), " ")
	if cut := 40; len(s) > cut {
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	if s == "" {
		return "nothing"
	}
	return s
}
