package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func TestChannelsAreSumsWithRatiosOfSums(t *testing.T) {
	t.Parallel()
	var r ihcv1.Report
	SumChannels(&r, []Row{
		{"SEO", "2023-09-01", 0, 0.1, 10},
		{"=SUM(A1)", "2023-09-02", 0.1, 0, 0},
		{"Mail", "2023-09-02", 1, 3, 10.3},
		{"SEO", "2023-09-03", 0, 0.2, 0.3},
	})
	require.Equal(t, []any{uint64(3), "2023-09-01", "2023-09-03"}, []any{r.GetChannelCount(), r.GetFirstDate(), r.GetLastDate()})
	for i, want := range []*ihcv1.ChannelTotal{
		{Channel: "Mail", Cost: "1", Ihc: "3", IhcRevenue: "10.3", Cpo: "0.3333333333333333", Roas: "10.3"},
		{Channel: "SEO", Cost: "0", Ihc: "0.3", IhcRevenue: "10.3", Cpo: "0"}, // of the same revenue, so by name
		{Channel: "=SUM(A1)", Cost: "0.1", Ihc: "0", IhcRevenue: "0", Roas: "0"},
	} {
		require.True(t, proto.Equal(want, r.GetChannels()[i]), r.GetChannels()[i])
	}
	require.True(t, proto.Equal(&ihcv1.ChannelTotal{Cost: "1.1", Ihc: "3.3", IhcRevenue: "20.6", Cpo: "0.3333333333333333", Roas: "18.7272727272727273"}, r.GetTotal()), r.GetTotal())
}

func TestEmptyReportHasATotalOfNothing(t *testing.T) {
	t.Parallel()
	var r ihcv1.Report
	SumChannels(&r, nil)
	require.Empty(t, r.GetChannels())
	require.True(t, proto.Equal(&ihcv1.ChannelTotal{Cost: "0", Ihc: "0", IhcRevenue: "0"}, r.GetTotal()))
}

// However many channels there are and however they are named, the report can
// still be published, and its total is of all of them.
func TestReportOfManyChannelsFitsInAMessage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.IntRange(1, 2000).Draw(t, "length")
		n := rapid.IntRange(1, 3000).Draw(t, "channels")
		rows := make([]Row, n)
		for i := range rows {
			rows[i] = Row{fmt.Sprintf("%0*d", length, i) + strings.Repeat("x", 8), "2023-09-01", 1, 1, float64(i)}
		}
		var r ihcv1.Report
		SumChannels(&r, rows)
		require.Less(t, proto.Size(&r), 300<<10)
		require.Equal(t, fmt.Sprint(n), r.GetTotal().GetCost())
	})
}
