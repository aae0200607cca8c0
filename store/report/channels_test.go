package report

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

func TestChannelsAreSumsWithRatiosOfSums(t *testing.T) {
	t.Parallel()
	var r ihcv1.Report
	SumChannels(&r, []store.Row{
		{Channel: "SEO", Date: "2023-09-01", IHC: 0.1, IHCRevenue: 10},
		{Channel: "=SUM(A1)", Date: "2023-09-02", Cost: 0.1},
		{Channel: "Mail", Date: "2023-09-02", Cost: 1, IHC: 3, IHCRevenue: 10.3},
		{Channel: "SEO", Date: "2023-09-03", IHC: 0.2, IHCRevenue: 0.3},
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
		rows := make([]store.Row, n)
		for i := range rows {
			rows[i] = store.Row{Channel: fmt.Sprintf("%0*d", length, i), Date: "2023-09-01", Cost: 1, IHC: 1, IHCRevenue: float64(i)}
		}
		var r ihcv1.Report
		SumChannels(&r, rows)
		require.Less(t, proto.Size(&r), 300<<10)
		require.Equal(t, fmt.Sprint(n), r.GetTotal().GetCost())
	})
}
