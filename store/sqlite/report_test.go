package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// data are the four tables, each row in its own INSERT.
type data struct {
	sessions     []session
	conversions  []conversion
	costs        map[string]string // session → decimal, "" for NULL
	attributions []attribution
}

type (
	session     struct{ id, date, channel string }
	conversion  struct{ id, date, revenue string }
	attribution struct {
		conv, session string
		share         int64 // ten-thousandths
	}
)

func dec(s string) decimal.Decimal {
	if s == "" {
		return decimal.Zero
	}
	return decimal.RequireFromString(s)
}

// insert makes a database, with the rows in an order that the seed decides.
func (d *data) insert(t require.TestingT, seed uint64) *sql.DB {
	db, err := sql.Open("sqlite3", ":memory:")
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	_, err = db.Exec(Schema)
	require.NoError(t, err)
	type statement struct {
		text string
		args []any
	}
	var all []statement
	for _, s := range d.sessions {
		all = append(all, statement{`INSERT INTO session_sources VALUES (?, 'u', ?, '12:00:00', ?, 0, 0, 0)`, []any{s.id, s.date, s.channel}})
	}
	for _, c := range d.conversions {
		all = append(all, statement{`INSERT INTO conversions VALUES (?, 'u', ?, '12:00:00', ?)`, []any{c.id, c.date, dec(c.revenue).InexactFloat64()}})
	}
	for _, id := range sortedKeys(d.costs) {
		var cost any
		if d.costs[id] != "" {
			cost = dec(d.costs[id]).InexactFloat64()
		}
		all = append(all, statement{`INSERT INTO session_costs VALUES (?, ?)`, []any{id, cost}})
	}
	for _, a := range d.attributions {
		all = append(all, statement{`INSERT INTO attribution_customer_journey VALUES (?, ?, ?)`, []any{a.conv, a.session, float64(a.share) / 10_000}})
	}
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, s := range all {
		_, err := db.Exec(s.text, s.args...)
		require.NoError(t, err)
	}
	return db
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// oracle adds up channel_reporting in the most obvious way, exactly.
func (d *data) oracle() []Row {
	type sum struct{ cost, ihc, revenue decimal.Decimal }
	sums := map[key]*sum{}
	of := map[string]key{}
	for _, s := range d.sessions {
		k := key{s.channel, s.date}
		of[s.id] = k
		if sums[k] == nil {
			sums[k] = &sum{}
		}
		sums[k].cost = sums[k].cost.Add(dec(d.costs[s.id]))
	}
	revenue := map[string]decimal.Decimal{}
	for _, c := range d.conversions {
		revenue[c.id] = dec(c.revenue)
	}
	for _, a := range d.attributions {
		k, known := of[a.session]
		r, sold := revenue[a.conv]
		if known && sold {
			share := decimal.New(a.share, -4)
			sums[k].ihc = sums[k].ihc.Add(share)
			sums[k].revenue = sums[k].revenue.Add(share.Mul(r))
		}
	}
	rows := make([]Row, 0, len(sums))
	for k, s := range sums {
		rows = append(rows, Row{k.channel, k.date, s.cost.InexactFloat64(), s.ihc.InexactFloat64(), s.revenue.InexactFloat64()})
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Or(cmp.Compare(a.Date, b.Date), cmp.Compare(a.Channel, b.Channel)) })
	return rows
}

// counts returns what the ledger would hold of a run over a range that has
// just attributed everything that is attributed.
func (d *data) counts(req *ihcv1.RunRequest) *ihcv1.Counts {
	c := &ihcv1.Counts{}
	rows := map[string]uint64{}
	for _, a := range d.attributions {
		rows[a.conv]++
	}
	for _, v := range d.conversions {
		if (req.GetStartDate() != "" && v.date < req.GetStartDate()) || (req.GetEndDate() != "" && v.date > req.GetEndDate()) {
			continue
		}
		c.InRange++
		if n := rows[v.id]; n > 0 {
			c.Attributed++
			c.Touchpoints += n
		} else {
			c.WithoutSessions++
		}
	}
	return c
}

