package ihcapi

import (
	"net/url"
	"strings"
)

// shortKey is the length below which a key may well be a word, or part of one,
// that means something else: "sandbox", the name of a host.
const shortKey = 16 // bytes

// redactor takes a key out of texts: a service may well quote in its reply what
// it was sent.
type redactor struct{ forms []string }

// newRedactor knows a key as it is, and as it is written in URLs and in JSON.
func newRedactor(key string) redactor {
	forms := []string{key}
	for _, form := range []string{url.QueryEscape(key), url.PathEscape(key), strings.ReplaceAll(key, "/", `\/`)} {
		if form != key {
			forms = append(forms, form)
		}
	}
	return redactor{forms}
}

// redact puts "[key]" in the key's place. A long key is replaced wherever it
// stands, a short one as a word of its own that is no host's name.
func (r redactor) redact(text string) string {
	for _, form := range r.forms {
		if len(r.forms[0]) >= shortKey {
			text = strings.ReplaceAll(text, form, "[key]")
		} else {
			text = replaceWord(text, form)
		}
	}
	return text
}

// replaceWord replaces word where it does not continue, and is not continued
// by, another one or a host's name.
func replaceWord(text, word string) string {
	var b strings.Builder
	rest := 0 // begin of what is not written yet
	for from := 0; ; {
		at := strings.Index(text[from:], word)
		if at < 0 {
			b.WriteString(text[rest:])
			return b.String()
		}
		at += from
		end := at + len(word)
		if continues(text[:at]) || continued(text[end:]) {
			from = at + 1
			continue
		}
		b.WriteString(text[rest:at])
		b.WriteString("[key]")
		rest, from = end, end
	}
}

// continues tells whether what follows before goes on with a word or with the
// address of a host: "a", "www.", "http://", "user@".
func continues(before string) bool {
	n := len(before)
	switch {
	case n == 0:
		return false
	case before[n-1] == '.' || before[n-1] == '-':
		return n > 1 && inWord(before[n-2])
	default:
		return inWord(before[n-1]) || before[n-1] == '@' || strings.HasSuffix(before, "://")
	}
}

// continued tells whether after goes on with the word before it: "s", ".com",
// "-x", ":8088".
func continued(after string) bool {
	if after == "" {
		return false
	}
	switch c := after[0]; c {
	case '.', '-':
		return len(after) > 1 && inWord(after[1])
	case ':':
		return len(after) > 1 && after[1] >= '0' && after[1] <= '9'
	default:
		return inWord(c)
	}
}

// inWord says whether words are made of c. Bytes of letters that are not ASCII
// count as such.
func inWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
