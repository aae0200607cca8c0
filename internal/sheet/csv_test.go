package sheet

import (
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

func TestCSVIsSpelledAsSpreadsheetsOfACountryReadIt(t *testing.T) {
	t.Parallel()
	s := sample()
	s.Rows = append(s.Rows, []Cell{T("1.5;=2"), I(-3), N(decimal.RequireFromString("-0.5")), None("")})
	for _, one := range []struct {
		delimiter, decimal string
		mark               bool
		want               string
	}{
		{"", "", false, "channel,n,cost,share\n'=SEO|<b>,1940,104301.6149,0.23449\nidle,0,,-0.00001\n1.5;'=2,-3,-0.5,\n"},
		{"", ",", true, "\ufeffchannel;n;cost;share\n'=SEO|<b>;1940;104301,6149;0,23449\nidle;0;;-0,00001\n\"1.5;'=2\";-3;-0,5;\n"},
		{"tab", "", false, "channel\tn\tcost\tshare\n'=SEO|<b>\t1940\t104301.6149\t0.23449\nidle\t0\t\t-0.00001\n1.5;'=2\t-3\t-0.5\t\n"},
	} {
		d, err := ParseDialect(one.delimiter, one.decimal, one.mark)
		require.NoError(t, err)
		var b strings.Builder
		require.NoError(t, s.CSVAs(&b, d))
		require.Equal(t, one.want, b.String())
	}
}

func TestCSVThatNobodyCouldReadIsRefused(t *testing.T) {
	t.Parallel()
	for _, one := range [][2]string{{",", ","}, {"|", ""}, {"", "x"}, {";;", ""}} {
		_, err := ParseDialect(one[0], one[1], false)
		require.Equal(t, errkind.Input, errkind.KindOf(err), one)
	}
}
