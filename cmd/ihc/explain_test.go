package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/report"
)

// In a narrow window the sessions go, and not parts of what is looked up next.
func TestConversionsOfACellAreWholeInANarrowWindow(t *testing.T) {
	t.Parallel()
	const id = "ba0b65e2-cb54-4923-91a0-70b04f97baf7"
	s := report.CellSheet(&store.Cell{Channel: "crm", Date: "2021-07-20", Count: 1, Sessions: 2,
		Credits: []store.CellCredit{{Session: "2021-07-20_0001__a6299388-087e-02fd-3ad4-4513db7e2153", SessionTime: "2021-07-20 08:02:26", Conversion: id, ConversionTime: "2021-07-20 14:49:39"}}})
	withoutSessions(s)
	var text bytes.Buffer
	require.NoError(t, s.TextIn(&text, 79))
	require.Contains(t, text.String(), id+" 2021-07-20 14:49:39")
	require.Contains(t, text.String(), "--json has them")
	require.NotContains(t, text.String(), "left out")
}