func drawData(t *rapid.T) *data {
	d := &data{costs: map[string]string{}}
	date := rapid.SampledFrom([]string{"2023-01-01", "2023-01-02", "2023-12-31", "2024-02-29"})
	channel := rapid.SampledFrom([]string{"SEO", "Direct", `with "quotes", and a comma`, "=1+1", "zeile\numbruch", "ünï😀", "", " ", "seo"})
	for i := range rapid.IntRange(0, 60).Draw(t, "sessions") {
		id := fmt.Sprintf("s%d", i)
		d.sessions = append(d.sessions, session{id, date.Draw(t, "date"), channel.Draw(t, "channel")})
		switch rapid.IntRange(0, 3).Draw(t, "cost") {
		case 0: // no row
		case 1:
			d.costs[id] = ""
		default:
			d.costs[id] = decimal.New(rapid.Int64Range(0, 1e12).Draw(t, "millionths"), -6).String()
		}
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "costs without session") {
		d.costs[fmt.Sprintf("lost%d", i)] = "7.5"
	}
	for i := range rapid.IntRange(0, 30).Draw(t, "conversions") {
		c := conversion{fmt.Sprintf("c%d", i), date.Draw(t, "date"), decimal.New(rapid.Int64Range(-1e6, 1e11).Draw(t, "cents"), -2).String()}
		d.conversions = append(d.conversions, c)
		n := rapid.IntRange(0, min(6, len(d.sessions))).Draw(t, "touchpoints")
		left := int64(10_000)
		for k := range n {
			share := left
			if k < n-1 {
				share = rapid.Int64Range(0, left).Draw(t, "share")
			}
			left -= share
			// Sessions of one journey differ; those of several may not.
			d.attributions = append(d.attributions, attribution{c.id, d.sessions[(i*7+k)%len(d.sessions)].id, share})
		}
	}
	return d
}

func TestReportIsThatOfTheOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := drawData(t)
		req := &ihcv1.RunRequest{StartDate: rapid.SampledFrom([]string{"", "2023-01-02", "2025-01-01"}).Draw(t, "start"),
			EndDate: rapid.SampledFrom([]string{"", "2023-12-31"}).Draw(t, "end")}
		if req.GetEndDate() != "" && req.GetStartDate() > req.GetEndDate() {
			req.StartDate = ""
		}
		db := d.insert(t, 0)
		defer db.Close()
		totals, err := Rebuild(context.Background(), db, nil, req)
		require.NoError(t, err)
		want := d.oracle()
		require.Len(t, totals.Rows, len(want))
		for i := range want {
			require.Equal(t, want[i], totals.Rows[i])
		}
		for _, e := range totals.Reconcile(d.counts(req)) {
			require.True(t, e.GetHolds(), "%s: %s ≠ %s", e.GetDescription(), e.GetLeft(), e.GetRight())
		}
	})
}

// The order in which rows were inserted, and whether the report was made
// before, must not show in a single byte.
func TestReportDoesNotDependOnTheOrderOfRows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := drawData(t)
		var first []byte
		for seed := range uint64(3) {
			db := d.insert(t, seed)
			for range seed + 1 {
				totals, err := Rebuild(context.Background(), db, nil, &ihcv1.RunRequest{})
				require.NoError(t, err)
				var b bytes.Buffer
				require.NoError(t, Write(&b, totals.Rows))
				fmt.Fprintln(&b, totals.IHC(), totals.IHCRevenue(), totals.Cost(), totals.Notes(), totals.Reconcile(d.counts(nil)))
				if first == nil {
					first = b.Bytes()
				}
				require.Equal(t, string(first), b.String())
			}
			require.NoError(t, db.Close())
		}
	})
}

