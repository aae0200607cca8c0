package sqlite

import (
	"cmp"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/journey"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/reconciliation"
	"github.com/ihc-pipeline/ihc/store/storetest"
)

var encodings = []string{"UTF-8", "UTF-16le", "UTF-16be"}

// everything is all journeys there are.
var everything = journey.Options{Start: "0000-01-01", End: "9999-12-31", MaxSessions: 200}

// In UTF-16, U+FF5E comes behind what is beyond U+FFFF, and in its little-endian
// form nothing is in the order of code points.
func TestUsersOfAllAlphabetsKeepTheirSessions(t *testing.T) {
	t.Parallel()
	users := []string{"adam", "łucja", "łukasz", "zoe", "\uff5e", "😀", "Ā", "a\x00", "a\x00b"}
	for _, encoding := range encodings {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			path := build(t, "PRAGMA encoding = '"+encoding+"';"+Schema)
			db, err := sql.Open("sqlite3", path)
			require.NoError(t, err)
			for _, u := range users {
				// One visit comes before the order, and one after it, which is left over.
				_, err := db.Exec(`INSERT INTO session_sources VALUES ('s-'||?1, ?1, '2023-01-01', '12:00:00', 'SEO', 0, 0, 0);
					INSERT INTO session_sources VALUES ('later-'||?1, ?1, '2023-01-03', '12:00:00', 'SEO', 0, 0, 0);
					INSERT INTO conversions VALUES ('c-'||?1, ?1, '2023-01-02', '12:00:00', 1)`, u, u, u)
				require.NoError(t, err)
			}
			require.NoError(t, db.Close())
			require.NoError(t, validated(t, path).Err())
			var got []string
			require.NoError(t, opened(t, path).Journeys(t.Context(), everything, func(j journey.Journey) error {
				for _, s := range j.Sessions {
					got = append(got, j.ConvID+" "+s.ID)
				}
				return nil
			}))
			for _, u := range users {
				require.Contains(t, got, "c-"+u+" s-"+u)
			}
			require.Len(t, got, len(users))
		})
	}
}

func validated(t storetest.T, path string) *findings.Findings {
	d := New(path)
	defer d.Close()
	found, err := d.Validate(t.Context(), findings.Options{Alone: true})
	require.NoError(t, err)
	return found
}

// codes are those of the errors that were found.
func codes(f *findings.Findings) (all []string) {
	for _, one := range f.List {
		if one.Severity == findings.Error {
			all = append(all, one.Table+"."+one.Column+" "+one.Code)
		}
	}
	return all
}

// spelled gives the columns of some ids a collation.
func spelled(schema, column, collation string) string {
	return strings.ReplaceAll(schema, column+" text NOT NULL", column+" text NOT NULL COLLATE "+collation)
}

func TestIDsThatACollationTakesForOneAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		column, collation, script string
		want                      []string
	}{
		"the same everywhere":  {"user_id", "NOCASE", ``, nil},
		"user in another case": {"user_id", "NOCASE", `UPDATE conversions SET user_id = 'U1' WHERE conv_id = 'c1'`, []string{"conversions.user_id same_by_collation", "session_sources.user_id same_by_collation"}},
		"user with a space":    {"user_id", "RTRIM", `UPDATE conversions SET user_id = 'u1 ' WHERE conv_id = 'c1'`, []string{"conversions.user_id same_by_collation", "session_sources.user_id same_by_collation"}},
		"a space, by case":     {"user_id", "NOCASE", `UPDATE conversions SET user_id = 'u1 ' WHERE conv_id = 'c1'`, nil},
		"cost in another case": {"session_id", "NOCASE", `UPDATE session_costs SET session_id = 'S1' WHERE session_id = 's1'`, []string{"session_costs.session_id same_by_collation", "session_sources.session_id same_by_collation"}},
		"channels by case":     {"channel_name", "NOCASE", `UPDATE session_sources SET channel_name = 'direct' WHERE session_id = 's1'`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := validated(t, build(t, spelled(InputSchema, c.column, c.collation)+soundRows+c.script))
			require.ElementsMatch(t, c.want, codes(found), found.Lines())
			if c.want != nil {
				require.Equal(t, errkind.Input, errkind.KindOf(found.Err()))
			}
		})
	}
}

