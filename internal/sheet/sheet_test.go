package sheet

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/human"
)

func sample() *Sheet {
	d := decimal.RequireFromString
	return &Sheet{Name: "channel", Title: "Channels", Columns: []Column{{"channel", "channel", Text}, {"n", "orders", Count}, {"cost", "cost", Amount}, {"share", "share", Percent}},
		Rows:  [][]Cell{{T("=SEO|<b>"), I(1940), N(d("104301.6149")), N(d("0.23449"))}, {T("idle"), I(0), None("nothing was spent"), N(d("-0.00001"))}},
		Total: []Cell{T("total"), I(1940), N(d("104301.6149")), None("")}, Notes: []string{"a note"}}
}

func TestPeopleReadRoundedNumbersAndMachinesExactOnes(t *testing.T) {
	t.Parallel()
	var text, csv, md strings.Builder
	require.NoError(t, sample().Text(&text))
	require.NoError(t, sample().CSV(&csv))
	require.NoError(t, sample().Markdown(&md))
	require.Equal(t, `Channels

    channel   orders         cost    share
   =SEO|<b>    1,940   104,301.61   23.4 %
       idle        0            –    0.0 %
      total    1,940   104,301.61        –

a note
`, text.String())
	require.Equal(t, "channel,n,cost,share\n'=SEO|<b>,1940,104301.6149,0.23449\nidle,0,,-0.00001\n", csv.String())
	require.Equal(t, `## Channels

| channel | orders | cost | share |
|---|---:|---:|---:|
| =SEO\|&lt;b> | 1,940 | 104,301.61 | 23.4 % |
| idle | 0 | – | 0.0 % |
| total | 1,940 | 104,301.61 | – |

a note
`, md.String())
	out, err := json.Marshal(sample())
	require.NoError(t, err)
	require.JSONEq(t, `{"name": "channel", "title": "Channels", "rows": [{"channel": "=SEO|<b>", "n": 1940, "cost": 104301.6149, "share": 0.23449},
		{"channel": "idle", "n": 0, "cost": null, "share": -0.00001}], "total": {"channel": "total", "n": 1940, "cost": 104301.6149, "share": null}, "notes": ["a note"]}`, string(out))
}

func wideSample() *Sheet {
	d := decimal.RequireFromString
	return &Sheet{Name: "day", Title: "Days", Columns: []Column{{"channel", "channel", Text}, {"day", "day", Date}, {"ihc", "conversions (ihc)", Amount}, {"share", "of final credit", Percent}},
		Rows: [][]Cell{{T("Paid Search 北京 one"), T("2023-09-01"), N(d("1.5")), N(d("1"))}, {T("Paid Search 北京 two"), T("2023-09-01"), N(d("2")), None("")},
			{T("Paid Search 北京 one"), T("2023-09-02"), N(d("12345.5")), N(d("0.5"))}},
		Total: []Cell{T("total"), T(""), N(d("12349")), None("")}, Notes: []string{"a note of some more words than there is room for"}}
}

func TestTextFitsItsWindow(t *testing.T) {
	t.Parallel()
	for cells, want := range map[int]string{
		0: `Days

                channel          day   conversions (ihc)   of final credit
   Paid Search 北京 one   2023-09-01                1.50           100.0 %
   Paid Search 北京 two   2023-09-01                2.00                 –
   Paid Search 北京 one   2023-09-02           12,345.50            50.0 %
                  total                        12,349.00                 –

a note of some more words than there is room for
`,
		56: `Days

                                 conversions of final
              channel        day       (ihc)   credit
 Paid Search 北京 one 2023-09-01        1.50  100.0 %
 Paid Search 北京 two 2023-09-01        2.00        –
 Paid Search 北京 one 2023-09-02   12,345.50   50.0 %
                total              12,349.00        –

a note of some more words than there is room for
`,
		40: `Days

                            conversions
         channel        day       (ihc)
 Paid Sea…京 one 2023-09-01        1.50
 Paid Sea…京 two 2023-09-01        2.00
 Paid Sea…京 one 2023-09-02   12,345.50
           total              12,349.00

left out, as the window is narrow: of
final credit; a wider one, or a file,
has all

a note of some more words than there is
room for
`,
	} {
		var text strings.Builder
		require.NoError(t, wideSample().TextIn(&text, cells))
		require.Equal(t, want, text.String(), cells)
	}
	for cells := 24; cells < 100; cells++ {
		var text strings.Builder
		require.NoError(t, wideSample().TextIn(&text, cells))
		for line := range strings.Lines(text.String()) {
			require.LessOrEqual(t, human.Width(strings.TrimSuffix(line, "\n")), cells, text.String())
		}
		require.Equal(t, strings.Contains(text.String(), "–"), !strings.Contains(text.String(), "left out"), text.String())
	}
}