// Read in many parts side by side, and with a book too small for all sessions,
// it is the report of one reader.
func TestReportDoesNotDependOnTheParts(t *testing.T) {
	t.Parallel()
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		d := drawData(t)
		memory := d.insert(t, 0)
		defer memory.Close()
		_, err := memory.Exec(`UPDATE attribution_customer_journey SET rowid = -3 * rowid`)
		require.NoError(t, err)
		n++
		path := filepath.Join(dir, fmt.Sprintf("shop%d.db", n))
		_, err = memory.Exec(`VACUUM INTO ?`, path)
		require.NoError(t, err)
		want, err := Rebuild(context.Background(), memory, nil, &ihcv1.RunRequest{})
		require.NoError(t, err)

		db, err := Open(context.Background(), path, Write)
		require.NoError(t, err)
		defer db.Close()
		readers, err := Open(context.Background(), path, Read, Readers(3))
		require.NoError(t, err)
		defer readers.Close()
		got, err := rebuild(context.Background(), db, readers, &ihcv1.RunRequest{},
			sizes{rows: rapid.Int64Range(1, 9).Draw(t, "rows"), slots: rapid.IntRange(4, 40).Draw(t, "slots")})
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func small() *data {
	return &data{
		sessions:     []session{{"s1", "2023-01-01", "SEO"}, {"s2", "2023-01-02", "Direct"}, {"s3", "2023-01-02", "Idle"}},
		conversions:  []conversion{{"c1", "2023-01-03", "100.10"}, {"c2", "2023-02-03", "50"}},
		costs:        map[string]string{"s1": "1.5", "s3": "", "gone": "9"},
		attributions: []attribution{{"c1", "s1", 2500}, {"c1", "s2", 7500}, {"c2", "s1", 10_000}},
	}
}

func rebuilt(t *testing.T, d *data, req *ihcv1.RunRequest) *Totals {
	t.Helper()
	db := d.insert(t, 0)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	totals, err := Rebuild(t.Context(), db, nil, req)
	require.NoError(t, err)
	return totals
}

// Each equation has to fail when what it guards against happens.
func TestReconciliationNoticesEveryLeak(t *testing.T) {
	t.Parallel()
	all := &ihcv1.RunRequest{}
	for name, c := range map[string]struct {
		spoil  func(d *data, c *ihcv1.Counts)
		broken []string
	}{
		"sound":                    {func(*data, *ihcv1.Counts) {}, nil},
		"a conversion uncounted":   {func(_ *data, c *ihcv1.Counts) { c.Attributed--; c.InRange-- }, []string{"conversions", "attributed", "ihc"}},
		"a conversion too many":    {func(_ *data, c *ihcv1.Counts) { c.WithoutSessions++ }, []string{"conversions"}},
		"a touchpoint lost":        {func(_ *data, c *ihcv1.Counts) { c.Touchpoints++ }, []string{"touchpoints"}},
		"half a conversion":        {func(d *data, _ *ihcv1.Counts) { d.attributions = d.attributions[1:] }, []string{"touchpoints", "ihc", "ihc_revenue"}},
		"a share off by a tenth":   {func(d *data, _ *ihcv1.Counts) { d.attributions[0].share += 1000 }, []string{"ihc", "ihc_revenue"}},
		"a session that went away": {func(d *data, _ *ihcv1.Counts) { d.sessions = d.sessions[1:] }, []string{"touchpoints", "ihc", "ihc_revenue"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := small()
			counts := d.counts(all)
			c.spoil(d, counts)
			var broken []string
			for _, e := range rebuilt(t, d, all).Reconcile(counts) {
				if !e.GetHolds() {
					broken = append(broken, e.GetName())
				}
			}
			require.Equal(t, c.broken, broken)
		})
	}
}

func TestTotalsAndNotes(t *testing.T) {
	t.Parallel()
	d := small()
	d.attributions = append(d.attributions, attribution{"gone", "s1", 10_000})
	totals := rebuilt(t, d, &ihcv1.RunRequest{EndDate: "2023-01-31"})
	require.Equal(t, []string{"1", "100.1", "1.5"}, []string{totals.IHC(), totals.IHCRevenue(), totals.Cost()}, "of the conversions in range, and cost of all")
	require.Equal(t, []Row{{"SEO", "2023-01-01", 1.5, 1.25, 75.025}, {"Direct", "2023-01-02", 0, 0.75, 75.075}, {"Idle", "2023-01-02", 0, 0, 0}}, totals.Rows)
	require.Equal(t, []string{
		"1 sessions have no row in session_costs; their cost counts as 0",
		"1 rows of session_costs belong to no session of session_sources; their cost is in no channel",
		"1 rows of attribution_customer_journey name a conversion or session that is not in the database any more; they are in no channel",
	}, totals.Notes())
}

// A reply may sum to 1 within a thousandth; that much is no leak.
func TestReconciliationAllowsTheAPIsTolerance(t *testing.T) {
	t.Parallel()
	d := small()
	counts := d.counts(&ihcv1.RunRequest{})
	d.attributions[0].share += 10
	for _, e := range rebuilt(t, d, &ihcv1.RunRequest{}).Reconcile(counts) {
		require.True(t, e.GetHolds(), e.GetName())
	}
}

func TestCSV(t *testing.T) {
	t.Parallel()
	names := []string{"SEO", `say "hi", now`, "=cmd|' /C calc'!A0", "+1", "-1", "@x", "\tx", "\rx", "ünï😀", "two\nlines", "", " ", "'quoted"}
	var rows []Row
	third := 0.1
	third += 0.2 // not what 0.3 is as a double
	for i, name := range names {
		rows = append(rows, Row{name, "2023-01-01", float64(i), 0.5, third})
	}
	rows = append(rows, Row{"zero", "2023-01-02", 0, 0, 0}, Row{"small", "2023-01-02", 1e-7, 1e21, 3})
	var b bytes.Buffer
	require.NoError(t, Write(&b, rows))
	require.True(t, strings.HasPrefix(b.String(), "channel_name,date,cost,ihc,ihc_revenue,CPO,ROAS\nSEO,2023-01-01,0,0.5,0.30000000000000004,0,\n"), b.String())
	read, err := csv.NewReader(&b).ReadAll()
	require.NoError(t, err)
	require.Len(t, read, 1+len(rows))
	for i, name := range names {
		got := read[i+1][0]
		require.NotContains(t, "=+-@\t\r", string(append([]byte(got), ' ')[0]), "a spreadsheet would run it")
		require.Equal(t, name, strings.ReplaceAll(strings.TrimPrefix(got, neutral(name)), "\r\n", "\n"))
	}
	require.Equal(t, []string{"zero", "2023-01-02", "0", "0", "0", "", ""}, read[len(read)-2])
	require.Equal(t, []string{"small", "2023-01-02", "0.0000001", "1000000000000000000000", "3", "0.0000000000000000000000000001", "30000000"}, read[len(read)-1])
}

// neutral is what stands before a name that looks like a formula.
func neutral(name string) string {
	if name != "" && strings.ContainsRune("=+-@\t\r", rune(name[0])) {
		return "'"
	}
	return ""
}

func TestFileIsWrittenWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "report.csv")
	write := func(text string, err error) error {
		return WriteFile(path, func(w io.Writer) error {
			_, _ = io.WriteString(w, text)
			return err
		})
	}
	require.NoError(t, write("first", nil))
	large := strings.Repeat("x", 1<<20)
	err := write(large, errors.New("no more"))
	require.ErrorContains(t, err, path+": no more")
	require.Equal(t, errkind.Environment, errkind.KindOf(err))
	content := func() string {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(data)
	}
	require.Equal(t, "first", content())
	only := func() {
		files, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, files, 1, "something was left behind")
	}
	only()
	// What a killed process left is in nobody's way.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "new", ".report.csv.part"), []byte("half of a very much longer text"), 0o600))
	require.NoError(t, write("second", nil))
	require.Equal(t, "second", content())
	only()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode().Perm())

	// Readers and other reporters see one whole text or another.
	var group errgroup.Group
	for i := range 8 {
		group.Go(func() error {
			for range 20 {
				if err := write(strings.Repeat(fmt.Sprint(i), 100_000), nil); err != nil {
					return err
				}
				data, err := os.ReadFile(path)
				if err != nil || len(data) != 100_000 || strings.Count(string(data), string(data[0])) != len(data) {
					return fmt.Errorf("read %d bytes: %w", len(data), err)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	only()

	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	err = WriteFile(filepath.Join(dir, "file", "report.csv"), func(io.Writer) error { return nil })
	require.Equal(t, errkind.Environment, errkind.KindOf(err))
}

// A sum beyond what a double holds is still exact until it is written.
func TestLargeSumsAreExact(t *testing.T) {
	t.Parallel()
	var p product
	want := decimal.Zero
	for i := range int64(1000) {
		share, revenue := 9_999-i, int64(900_000_000_000_000)+i
		p.add(share, revenue)
		want = want.Add(decimal.New(share, -4).Mul(decimal.New(revenue, -4)))
	}
	require.Equal(t, want.String(), p.decimal().String())
}