func TestResultsThatACollationTakesForOneAreRefused(t *testing.T) {
	t.Parallel()
	for _, collation := range []string{"NOCASE", "RTRIM"} {
		for _, table := range []string{CreateCustomerJourney, withRowNumbers, CreateChannelReporting} {
			found := validated(t, build(t, InputSchema+soundRows+strings.ReplaceAll(table, " text NOT NULL", " text NOT NULL COLLATE "+collation)))
			require.Len(t, codes(found), 2, found.Lines())
			require.Contains(t, found.Lines()[0], "the collation "+collation)
		}
	}
}

// A collation of the shop's own program is in no other program.
func TestUnknownCollationIsRefused(t *testing.T) {
	t.Parallel()
	sql.Register("sqlite3 with GERMAN", &sqlite3.SQLiteDriver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		return c.RegisterCollation("GERMAN", strings.Compare)
	}})
	for name, c := range map[string]struct{ script, want string }{
		"user":            {spelled(InputSchema, "user_id", "GERMAN"), "session_sources.user_id unknown_collation"},
		"date":            {spelled(InputSchema, "conv_date", "GERMAN"), "conversions.conv_date unknown_collation"},
		"results":         {InputSchema + strings.ReplaceAll(withRowNumbers, "session_id text NOT NULL", "session_id text NOT NULL COLLATE GERMAN"), "attribution_customer_journey.session_id unknown_collation"},
		"column not used": {strings.ReplaceAll(InputSchema, "revenue real NOT NULL", "revenue real NOT NULL, note text DEFAULT 'x' COLLATE GERMAN"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "shop.db")
			db, err := sql.Open("sqlite3 with GERMAN", path)
			require.NoError(t, err)
			_, err = db.Exec(c.script + ";" + strings.ReplaceAll(soundRows, "conversions VALUES", "conversions (conv_id, user_id, conv_date, conv_time, revenue) VALUES"))
			require.NoError(t, err)
			require.NoError(t, db.Close())
			found := validated(t, path)
			if c.want == "" {
				require.Empty(t, codes(found))
				return
			}
			require.Contains(t, codes(found), c.want)
			require.Contains(t, strings.Join(found.Lines(), "\n"), `"GERMAN"`)
		})
	}
}

// What UTF-16 admits and UTF-8 does not comes back as another id.
func TestTextThatDoesNotSurviveUTF16IsRefused(t *testing.T) {
	t.Parallel()
	for name, stored := range map[string]string{"half a pair": "0061D800", "half a pair, eaten": "D8000061", "no character": "0061FFFF", "a byte too many": "006100"} {
		found := validated(t, build(t, `PRAGMA encoding = 'UTF-16be';`+InputSchema+soundRows+`UPDATE conversions SET user_id = CAST(x'`+stored+`' AS text) WHERE conv_id = 'c1'`))
		if name == "a byte too many" {
			require.Empty(t, codes(found), "SQLite drops it itself")
			continue
		}
		require.Contains(t, codes(found), "conversions.user_id invalid_utf16", name)
	}
}

func TestTextThatSurvivesIsThatOfTheStandardLibrary(t *testing.T) {
	t.Parallel()
	require.True(t, survives("a😀", []byte{0, 'a', 0xd8, 0x3d, 0xde, 0}, binary.BigEndian))
	require.True(t, survives("a😀", []byte{'a', 0, 0x3d, 0xd8, 0, 0xde}, binary.LittleEndian))
	require.True(t, survives("", nil, binary.LittleEndian))
	require.False(t, survives("a", []byte{'a', 0}, binary.BigEndian))
}

