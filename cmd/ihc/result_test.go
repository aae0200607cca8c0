package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ops"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// What is printed comes with the report, wherever its files are.
func TestReportOfAnotherMachineIsPrintedWhole(t *testing.T) {
	t.Parallel()
	r := &ihcv1.Report{Csv: "/on/another/machine.csv", FirstDate: "2023-09-01", LastDate: "2023-09-30", ChannelCount: 40,
		Total:  &ihcv1.ChannelTotal{Cost: "12.345", Ihc: "2", IhcRevenue: "100", Cpo: "6.1725", Roas: "8.1004455245038477"},
		Counts: &ihcv1.Counts{InRange: 5, Attributed: 2, Excluded: 1, WithoutSessions: 2}}
	for i := range 35 {
		r.Channels = append(r.Channels, &ihcv1.ChannelTotal{Channel: fmt.Sprintf("channel %d", i), Cost: "0", Ihc: "0.5", IhcRevenue: "1", Cpo: "0"})
	}
	var out bytes.Buffer
	printReport(&out, r, time.Second)
	text := strings.Join(strings.Fields(out.String()), " ")
	require.Contains(t, text, "Channels, sessions from 2023-09-01 to 2023-09-30")
	require.Contains(t, text, `channel 0 0.00 0.50 1.00 0.00 –`)
	require.Contains(t, text, "channel 29 ")
	require.NotContains(t, text, "channel 30")
	require.Contains(t, text, "(10 more)")
	require.Contains(t, text, "total 12.35 2.00 100.00 6.17 8.10")
	require.Contains(t, text, "5 conversions in range: 2 attributed, 1 excluded, 2 without sessions")

	out.Reset()
	printReport(&out, &ihcv1.Report{}, time.Second)
	require.NotContains(t, out.String(), "Channels", "of a reporter that added none up")
}

func TestConclusions(t *testing.T) {
	t.Parallel()
	broken := []*ihcv1.Equation{{Holds: true, Left: "1", Right: "1"}, {Description: "a = b", Left: "1", Right: "2"}}
	for name, c := range map[string]struct {
		end    ending
		status run.Status
		code   int
		says   string
	}{
		"sound":        {ending{report: &ihcv1.Report{RunId: "a"}}, run.StatusCompleted, 0, ""},
		"failures":     {ending{report: &ihcv1.Report{RunId: "a", Counts: &ihcv1.Counts{InRange: 2, Failed: 1}}}, run.StatusPartly, 1, "1 of 2 conversions failed"},
		"unreconciled": {ending{report: &ihcv1.Report{RunId: "a", Reconciliation: broken}}, run.StatusUnreconciled, 1, "the reconciliation does not hold: a = b: 1 ≠ 2"},
		"superseded": {ending{id: "a", err: &ops.StateError{Run: "a", Status: run.StatusSuperseded, Err: errors.New("changed")}},
			run.StatusSuperseded, 1, "changed"},
		"no stack": {ending{id: "a", err: errkind.Environmentf("away")}, run.StatusFailed, 3, "away"},
	} {
		var out bytes.Buffer
		err := conclude(&out, c.end, true)
		require.Equal(t, c.code, errkind.ExitCode(err), name)
		r := decoded[run.Result](t, out.String())
		require.Equal(t, []any{"a", c.status}, []any{r.RunID, r.Status}, name)
		require.Contains(t, r.Error, c.says, name)
		require.Contains(t, out.String(), `"without_sessions": 0`, name)
	}
}

func TestChannelTableIsStraightAndObeysNoName(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	printChannels(&b, &ihcv1.Report{FirstDate: "2023-09-01", LastDate: "2023-09-02", ChannelCount: 3, Channels: []*ihcv1.ChannelTotal{
		{Channel: "検索広告", Cost: "2", Ihc: "3", IhcRevenue: "40", Cpo: "0.6666666666666667", Roas: "20"},
		{Channel: "red \x1b[31m", Cost: "0", Ihc: "1", IhcRevenue: "20", Cpo: "0"},
		{Channel: "campaign of the summer of 2023 in all of the south", Cost: "4", Ihc: "0", IhcRevenue: "0", Roas: "0"},
	}, Total: &ihcv1.ChannelTotal{Cost: "6", Ihc: "4", IhcRevenue: "60", Cpo: "1.5", Roas: "10"}})
	require.Equal(t, `Channels, sessions from 2023-09-01 to 2023-09-02

                                    channel   cost   conversions (ihc)   revenue (ihc)    CPO    ROAS
                                   検索広告   2.00                3.00           40.00   0.67   20.00
                               red \x1b[31m   0.00                1.00           20.00   0.00       –
   campaign of the summ…in all of the south   4.00                0.00            0.00      –    0.00
                                      total   6.00                4.00           60.00   1.50   10.00
`, b.String())
}

func TestDatedReportHasItsBridgeAndRevenue(t *testing.T) {
	t.Parallel()
	r := &ihcv1.Report{Request: &ihcv1.RunRequest{StartDate: "2023-09-01", EndDate: "2023-09-30"}, FirstDate: "2023-09-01", LastDate: "2023-09-29",
		Total:   &ihcv1.ChannelTotal{Cost: "1", Ihc: "2", IhcRevenue: "3"},
		Counts:  &ihcv1.Counts{InRange: 4, Attributed: 2, Failed: 1, WithoutSessions: 1},
		Revenue: &ihcv1.Revenue{InRange: "100", Attributed: "40", Unattributed: "60"},
		Reasons: []*ihcv1.ReasonCount{{Kind: ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, Conversions: 1, Revenue: "10"}, {Kind: ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS, Conversions: 1, Revenue: "45.5"}},
		Bridge:  &ihcv1.Bridge{Elsewhere: &ihcv1.Credit{Ihc: "0.25", IhcRevenue: "7"}, FromOthers: &ihcv1.Credit{Ihc: "1.5", IhcRevenue: "8"}, NeverAttributed: 1234},
	}
	var out bytes.Buffer
	printReport(&out, r, time.Second)
	for _, line := range []string{
		"conversions of these dates gave 0.25 conversions (ihc), 7.00 revenue (ihc) to earlier sessions\n",
		"conversions of other dates gave 1.50 conversions (ihc), 8.00 revenue (ihc) to these sessions\n",
		"were never attributed: 1,234\n",
		"100.00 revenue in range: 40.00 attributed, 10.00 failed, 45.50 without sessions, 4.50 not attributed for other reasons\n",
	} {
		require.Contains(t, out.String(), line)
	}
	j := summary(ending{report: r})
	require.Equal(t, &run.ResultBridge{Elsewhere: run.ResultCredit{IHC: "0.25", IHCRevenue: "7"}, FromOthers: run.ResultCredit{IHC: "1.5", IHCRevenue: "8"}, NeverAttributed: 1234}, j.Bridge)
	require.Equal(t, run.ResultRevenue{InRange: "100", Attributed: "40", Unattributed: "60"}, j.Revenue)

	r.Counts = nil
	out.Reset()
	printReport(&out, r, time.Second)
	require.Equal(t, "no conversions from 2023-09-01 to 2023-09-30: there is nothing to report\n", out.String())
}
