package tabular

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Encodings are the names of the encodings of text.
var Encodings = []string{"utf-8", "utf-16le", "utf-16be", "windows-1252", "iso-8859-1", "iso-8859-15"}

var decoders = map[string]encoding.Encoding{
	"utf-16le":     unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM),
	"utf-16be":     unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM),
	"windows-1252": charmap.Windows1252,
	"iso-8859-1":   charmap.ISO8859_1,
	"iso-8859-15":  charmap.ISO8859_15,
}

// seen is how much of a text is looked at to find out how it is written.
const seen = 256 << 10

// decoded returns the text in UTF-8 without a byte order mark, and the name of
// its encoding, which is found out where none is given.
func decoded(r io.Reader, given string) (text *bufio.Reader, name string, err error) {
	raw := bufio.NewReaderSize(r, seen)
	head, err := raw.Peek(seen)
	if err != nil && err != io.EOF {
		return nil, "", err
	}
	name = strings.ToLower(given)
	switch name {
	case "":
		name = encodingOf(head)
	case "utf8":
		name = "utf-8"
	case "cp1252", "latin1":
		name = map[string]string{"cp1252": "windows-1252", "latin1": "iso-8859-1"}[name]
	}
	for _, mark := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(head, []byte(mark)) && (name == "utf-8") == (mark[0] == 0xef) && (name == "utf-8" || strings.HasPrefix(name, "utf-16")) {
			_, _ = raw.Discard(len(mark))
		}
	}
	if name == "utf-8" {
		return withLines(raw), name, nil
	}
	decoder, known := decoders[name]
	if !known {
		return nil, "", errkind.Inputf("--encoding %q is not known: choose %s", given, strings.Join(Encodings, ", "))
	}
	return withLines(bufio.NewReaderSize(decoder.NewDecoder().Reader(raw), seen)), name, nil
}

// withLines returns a text with lines that end in \n, where all end in \r, as
// spreadsheets write for "Macintosh": it would be one line otherwise.
func withLines(text *bufio.Reader) *bufio.Reader {
	head, _ := text.Peek(seen)
	if bytes.IndexByte(head, '\n') >= 0 || bytes.IndexByte(head, '\r') < 0 {
		return text
	}
	return bufio.NewReaderSize(transform.NewReader(text, runes.Map(func(r rune) rune {
		if r == '\r' {
			return '\n'
		}
		return r
	})), seen)
}

// encodingOf looks at the beginning of a text: its byte order mark, then the
// zeros of UTF-16, then whether it is good UTF-8. What is none of these is taken
// for Windows-1252, as spreadsheets write.
func encodingOf(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		return "utf-16le"
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return "utf-16be"
	}
	var zeros [2]int
	start := head[:min(len(head), 4096)]
	for i, b := range start {
		if b == 0 {
			zeros[i%2]++
		}
	}
	switch few := len(start) / 8; {
	case zeros[1] > few && zeros[0] <= few:
		return "utf-16le"
	case zeros[0] > few && zeros[1] <= few:
		return "utf-16be"
	}
	if len(head) == seen { // the last character may be cut
		for i := 0; i < utf8.UTFMax && len(head) > 0 && !utf8.Valid(head); i++ {
			head = head[:len(head)-1]
		}
	}
	if utf8.Valid(head) {
		return "utf-8"
	}
	return "windows-1252"
}
