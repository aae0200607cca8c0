package sqlite

import (
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/ihc-pipeline/ihc/internal/human"
)

// seenOf returns what people see of a name, case aside: without spaces and what
// takes no room, and with one spelling for what Unicode can spell in several
// ways (NFKC).
func seenOf(name string) string {
	folded := strings.ToLower(norm.NFKC.String(name))
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Variation_Selector) {
			return -1
		}
		return r
	}, folded)
}

// apart quotes two different names that look alike so that they do not: by
// their letters where these differ in case or spaces, by their code points
// elsewhere, and from shortly before the difference if that is far into them.
func apart(a, b string) string {
	quote := human.QuoteText
	if plain(a) != plain(b) {
		quote = strconv.QuoteToASCII
	}
	if qa, qb := quote(a), quote(b); len(qa)+len(qb) <= mostApart && qa != qb {
		return qa + " and " + qb
	}
	const before = 10 // characters shown of what they have in common
	ra, rb := []rune(a), []rune(b)
	from := 0
	for from < min(len(ra), len(rb)) && ra[from] == rb[from] {
		from++
	}
	from = max(from-before, 0)
	part := func(r []rune) string {
		r = r[from:]
		quoted := strconv.QuoteToASCII(string(r[:min(len(r), 2*before)]))
		if from > 0 {
			quoted = "…" + quoted
		}
		if len(r) > 2*before {
			quoted += "…"
		}
		return quoted
	}
	return part(ra) + " and " + part(rb)
}

// mostApart is how many bytes two names may take together to be shown whole.
const mostApart = 160

// plain is a name without case and spaces.
func plain(name string) string { return strings.Join(strings.Fields(strings.ToLower(name)), "") }