// spelling is a made-up shop with ids in all alphabets and a schema of any order.
type spelling struct {
	encoding string
	by       map[string]string // collation by column
	visits   [][3]string       // session, user, channel
	orders   [][2]string       // conversion, user
	costs    []string
}

func drawSpelling(t *rapid.T) *spelling {
	s := &spelling{encoding: rapid.SampledFrom(encodings).Draw(t, "encoding"), by: map[string]string{}}
	for _, column := range []string{"session_id", "user_id", "conv_id", "channel_name"} {
		s.by[column] = rapid.SampledFrom([]string{"BINARY", "BINARY", "NOCASE", "RTRIM"}).Draw(t, column)
	}
	letters := []string{"a", "b", "z", "ł", "Ż", "é", "e\u0301", "\uff5e", "😀", "\U0010ffff", "\x00", "\x7f"}
	if rapid.Bool().Draw(t, "alike") {
		letters = append(letters, "A", " ")
	}
	id := rapid.Map(rapid.SliceOfN(rapid.SampledFrom(letters), 1, 3), func(all []string) string { return "i" + strings.Join(all, "") })
	users := rapid.SliceOfNDistinct(id, 1, 6, rapid.ID[string]).Draw(t, "users")
	user := rapid.SampledFrom(users)
	for _, session := range rapid.SliceOfNDistinct(id, 0, 12, rapid.ID[string]).Draw(t, "sessions") {
		s.visits = append(s.visits, [3]string{session, user.Draw(t, "user"), id.Draw(t, "channel")})
		if rapid.Bool().Draw(t, "cost") {
			s.costs = append(s.costs, session)
		}
	}
	for _, conv := range rapid.SliceOfNDistinct(id, 0, 8, rapid.ID[string]).Draw(t, "conversions") {
		s.orders = append(s.orders, [2]string{conv, user.Draw(t, "user")})
	}
	return s
}

// build stores the shop, or says that the schema itself does not take it.
func (s *spelling) build(t *rapid.T, path string) (taken bool) {
	schema := InputSchema
	for column, collation := range s.by {
		schema = spelled(schema, column, collation)
	}
	db, err := sql.Open("sqlite3", path+"?_synchronous=OFF")
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec("PRAGMA encoding = '" + s.encoding + "';" + schema)
	require.NoError(t, err)
	for i, v := range s.visits {
		if _, err = db.Exec(`INSERT INTO session_sources VALUES (?, ?, '2023-01-01', ?, ?, 0, 0, 0)`, v[0], v[1], fmt.Sprintf("12:00:%02d", i), v[2]); err != nil {
			return false
		}
	}
	for _, o := range s.orders {
		if _, err = db.Exec(`INSERT INTO conversions VALUES (?, ?, '2023-01-02', '12:00:00', 2)`, o[0], o[1]); err != nil {
			return false
		}
	}
	for _, c := range s.costs {
		_, err = db.Exec(`INSERT INTO session_costs VALUES (?, 1.5)`, c)
		require.NoError(t, err)
	}
	return true
}

// ambiguous says whether the collation of users takes two of them for one.
func (s *spelling) ambiguous() bool {
	seen := map[string]string{}
	users := []string{}
	for _, v := range s.visits {
		users = append(users, v[1])
	}
	for _, o := range s.orders {
		users = append(users, o[1])
	}
	for _, u := range users {
		key := u
		switch s.by["user_id"] {
		case "NOCASE": // which knows ASCII, and reads no further than a NUL
			start, _, _ := strings.Cut(u, "\x00")
			key = fmt.Sprint(len(u)) + strings.Map(func(r rune) rune {
				if 'a' <= r && r <= 'z' {
					return r - 'a' + 'A'
				}
				return r
			}, start)
		case "RTRIM":
			key = strings.TrimRight(u, " ")
		}
		if was, there := seen[key]; there && was != u {
			return true
		}
		seen[key] = u
	}
	return false
}

