package ihcmodel

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The bounds the model is held to against the API's own answers.
const (
	maxIHCError   = 0.001
	maxPhaseError = 0.004
)

// answered is a journey with the API's own answer.
type answered struct {
	sessions []Session
	scores   []Score
}

// vectors are answers of the API that show one rule each, in the columns
// time, channel, holder and closer engagement, initializer, holder, closer, ihc.
var vectors = map[string]string{
	"seconds apart, only the last closer engaged": `
		2023-09-04 21:50:11 | Affiliate & Partnerships | 1 | 0 | 1.0000 | 0.5000 | 0.0000 | 0.5100
		2023-09-04 21:51:01 | Affiliate & Partnerships | 1 | 1 | 0.0000 | 0.5000 | 1.0000 | 0.4900`,
	"four in eight minutes, all engaged": `
		2023-09-03 15:10:03 | Affiliate & Partnerships | 1 | 1 | 1.0000 | 0.0702 | 0.2206 | 0.4161
		2023-09-03 15:13:09 | Affiliate & Partnerships | 1 | 1 | 0.0000 | 0.3100 | 0.2598 | 0.1947
		2023-09-03 15:16:16 | Affiliate & Partnerships | 1 | 1 | 0.0000 | 0.3099 | 0.2598 | 0.1946
		2023-09-03 15:17:24 | Affiliate & Partnerships | 1 | 1 | 0.0000 | 0.3099 | 0.2598 | 0.1946`,
	"the middle one not holder engaged": `
		2023-08-30 13:35:21 | Direct Traffic | 1 | 1 | 0.4550 | 0.8349 | 0.0000 | 0.4592
		2023-08-31 08:57:28 | Direct Traffic | 0 | 1 | 0.1300 | 0.0000 | 0.0000 | 0.0420
		2023-09-02 10:02:22 | Direct Traffic | 1 | 1 | 0.4150 | 0.1651 | 1.0000 | 0.4988`,
	"the cut drops the first, which still counts in the base shares": `
		2023-08-30 22:10:08 | Paid Search Brand | 1 | 1 | 0.0000 | 0.0000 | 0.0000 | 0.0000
		2023-09-02 21:13:42 | Paid Search Brand | 1 | 1 | 0.7918 | 0.6043 | 0.2030 | 0.5433
		2023-09-03 15:23:10 | Paid Search Brand | 1 | 1 | 0.2082 | 0.3957 | 0.7970 | 0.4567`,
	"a cut and no holder left": `
		2023-08-31 10:39:20 | Newsletter & Email | 1 | 1 | 0.0000 | 0.0000 | 0.0000 | 0.0000
		2023-09-02 17:06:25 | Newsletter & Email | 0 | 1 | 0.5578 | 0.0000 | 0.0134 | 0.2942
		2023-09-04 12:34:27 | Newsletter & Email | 0 | 1 | 0.4422 | 0.0000 | 0.9866 | 0.7058`,
	"two channels, so that scores matter": `
		2023-09-01 17:36:30 | Direct Traffic           | 1 | 1 | 1.0000 | 0.1821 | 0.4969 | 0.5417
		2023-09-01 17:48:54 | Affiliate & Partnerships | 1 | 1 | 0.0000 | 0.8179 | 0.5031 | 0.4583`,
	"the cut leaves one": `
		2023-09-02 13:15:21 | Newsletter & Email | 0 | 0 | 0.0000 | 0.0000 | 0.0000 | 0.0000
		2023-09-04 19:38:30 | Newsletter & Email | 1 | 0 | 1.0000 | 1.0000 | 1.0000 | 1.0000`,
	"one session": `
		2023-09-02 01:43:39 | Affiliate & Partnerships | 1 | 0 | 1.0000 | 0.0000 | 1.0000 | 1.0000`,
}

func TestPublishedVectors(t *testing.T) {
	t.Parallel()
	m := published(t)
	for name, table := range vectors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := readVector(t, table)
			got := m.Scorer(nil).Score(j.sessions, nil)
			for k := range got {
				// Nearer than the bounds; what is left is the channel scores,
				// which were published with two decimals.
				want := j.scores[k]
				require.LessOrEqual(t, off(want.Initializer, got[k].Initializer), 0.0001, "initializer of session %d: %v", k, got[k].Initializer)
				require.LessOrEqual(t, off(want.Holder, got[k].Holder), 0.0011, "holder of session %d: %v", k, got[k].Holder)
				require.LessOrEqual(t, off(want.Closer, got[k].Closer), 0.0011, "closer of session %d: %v", k, got[k].Closer)
				require.LessOrEqual(t, off(want.IHC, got[k].IHC), 0.0002, "ihc of session %d: %v", k, got[k].IHC)
			}
		})
	}
}

func published(tb testing.TB) *Model {
	m, err := New(DefaultParams())
	require.NoError(tb, err)
	return m
}

func readVector(t *testing.T, table string) answered {
	var j answered
	for line := range strings.Lines(strings.TrimSpace(table)) {
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		share := func(i int) Share {
			var v float64
			_, err := fmt.Sscan(cells[i], &v)
			require.NoError(t, err)
			return Share(math.Round(v * float64(Whole)))
		}
		j.sessions = append(j.sessions, Session{
			TimeMicros: microsAt(t, cells[0]), Channel: cells[1], Holder: cells[2] == "1", Closer: cells[3] == "1",
		})
		j.scores = append(j.scores, Score{share(4), share(5), share(6), share(7)})
	}
	return j
}

