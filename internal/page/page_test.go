package page

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/sheet"
)

func written(t *testing.T, p *Page) string {
	t.Helper()
	var b, again bytes.Buffer
	require.NoError(t, p.Write(&b))
	require.NoError(t, p.Write(&again))
	require.Equal(t, b.String(), again.String(), "the same bytes every time")
	return b.String()
}

// What the policy allows by its hash is what is between the tags.
func TestPolicyIsOfTheStyleAndTheScriptThatArePresent(t *testing.T) {
	t.Parallel()
	html := written(t, &Page{Title: "A page"})
	for _, tag := range []string{"style", "script"} {
		found := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(html, -1)
		require.Len(t, found, 1)
		require.Contains(t, Policy, "'"+hash(found[0][1])+"'", tag)
	}
	require.NotRegexp(t, ` on[a-z]+=| style=|https?://`, html)
	require.LessOrEqual(t, len(script), 10_000, "the script only adds, and stays small")
}

func TestNamesAreTextWhateverTheySay(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", `" onload="x`, "{{.Policy}}", "\u202eabc", strings.Repeat("x", 2000)} {
		html := written(t, &Page{Title: name, Findings: []string{name}, Sections: []Section{{ID: "a", Title: name, Figures: []Figure{{ID: "f", Title: name,
			Rows:  &Rows{Head: []string{name}, Rows: []Row{{Name: name, Class: "c0", Cells: []Picture{{Text: name}}}}},
			Paths: []Path{{Count: "1", Steps: []Step{{Name: name}, {Gap: true}}}},
			Sheet: &sheet.Sheet{Name: "s", Title: name, Columns: []sheet.Column{{Name: "n", Title: name}}, Rows: [][]sheet.Cell{{sheet.T(name)}}}}}}}})
		require.Equal(t, 1, strings.Count(html, "<script"), name)
		require.NotContains(t, html, "<img", name)
		require.NotContains(t, html, `" onload="x`, name)
	}
}

func TestEmptyCellSaysWhy(t *testing.T) {
	t.Parallel()
	html := written(t, &Page{Sections: []Section{{ID: "a", Figures: []Figure{{ID: "f", Sheet: &sheet.Sheet{Name: "s", Columns: []sheet.Column{{Name: "n"}, {Name: "cpo", Kind: sheet.Amount}},
		Rows: [][]sheet.Cell{{sheet.T("a"), sheet.None("nothing was credited")}, {sheet.T("b"), sheet.N(decimal.New(1043016149, -4))}}}}}}}})
	require.Contains(t, html, `<td title="nothing was credited">–`)
	require.Contains(t, html, `<td>104,301.61`)
	require.Contains(t, html, "b,104301.6149\n")
}

func TestLongNamesKeepTheirEnds(t *testing.T) {
	t.Parallel()
	require.Equal(t, "(no name)", Name(""))
	long := Name("begin" + strings.Repeat("é", 500) + "end")
	require.LessOrEqual(t, len([]rune(long)), longestName+1)
	same := strings.Repeat("x", longestName)
	require.NotEqual(t, Name(same+"a"+same), Name(same+"b"+same))
	require.True(t, strings.HasPrefix(long, "begin") && strings.HasSuffix(long, "end"))
}

func TestNoLineEndsWithinADateOrAPercentage(t *testing.T) {
	t.Parallel()
	html := written(t, &Page{Title: "A page", Findings: []string{"<b> from 2023-08-01 to 2023-08-31: 1,234.5 % of all"}})
	require.Contains(t, html, `&lt;b&gt; from <span class="nb">2023-08-01</span> to <span class="nb">2023-08-31</span>: <span class="nb">1,234.5 %</span> of all`)
}

func TestCellLeadsToWhatItNames(t *testing.T) {
	t.Parallel()
	html := written(t, &Page{Sections: []Section{{ID: "a", Figures: []Figure{{ID: "f", Links: map[string]string{"conv_id": "/explain?conversion="},
		Sheet: &sheet.Sheet{Name: "s", Columns: []sheet.Column{{Name: "n"}, {Name: "conv_id"}}, Rows: [][]sheet.Cell{{sheet.T("a"), sheet.T(`"><i>&x`)}, {sheet.T("b"), sheet.T("")}}}}}}}})
	require.Contains(t, html, `<a href="/explain?conversion=%22%3E%3Ci%3E%26x"><bdi>&#34;&gt;&lt;i&gt;&amp;x</bdi></a>`)
	require.Equal(t, 1, strings.Count(html, "/explain?"), "nothing is nowhere")
}

// On a phone each row of a main table is a card, whose numbers need their names.
func TestNumbersOfAMainTableCarryTheirNames(t *testing.T) {
	t.Parallel()
	s := &sheet.Sheet{Name: "s", Columns: []sheet.Column{{Name: "n"}, {Name: "cpo", Title: `the "CPO"`, Kind: sheet.Amount}}, Rows: [][]sheet.Cell{{sheet.T("a"), sheet.I(1)}}}
	require.Contains(t, written(t, &Page{Sections: []Section{{Figures: []Figure{{Sheet: s, Open: true}}}}}), `<td data-of="the &#34;CPO&#34;">1.00`)
	require.NotContains(t, written(t, &Page{Sections: []Section{{Figures: []Figure{{Sheet: s}}}}}), `<td data-of`)
}

func TestPartsAreThereAlsoAfterAPageWasWritten(t *testing.T) {
	t.Parallel()
	written(t, &Page{Title: "A page"})
	require.NotNil(t, Parts().Lookup("figure"))
}
