package sheet

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
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
