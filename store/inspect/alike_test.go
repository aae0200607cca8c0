package inspect

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestNamesThatLookAlikeAreTheSameToTheEye(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"Paid Search", "paid search", "PaidSearch ", " paid\u00a0search", "paid\u200bsearch", "\ufeffpaid search", "paid\u00adsearch", "ｐａｉｄ search"},
		{"café", "cafe\u0301", "CAFÉ", "caf\u00e9\u200d"},
		{"новости", "НОВОСТИ", "новости\u200b"},
		{"☎", "☎\ufe0f"},
		{"Facebook", "Fаcebооk", "FACEBOOK", "face\u2800book", "face\u3164book"},
		{"SEO", "ЅЕО", "SΕΟ"},
		{"e-mail", "e\u2010mail", "e\u2013mail"},
	} {
		for _, name := range same[1:] {
			found, _ := alike([]string{same[0], "another", name})
			require.Equal(t, map[string]bool{same[0]: true, name: true}, found, "%+q", name)
		}
	}
	require.NotEqual(t, seenOf("cafe"), seenOf("café"))
	require.NotEqual(t, seenOf("SEO"), seenOf("SEA"))
}

func TestTheDifferenceBetweenTwoNamesShows(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	for _, c := range []struct{ a, b, want string }{
		{"Paid Search", "paid search", `"Paid Search" and "paid search"`},
		{"Café", "café", `"Café" and "café"`},
		{"caf\u00e9", "cafe\u0301", `"caf\u00e9" and "cafe\u0301"`},
		{"seo", "s\u200beo", `"seo" and "s\u200beo"`},
		{long, long + " ", `…"xxxxxxxxxx" and …"xxxxxxxxxx "`},
	} {
		require.Equal(t, c.want, Apart(c.a, c.b))
	}
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.String().Draw(t, "a")
		b := a + rapid.SampledFrom([]string{" ", "\u200b", "\u0301", "\n", "\u00a0"}).Draw(t, "more")
		first, second, ok := strings.Cut(Apart(a, b), " and ")
		for ok && strings.Contains(second, " and ") { // in a name
			return
		}
		require.True(t, ok)
		require.NotEqual(t, first, second)
	})
}
