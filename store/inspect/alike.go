package inspect

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
		if unicode.IsSpace(r) || r == '\u2800' || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			return -1
		}
		return r
	}, folded)
}

// shapeOf returns the same with the Latin letter for the Cyrillic and Greek ones
// that have its shape, which depends on the case.
func shapeOf(name string) string { return seenOf(sameShape.Replace(name)) }

// alike returns those of some names that look like another, and two of them,
// apart.
func alike(names []string) (all map[string]bool, example string) {
	all = map[string]bool{}
	for _, looks := range []func(string) string{seenOf, shapeOf} {
		first := map[string]string{}
		for _, name := range names {
			key := looks(name)
			was, there := first[key]
			if !there {
				first[key] = name
				continue
			}
			if example == "" {
				example = Apart(was, name)
			}
			all[was], all[name] = true, true
		}
	}
	return all, example
}

// sameShape has the letters of other alphabets that most fonts draw as Latin ones
// (https://www.unicode.org/reports/tr39/), and hyphens and quotes by their plain
// form.
var sameShape = strings.NewReplacer(
	"А", "A", "В", "B", "Е", "E", "З", "3", "І", "I", "Ј", "J", "К", "K", "М", "M", "Н", "H", "О", "O", "Р", "P", "С", "C", "Ѕ", "S", "Т", "T", "У", "Y", "Х", "X",
	"а", "a", "е", "e", "і", "i", "ј", "j", "о", "o", "р", "p", "с", "c", "ѕ", "s", "у", "y", "х", "x", "ԁ", "d", "һ", "h", "ԛ", "q", "ԝ", "w",
	"Α", "A", "Β", "B", "Ε", "E", "Ζ", "Z", "Η", "H", "Ι", "I", "Κ", "K", "Μ", "M", "Ν", "N", "Ο", "O", "Ρ", "P", "Τ", "T", "Υ", "Y", "Χ", "X", "ο", "o", "ν", "v",
	"\u2010", "-", "\u2011", "-", "\u2012", "-", "\u2013", "-", "\u2212", "-", "\u2018", "'", "\u2019", "'", "\u201c", `"`, "\u201d", `"`)

// Apart quotes two different names that look alike so that they do not: by
// their letters where these differ in case or spaces, by their code points
// elsewhere, and from shortly before the difference if that is far into them.
func Apart(a, b string) string {
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
