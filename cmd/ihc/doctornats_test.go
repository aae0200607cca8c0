package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

func TestDoctorSaysWhenCertificatesRunOut(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	server := stream.Expiry{Of: "the server's certificate", Until: now.Add(300 * 24 * time.Hour)}
	for name, c := range map[string]struct {
		until time.Time
		state string
		says  string
	}{
		"good for long":  {now.Add(31 * 24 * time.Hour), stateOK, "the server's certificate is good until 2027-09-22 12:00 UTC; the client's certificate is good until 2026-12-27 12:00 UTC"},
		"runs out soon":  {now.Add(5*24*time.Hour + time.Minute), stateSoon, "the client's certificate runs out in 5 days, on 2026-12-01 12:01 UTC; the server's certificate is good until 2027-09-22 12:00 UTC: renew it before"},
		"runs out today": {now.Add(time.Hour), stateSoon, "the client's certificate runs out in 0 days, on 2026-11-26 13:00 UTC; the server's certificate is good until 2027-09-22 12:00 UTC: renew it before"},
		"has run out":    {now.Add(-time.Minute), stateWrong, "the client's certificate has run out on 2026-11-26 11:59 UTC; the server's certificate is good until 2027-09-22 12:00 UTC: renew what has run out"},
	} {
		got := expiring([]stream.Expiry{server, {Of: "the client's certificate", Until: c.until}}, now)
		require.Equal(t, c.state, got.State, name)
		require.Equal(t, c.says, got.Says, name)
		require.Equal(t, c.state == stateWrong, got.err != nil, name)
		if got.err != nil {
			require.Equal(t, errkind.Environment, errkind.KindOf(got.err))
		}
	}
}
