package console

import (
	"html/template"
	"io/fs"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/page"
	"github.com/ihc-pipeline/ihc/internal/sheet"
)

// A page of the name of a part would take its place in every figure.
func TestNoPageHasTheNameOfAPartOfTheReport(t *testing.T) {
	t.Parallel()
	parts := page.Parts()
	defined := regexp.MustCompile(`\{\{define "([^"]+)"`)
	names, err := fs.Glob(assets, "assets/*.html")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		text, err := fs.ReadFile(assets, name)
		require.NoError(t, err)
		for _, found := range defined.FindAllSubmatch(text, -1) {
			require.Nil(t, parts.Lookup(string(found[1])), "%s defines %s", name, found[1])
		}
	}
}

func TestACellIsExplainedByItsTable(t *testing.T) {
	t.Parallel()
	figure := &page.Figure{Sheet: &sheet.Sheet{Name: "cell", Title: "Conversions of a channel and day", Columns: []sheet.Column{{Name: "conv_id", Title: "conversion"}},
		Rows: [][]sheet.Cell{{sheet.T("<b>one</b>")}}}}
	var out strings.Builder
	require.NoError(t, templates.ExecuteTemplate(&out, "explain", view{Title: "Explain", Cell: figure, Form: url.Values{}}))
	require.Contains(t, out.String(), "Conversions of a channel and day")
	require.Contains(t, out.String(), template.HTMLEscapeString("<b>one</b>"))
	require.NotContains(t, out.String(), "<b>one")
}
