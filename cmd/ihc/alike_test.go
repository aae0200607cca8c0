package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// Two channels whose names differ in the middle alone, where they are cut, are two in
// every table.
func TestChannelsNeverPrintAlikeInAnyCommand(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "shop.db")
	_, err := sqlite.GenerateShop(t.Context(), db, shop.Config{Sessions: 600}, false)
	require.NoError(t, err)
	long := strings.Repeat("campaign ", 6)
	one, other := long+"one "+long+"end", long+"two "+long+"end"
	change(t, db, `UPDATE session_sources SET channel_name = CASE rowid % 2 WHEN 0 THEN '`+one+`' ELSE '`+other+`' END`)
	p := ihcmodel.DefaultParams()
	p.ChannelScores = map[string]ihcmodel.ChannelScore{one: {Initializer: 1, Holder: 1, Closer: 2}, other: {Initializer: 1, Holder: 1, Closer: 3}}
	params := filepath.Join(dir, "params.json")
	require.NoError(t, os.WriteFile(params, p.JSON(), 0o600))
	for range 2 {
		_, _, err = separately(t, newRunCmd(), "--db", db, "--model", "builtin", "--full", "--out", dir)
		require.NoError(t, err)
		change(t, db, `UPDATE conversions SET revenue = revenue + 1`)
	}
	for name, args := range map[string][]string{
		"diff": {"diff", "--db", db}, "report": {"report", "--db", db}, "models": {"models", "--db", db},
		"compare": {"model", "compare", params, params, "--db", db}, "show": {"model", "show", params, "--text"},
	} {
		root, _ := newRootCmd()
		out, log, err := separately(t, root, args...)
		require.NoError(t, err, name+log)
		shown := slices.Compact(slices.Sorted(slices.Values(regexp.MustCompile(`campaign [^~\n]*…[^~\n]* end(~2)?`).FindAllString(out, -1))))
		require.Len(t, shown, 2, name+"\n"+out)
	}
}
