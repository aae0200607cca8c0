package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// Whatever is written, a link that somebody planted at its name, or at the name it
// has until it is whole, is not followed.
func TestNoFileIsWrittenThroughALink(t *testing.T) {
	for _, name := range []string{"NATS_URL", "IHC_DB", "IHC_API_KEY", "IHC_OUT"} {
		t.Setenv(name, "")
	}
	const own = "what is of another"
	rows := "session_id,user_id,event_date,event_time,channel_name\ns,u,2023-01-01,10:00:00,SEO\nt,u,wrong,wrong,SEO\n"
	t.Chdir(t.TempDir())
	_, err := sqlite.GenerateShop(t.Context(), "shop.db", shop.Config{Sessions: 300}, false)
	require.NoError(t, err)
	_, log, err := separately(t, newRunCmd(), "--db", "shop.db", "--model", "builtin")
	require.NoError(t, err, log)
	require.NoError(t, os.WriteFile("visits.csv", []byte(rows), 0o600))
	require.NoError(t, os.WriteFile("orders.csv", []byte("conv_id,user_id,conv_date,conv_time,revenue\nc,u,2023-01-02,10:00:00,1\n"), 0o600))
	require.NoError(t, os.WriteFile("victim", []byte(own), 0o600))
	victim, err := filepath.Abs("victim")
	require.NoError(t, err)
	for _, c := range []struct {
		line   string
		writes []string
	}{
		{"run --db shop.db --model builtin --out out --result out/result.json --cpu-profile out/profile",
			[]string{"report.html", "channel_reporting.csv", "reconciliation.json", "result.json", "profile"}},
		{"run --db shop.db --model builtin --data-dir out", []string{"lock"}},
		{"report --db shop.db --format html --out out/report.html", []string{"report.html"}},
		{"export --db shop.db --out out", []string{"session_sources.csv", "conversions.csv", "session_costs.csv"}},
		{"import --db new.db --sessions visits.csv --conversions orders.csv --rejects out/rejects.csv", []string{"rejects.csv"}},
		{"import --db out/new.db --sessions visits.csv --conversions orders.csv", []string{"new.db", "new.db.rejects.csv", "visits.rejects.csv"}},
		{"model train --db shop.db --out out/p.json --plots out", []string{"p.json", "initializer.svg", "holder.svg"}},
	} {
		for _, at := range []func(string) string{func(path string) string { return path }, atomicfile.Part} {
			require.NoError(t, os.RemoveAll("out"))
			require.NoError(t, os.RemoveAll("new.db"))
			require.NoError(t, os.Mkdir("out", 0o700))
			for _, name := range c.writes {
				require.NoError(t, os.Symlink(victim, at(filepath.Join("out", name))))
			}
			root, _ := newRootCmd()
			_, _, _ = separately(t, root, strings.Fields(c.line)...) // it may refuse, and must not follow
			is, err := os.ReadFile("victim")
			require.NoError(t, err)
			require.Equal(t, own, string(is), c.line)
		}
	}
}
