package ihcmodel

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

// member is one name and value of a JSON object, in the order written.
type member struct {
	name  string
	value json.RawMessage
}

// members reads data as one JSON object and nothing after it. It refuses what
// encoding/json lets pass: a name given twice, and text that is not UTF-8.
func members(data []byte) ([]member, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8 text")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	open, err := dec.Token()
	if err != nil {
		return nil, notJSON(err)
	}
	if open != json.Delim('{') {
		return nil, fmt.Errorf("want an object {…}, have %s", brief(data))
	}
	var all []member
	seen := map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		m := member{name: name.(string)} // in an object, the token before a value is its name
		if err := dec.Decode(&m.value); err != nil {
			return nil, notJSON(err)
		}
		if seen[m.name] {
			return nil, fmt.Errorf("%q is given twice", m.name)
		}
		seen[m.name] = true
		all = append(all, m)
	}
	if _, err := dec.Token(); err != nil {
		return nil, notJSON(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the closing }")
	}
	return all, nil
}

// field is one name an object may have, and where its value goes.
type field struct {
	name     string
	into     any
	optional bool
}

// readFields reads data as a JSON object of exactly these fields: an unknown
// name, a name given twice, a null and a missing required field are errors that say which.
func readFields(data []byte, fields ...field) error {
	given, err := members(data)
	if err != nil {
		return err
	}
	for _, m := range given {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.name })
		if i < 0 {
			return fmt.Errorf("unknown field %q; known are %s", m.name, fieldNames(fields))
		}
		if err := readValue(m.value, fields[i].into); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	for _, f := range fields {
		if !f.optional && !slices.ContainsFunc(given, func(m member) bool { return m.name == f.name }) {
			return fmt.Errorf("field %q is missing", f.name)
		}
	}
	return nil
}

// readValue decodes one value, which may not be null.
func readValue(raw json.RawMessage, into any) error {
	if string(bytes.TrimSpace(raw)) == "null" {
		return errors.New("is null; leave it out or give a value")
	}
	err := json.Unmarshal(raw, into)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return fmt.Errorf("a %s where a value of another type belongs (%s)", wrong.Value, brief(raw))
	}
	return err
}

func fieldNames(fields []field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

func notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not JSON: it ends too early")
	}
	return fmt.Errorf("not JSON: %w", err)
}

// brief returns the beginning of data on one line, to show what was found.
func brief(data []byte) string {
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
