package ihcapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// scanner walks over JSON text without copying it: encoding/json takes four
// times as long for a reply of the paid plan's size, which would show in the
// time a run takes. It holds to the grammar, with one addition: NaN, Infinity
// and -Infinity, which some services write, are values too, so that one such
// number costs one row and not the reply.
type scanner struct {
	data []byte
	pos  int
}

// maxDepth bounds nesting; the contract's deepest is 3.
const maxDepth = 100

var errTooEarly = errors.New("it ends too early")

// space moves to the next byte that is not white space, and returns it; 0 at the end.
func (s *scanner) space() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// unexpected says what stands where something else should.
func (s *scanner) unexpected(want string) error {
	if s.pos >= len(s.data) {
		return errTooEarly
	}
	return fmt.Errorf("byte %d is %q where %s belongs", s.pos+1, s.data[s.pos], want)
}

// end checks that nothing but white space is left.
func (s *scanner) end() error {
	if s.space(); s.pos < len(s.data) {
		return s.unexpected("the end")
	}
	return nil
}

// object reads an object, calling member for each name; member reads the value.
func (s *scanner) object(member func(name []byte) error) error {
	return s.list('{', '}', func() error {
		if s.space() != '"' {
			return s.unexpected("a name in quotes")
		}
		name, err := s.str()
		if err != nil {
			return err
		}
		if s.space() != ':' {
			return s.unexpected("a colon")
		}
		s.pos++
		if bytes.IndexByte(name, '\\') >= 0 {
			text, _ := name.text()
			return member([]byte(text))
		}
		return member(name[1 : len(name)-1])
	})
}

// array reads an array, calling element before each of its values to read it.
func (s *scanner) array(element func() error) error { return s.list('[', ']', element) }

func (s *scanner) list(open, closing byte, item func() error) error {
	if s.space() != open {
		return s.unexpected(string(open))
	}
	s.pos++
	if s.space() == closing {
		s.pos++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch s.space() {
		case ',':
			s.pos++
		case closing:
			s.pos++
			return nil
		default:
			return s.unexpected("a comma or " + string(closing))
		}
	}
}

// value reads any value and returns its text, a part of the data.
func (s *scanner) value() (loose, error) { return s.nested(maxDepth) }

func (s *scanner) nested(depth int) (loose, error) {
	c := s.space()
	start := s.pos
	var err error
	switch c {
	case '"':
		return s.str()
	case '{', '[':
		if depth == 0 {
			return nil, fmt.Errorf("nested deeper than %d", maxDepth)
		}
		inner := func() error { _, err := s.nested(depth - 1); return err }
		if c == '[' {
			err = s.array(inner)
		} else {
			err = s.object(func([]byte) error { return inner() })
		}
	default:
		err = s.scalar()
	}
	return s.data[start:s.pos], err
}

// str reads a string and returns it with its quotes and escapes.
func (s *scanner) str() (loose, error) {
	start := s.pos
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start:s.pos], nil
		case c < ' ':
			return nil, s.unexpected("text without control characters")
		case c == '\\':
			s.pos++
			if s.pos >= len(s.data) {
				return nil, errTooEarly
			}
			switch s.data[s.pos] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if s.pos++; s.pos >= len(s.data) || !isHex(s.data[s.pos]) {
						return nil, s.unexpected("a hexadecimal digit")
					}
				}
			default:
				return nil, s.unexpected("an escape")
			}
		}
	}
	return nil, errTooEarly
}

// scalar reads a number, a literal, or one of the three that are not JSON.
func (s *scanner) scalar() error {
	for _, word := range []string{"true", "false", "null", "NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
			s.pos += len(word)
			return nil
		}
	}
	if s.is('-') {
		s.pos++
	}
	if s.is('0') {
		s.pos++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.is('.') {
		s.pos++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.is('e') || s.is('E') {
		s.pos++
		if s.is('+') || s.is('-') {
			s.pos++
		}
		return s.digits()
	}
	return nil
}

func (s *scanner) is(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }

// digits reads one digit or more.
func (s *scanner) digits() error {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		s.pos++
	}
	if s.pos == start {
		return s.unexpected("a value")
	}
	return nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// loose is the text of a JSON value of any type, a part of the body it was
// read from. It lets one bad field be told from one bad body.
type loose []byte

// given reports whether the field was there, and not null.
func (l loose) given() bool { return len(l) > 0 && string(l) != "null" }

// text returns the value if it is a string.
func (l loose) text() (s string, ok bool) {
	if len(l) < 2 || l[0] != '"' {
		return "", false
	}
	if inner := l[1 : len(l)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner), true
	}
	return s, json.Unmarshal(l, &s) == nil
}

// textLike returns the value if it is a string, sharing the memory of the one
// before where they are the same, as in the rows of one conversion.
func (l loose) textLike(before string) (s string, ok bool) {
	if n := len(l); n == len(before)+2 && n > 2 && l[0] == '"' && string(l[1:n-1]) == before && bytes.IndexByte(l, '\\') < 0 && utf8.ValidString(before) {
		return before, true
	}
	return l.text()
}

// flag returns the value if it is 0 or 1.
func (l loose) flag() (set, ok bool) {
	return len(l) == 1 && l[0] == '1', len(l) == 1 && (l[0] == '0' || l[0] == '1')
}

// small returns the value if it is a whole number below a million, else 0.
func (l loose) small() int {
	n := 0
	if len(l) > 6 {
		return 0
	}
	for _, c := range l {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}