func microsAt(t *testing.T, s string) int64 {
	at, err := time.Parse(time.DateTime, s)
	require.NoError(t, err)
	return at.UnixMicro()
}

// TestFidelity holds the model to the API's published answers, journey by
// journey, and prints the table that docs/ihc-model.md shows.
func TestFidelity(t *testing.T) {
	t.Parallel()
	journeys := readReference(t)
	m := published(t)
	scorer := m.Scorer(nil)
	var out []Score
	for at, j := range journeys {
		out = scorer.Score(j.sessions, out)
		var sum Share
		for k, got := range out {
			want := j.scores[k]
			sum += got.IHC
			ihc, phase := errorsOf(got, want)
			require.LessOrEqual(t, ihc, maxIHCError, "journey %d, session %d: ihc %v, the API's %v", at+1, k+1, got.IHC, want.IHC)
			require.LessOrEqual(t, phase, maxPhaseError, "journey %d, session %d: phases %+v, the API's %+v", at+1, k+1, got, want)
		}
		require.Equal(t, Whole, sum, "journey %d", at+1)
	}
	t.Log("\n" + compare(m, journeys).String())
}

// errorsOf returns how far off a score's ihc is, and the farthest of its phases.
func errorsOf(got, want Score) (ihc, phase float64) {
	return off(got.IHC, want.IHC),
		max(off(got.Initializer, want.Initializer), off(got.Holder, want.Holder), off(got.Closer, want.Closer))
}

// compare scores the journeys and gathers the errors.
func compare(m *Model, journeys []answered) errorTable {
	table := errorTable{}
	scorer := m.Scorer(nil)
	var out []Score
	for _, j := range journeys {
		out = scorer.Score(j.sessions, out)
		for k, got := range out {
			ihc, phase := errorsOf(got, j.scores[k])
			table.add(len(out), ihc, phase)
		}
	}
	return table
}

// off returns the distance of two shares; both are integers, so that a
// difference of ten ten-thousandths is 0.001 and not a bit more.
func off(a, b Share) float64 { return max(a-b, b-a).Float() }

func readReference(t *testing.T) []answered {
	dir := os.Getenv("IHC_SHARED_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	f, err := os.Open(filepath.Join(dir, "ihc-reference.jsonl"))
	if os.IsNotExist(err) {
		t.Skip("the file of the API's published answers is not here; set IHC_SHARED_DATA to its folder")
	}
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	var all []answered
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var row struct {
			Sessions []struct {
				Timestamp   string  `json:"timestamp"`
				Channel     string  `json:"channel_label"`
				Holder      int     `json:"holder_engagement"`
				Closer      int     `json:"closer_engagement"`
				Initializer float64 `json:"initializer"`
				HolderShare float64 `json:"holder"`
				CloserShare float64 `json:"closer"`
				IHC         float64 `json:"ihc"`
			} `json:"sessions"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &row))
		var j answered
		for _, s := range row.Sessions {
			share := func(v float64) Share { return Share(math.Round(v * float64(Whole))) }
			j.sessions = append(j.sessions, Session{
				TimeMicros: microsAt(t, s.Timestamp), Channel: s.Channel, Holder: s.Holder == 1, Closer: s.Closer == 1,
			})
			j.scores = append(j.scores, Score{share(s.Initializer), share(s.HolderShare), share(s.CloserShare), share(s.IHC)})
		}
		all = append(all, j)
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, all)
	return all
}

// errorTable gathers errors by the length of the journey.
type errorTable map[string]*errorRow

type errorRow struct {
	sessions                int
	ihcSum, ihcMax          float64
	phaseMax                float64
	exact, tenth, hundredth int // ihc within 0.0001, 0.001, 0.01
}

var lengths = []string{"1", "2", "3", "4-5", "6 and more", "2 and more", "all"}

func (e errorTable) add(length int, ihc, phase float64) {
	rows := []string{"all"}
	switch {
	case length <= 3:
		rows = append(rows, fmt.Sprint(length))
	case length <= 5:
		rows = append(rows, "4-5")
	default:
		rows = append(rows, "6 and more")
	}
	if length > 1 {
		rows = append(rows, "2 and more")
	}
	for _, name := range rows {
		if e[name] == nil {
			e[name] = &errorRow{}
		}
		r := e[name]
		r.sessions++
		r.ihcSum += ihc
		r.ihcMax = max(r.ihcMax, ihc)
		r.phaseMax = max(r.phaseMax, phase)
		for limit, count := range map[float64]*int{0.0001: &r.exact, 0.001: &r.tenth, 0.01: &r.hundredth} {
			if ihc <= limit {
				*count++
			}
		}
	}
}

func (e errorTable) String() string {
	var b strings.Builder
	b.WriteString("| sessions in the journey | sessions | ihc mean error | ihc largest | phases largest | ihc within 0.0001 | 0.001 | 0.01 |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|\n")
	for _, name := range lengths {
		r := e[name]
		if r == nil {
			continue
		}
		percent := func(n int) float64 { return 100 * float64(n) / float64(r.sessions) }
		fmt.Fprintf(&b, "| %s | %d | %.6f | %.4f | %.4f | %.1f %% | %.1f %% | %.1f %% |\n", name, r.sessions,
			r.ihcSum/float64(r.sessions), r.ihcMax, r.phaseMax, percent(r.exact), percent(r.tenth), percent(r.hundredth))
	}
	return b.String()
}
