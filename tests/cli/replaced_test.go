package cli

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func journalMode(t *testing.T, path string) (mode string) {
	t.Helper()
	db := openForever(t, path)
	defer db.Close()
	require.NoError(t, db.QueryRowContext(t.Context(), `PRAGMA journal_mode`).Scan(&mode))
	return mode
}

func TestDatabaseThatIsPutInThePlaceOfAnotherIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(*house, string, string){
		"mv": func(h *house, other, db string) { require.NoError(h.t, os.Rename(other, db)) },
		"cp": func(h *house, other, db string) {
			require.NoError(h.t, os.WriteFile(db, []byte(read(h.t, other)), 0o600))
		},
		"import --force": func(h *house, other, _ string) {
			newHouse(h.t).must("import", other, "--data", h.dir, "--name", "shop.db", "--force")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, args, asked := slow(t)
			h = h.with("IHC_GRACE=200ms")
			db, other := h.path("shop.db"), h.path("other.db")
			script(t, other, sound, `UPDATE conversions SET revenue = 1`)
			is := read(t, other)
			s := h.command(t.Context(), args...)
			require.NoError(t, s.Start())
			defer s.Process.Kill() //nolint:errcheck // it has ended if all is well
			require.True(t, assertEventually(asked))
			put(h, other, db)
			_ = s.Wait()
			require.Equal(t, 2, s.ProcessState.ExitCode())
			require.Contains(t, endingIn(t, read(t, h.path("result.json"))).Error, "it was replaced")
			require.Equal(t, is, read(t, db))
			require.NoFileExists(t, db+"-wal")
		})
	}
}

func TestRunThatWasPausedTakesTheDatabaseThatIsThereNow(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.must("demo", "--out", h.path("demo"))
	first, second := h.path("first.db"), h.path("second.db")
	for _, db := range []string{first, second} {
		require.NoError(t, os.WriteFile(db, []byte(read(t, h.path("demo", "shop.db"))), 0o600))
		script(t, db, `DELETE FROM pipeline_database`)
	}
	script(t, second, `DELETE FROM conversions WHERE conv_id NOT IN (SELECT conv_id FROM conversions LIMIT 400)`)
	api, _ := startSandbox(h.with("IHC_SANDBOX_KEY=" + secret))
	on := h.with("IHC_API_KEY="+secret, "IHC_API_URL="+api, "IHC_CONV_TYPE_ID=any")
	args := []string{"--out", h.path("out"), "--data-dir", h.path("streams"), "--result", h.path("result.json")}

	require.Equal(t, 4, on.run(append([]string{"run", first, "--max-requests", "3"}, args...)...).code)
	paused := endingIn(t, read(t, h.path("result.json")))
	r := on.must(append([]string{"run", second}, args...)...)
	require.Contains(t, r.stderr, "the database was replaced by another while the run was interrupted; run "+paused.RunID+"-v2 takes the one that is there now")
	require.Contains(t, r.stdout, "400 conversions in range")
	require.Equal(t, "completed", endingIn(t, read(t, h.path("result.json"))).Status)
}

// What a run that is over gave is nothing to another database, nor to what is put
// in the place of its own.
func TestRunThatIsOverGivesNothingToAnotherDatabase(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first, fresh := smallShop(h), read(t, h.path("shop.db"))
	second := h.path("second.db")
	script(t, second, sound, `DELETE FROM conversions WHERE conv_id <> 'c1'`)
	args := []string{"--out", h.path("out"), "--data-dir", h.path("streams"), "--run-id", "nightly", "--json"}
	was := endingIn(t, h.must(append([]string{"run", first}, args...)...).stdout)
	require.Equal(t, was, endingIn(t, h.must(append([]string{"run", first}, args...)...).stdout))

	const says = "run nightly, which data directory"
	r := h.run(append([]string{"run", second}, args...)...)
	require.Equal(t, 2, r.code)
	require.Contains(t, r.complaint(t), says)
	require.Equal(t, "failed", endingIn(t, r.stdout).Status)
	require.NoError(t, os.WriteFile(first, []byte(fresh), 0o600))
	r = h.run(append([]string{"run", first}, args...)...)
	require.Equal(t, 2, r.code)
	require.Contains(t, r.complaint(t), says)
	require.Equal(t, fresh, read(t, first))
}

func TestRunLeavesTheJournalModeAsItWas(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"delete", "wal"} {
		h := newHouse(t)
		db := smallShop(h)
		script(t, db, `PRAGMA journal_mode = `+mode)
		h.must("run", db, "--out", h.path("out"))
		require.Equal(t, mode, journalMode(t, db))
		_, args, asked := slow(t)
		args[1] = db
		h = h.with("IHC_GRACE=200ms", "IHC_API_KEY="+secret)
		code, said := interrupted(h, asked, append(args, "--full"), syscall.SIGINT)
		require.Equal(t, 130, code, said)
		require.Equal(t, mode, journalMode(t, db), "interrupted")
	}
}