// Whatever the encoding and the order of the schema, the data are refused or
// the journeys, the results and the report are those of ids told apart by their
// bytes.
func TestIDsOfAnySpellingAndOrderAreKeptApart(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp(memory(), "spelling") //nolint:usetesting // in memory, where there is one
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		s := drawSpelling(t)
		n++
		path := filepath.Join(dir, fmt.Sprintf("%d.db", n))
		if !s.build(t, path) {
			t.Skip("the schema's own key does not take these ids")
		}
		if err := validated(t, path).Err(); err != nil {
			require.Equal(t, errkind.Input, errkind.KindOf(err))
			require.True(t, s.ambiguous(), err)
			return
		}
		d := New(path)
		defer d.Close()
		req := &ihcv1.RunRequest{RunId: "run"}
		var tableBefore []string
		for _, id := range []string{"one", "two"} { // the second finds its rows there already
			req.RunId = id
			result := &ihcv1.AttributionResult{RunId: id, Chunk: 1}
			counts := &ihcv1.Counts{}
			want := s.journeys()
			require.NoError(t, d.Journeys(t.Context(), everything, func(j journey.Journey) error {
				var sessions []string
				for _, v := range j.Sessions {
					sessions = append(sessions, v.ID)
				}
				require.Equal(t, want[j.ConvID], sessions)
				delete(want, j.ConvID)
				counts.InRange++
				if len(sessions) == 0 {
					counts.WithoutSessions++
					result.Outcomes = append(result.Outcomes, &ihcv1.Outcome{ConvId: j.ConvID, Kind: ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS})
					return nil
				}
				counts.Attributed++
				counts.Touchpoints += uint64(len(sessions))
				a := &ihcv1.Attribution{ConvId: j.ConvID, SessionIds: sessions, Ihc: make([]uint32, len(sessions))}
				a.Ihc[0] = 10_000
				result.Attributions = append(result.Attributions, a)
				return nil
			}))
			require.Empty(t, want)
			require.NoError(t, d.Accept(t.Context(), &ihcv1.RunAccepted{Request: req}))
			require.NoError(t, d.Expect(t.Context(), id, &ihcv1.RunExtracted{Chunks: 1, Counts: counts}))
			require.NoError(t, d.Store(t.Context(), []*ihcv1.AttributionResult{result}))
			state, err := d.Finish(t.Context(), id)
			require.NoError(t, err)
			require.True(t, state.Complete)
			totals, err := d.Rebuild(t.Context(), req)
			require.NoError(t, err)
			require.Equal(t, s.report(), append([]store.Row{}, totals.Rows...))
			for _, e := range reconciliation.Equations(totals, counts) {
				require.True(t, e.GetHolds(), e)
			}
			require.Empty(t, totals.Changes)
			table := tableRows(t, path, `SELECT hex(conv_id), hex(session_id), ihc FROM attribution_customer_journey`)
			if tableBefore != nil {
				require.Equal(t, tableBefore, table)
			}
			tableBefore = table
		}
	})
}

func (s *spelling) journeys() map[string][]string {
	all := map[string][]string{}
	for _, o := range s.orders {
		all[o[0]] = nil
		for _, v := range s.visits {
			if v[1] == o[1] {
				all[o[0]] = append(all[o[0]], v[0])
			}
		}
	}
	return all
}

func (s *spelling) report() []store.Row {
	rows := map[string]*store.Row{}
	channel := map[string]string{}
	for _, v := range s.visits {
		channel[v[0]] = v[2]
		if rows[v[2]] == nil {
			rows[v[2]] = &store.Row{Channel: v[2], Date: "2023-01-01"}
		}
	}
	for _, c := range s.costs {
		rows[channel[c]].Cost += 1.5
	}
	for _, sessions := range s.journeys() {
		if len(sessions) > 0 {
			rows[channel[sessions[0]]].IHC++
			rows[channel[sessions[0]]].IHCRevenue += 2
		}
	}
	all := []store.Row{}
	for _, r := range rows {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b store.Row) int { return cmp.Compare(a.Channel, b.Channel) })
	return all
}
