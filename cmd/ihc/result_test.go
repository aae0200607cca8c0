package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChannelTableIsStraightAndObeysNoName(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "channel_reporting.csv")
	require.NoError(t, os.WriteFile(path, []byte("channel_name,date,cost,ihc,ihc_revenue,CPO,ROAS\n"+
		"検索広告,2023-09-01,1,2,30,0.5,30\n"+
		"検索広告,2023-09-02,1,1,10,1,10\n"+
		"red \x1b[31m,2023-09-01,0,1,20,,\n"+
		"campaign of the summer of 2023 in all of the south,2023-09-02,4,0,0,,0\n"), 0o600))
	var b strings.Builder
	require.NoError(t, printChannels(&b, path))
	require.Equal(t, `Channels, sessions from 2023-09-01 to 2023-09-02

                                    channel   cost   conversions (ihc)   revenue (ihc)    CPO    ROAS
                                   検索広告   2.00                3.00           40.00   0.67   20.00
                               red \x1b[31m   0.00                1.00           20.00   0.00       –
   campaign of the summ…in all of the south   4.00                0.00            0.00      –    0.00
                                      total   6.00                4.00           60.00   1.50   10.00
`, b.String())
}
