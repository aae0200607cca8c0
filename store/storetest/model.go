package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// model is what the users' table and the journal are to be, in the most
// obvious way.
type model struct {
	sold    map[string]bool
	shown   map[string][]string // conversion → its rows
	journal map[int]entry       // by the order of storing
	latest  map[string]int      // conversion → what is shown of the journal
	runs    map[string]*modelRun
	next    int
}

type entry struct{ run, conv string }

type modelRun struct {
	status store.Status
	plan   [][]string // the conversions of each chunk
	chunks map[uint32]*ihcv1.AttributionResult
	unseen map[uint32]bool // chunks stored since the last finish
}

func (m *model) store(r *ihcv1.AttributionResult) {
	run := m.runs[r.GetRunId()]
	was := run.chunks[r.GetChunk()]
	if run.status == store.Failed || run.status == store.Cancelled || was != nil && was.GetRevision() >= r.GetRevision() {
		return
	}
	maps.DeleteFunc(m.journal, func(_ int, e entry) bool {
		return was != nil && e.run == r.GetRunId() && slices.Contains(run.plan[r.GetChunk()-1], e.conv)
	})
	run.chunks[r.GetChunk()], run.unseen[r.GetChunk()] = r, true
	for _, a := range r.GetAttributions() {
		m.next++
		m.journal[m.next] = entry{r.GetRunId(), a.GetConvId()}
	}
}

// finish returns whether the run is complete.
func (m *model) finish(id string) bool {
	run := m.runs[id]
	if run.status == store.Failed || run.status == store.Cancelled || len(run.chunks) < len(run.plan) {
		return false
	}
	if len(run.unseen) == 0 {
		return true
	}
	for conv := range m.shown {
		if !m.sold[conv] {
			m.remove(conv)
		}
	}
	for chunk := range run.unseen {
		for _, o := range run.chunks[chunk].GetOutcomes() {
			m.remove(o.GetConvId())
		}
		for _, a := range run.chunks[chunk].GetAttributions() {
			m.show(id, a)
		}
	}
	run.status, run.unseen = store.Written, map[uint32]bool{}
	return true
}

func (m *model) show(run string, a *ihcv1.Attribution) {
	conv, own := a.GetConvId(), 0
	for n, e := range m.journal {
		if e == (entry{run, conv}) {
			own = max(own, n) // an earlier one was shown, and is replaced
		}
	}
	if !m.sold[conv] {
		delete(m.journal, own)
		return
	}
	if was, ok := m.latest[conv]; ok && was != own {
		delete(m.journal, was)
	}
	m.latest[conv], m.shown[conv] = own, rowsOf(a)
}

func (m *model) remove(conv string) {
	delete(m.journal, m.latest[conv])
	delete(m.latest, conv)
	delete(m.shown, conv)
}

func (m *model) end(id string, status store.Status) {
	if run := m.runs[id]; run.status == store.Running {
		run.status = status
		maps.DeleteFunc(m.journal, func(_ int, e entry) bool { return e.run == id })
	}
}

func (m *model) check(f *fixture) {
	var journal, latest []string
	for _, e := range m.journal {
		journal = append(journal, e.run+"|"+e.conv)
	}
	for conv, n := range m.latest {
		if e, there := m.journal[n]; there {
			latest = append(latest, conv+"|"+e.run)
		}
	}
	slices.Sort(journal)
	slices.Sort(latest)
	require.Equal(f.t, sorted(m.shown), f.shown())
	require.Equal(f.t, journal, f.journal())
	require.Equal(f.t, latest, f.latest())
}

var pool = []string{"a", "b", "c", "d", "e", "f"}

// newModel puts conversions and three runs over them into the database. Each
// has its conversions in chunks of its own.
func newModel(t *rapid.T, f *fixture) *model {
	m := &model{sold: map[string]bool{}, shown: map[string][]string{}, journal: map[int]entry{}, latest: map[string]int{}, runs: map[string]*modelRun{}}
	for _, conv := range pool {
		m.sold[conv] = true
	}
	f.sell(pool...)
	for i := range 3 {
		id := fmt.Sprintf("r%d", i)
		convs := rapid.Permutation(pool).Draw(t, id)
		m.runs[id] = &modelRun{status: store.Running, plan: [][]string{convs[:2], convs[2:4]}, chunks: map[uint32]*ihcv1.AttributionResult{}, unseen: map[uint32]bool{}}
		f.expect(id, 2, 4)
	}
	return m
}

func (m *model) draw(t *rapid.T, id string) *ihcv1.AttributionResult {
	r := &ihcv1.AttributionResult{RunId: id, Chunk: rapid.Uint32Range(1, 2).Draw(t, "chunk"), Revision: rapid.Uint32Range(0, 3).Draw(t, "revision")}
	for _, conv := range m.runs[id].plan[r.GetChunk()-1] {
		kind := rapid.SampledFrom([]ihcv1.OutcomeKind{ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED, ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED,
			ihcv1.OutcomeKind_OUTCOME_KIND_EXCLUDED, ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, ihcv1.OutcomeKind_OUTCOME_KIND_WITHOUT_SESSIONS}).Draw(t, "outcome")
		if kind == ihcv1.OutcomeKind_OUTCOME_KIND_ATTRIBUTED {
			r.Attributions = append(r.Attributions, attributed(conv, rapid.SliceOfN(rapid.Uint32Range(0, 10_000), 1, 3).Draw(t, "shares")...))
		} else {
			r.Outcomes = append(r.Outcomes, &ihcv1.Outcome{ConvId: conv, Kind: kind})
		}
	}
	return r
}

// Runs that come and go in any order, conversions that are deleted and sold
// again, and another program that writes too.
func tablesAreThoseOfTheModel(t *testing.T, b Backend) {
	rapid.Check(t, func(t *rapid.T) {
		f := b.fresh(t)
		m := newModel(t, f)
		some := func() string { return rapid.SampledFrom([]string{"r0", "r1", "r2"}).Draw(t, "run") }
		store := func(t *rapid.T) {
			r := m.draw(t, some())
			f.store(r)
			m.store(r)
		}
		finish := func(t *rapid.T) {
			id := some()
			s, err := f.Finish(context.Background(), id)
			require.NoError(t, err)
			require.Equal(t, m.finish(id), s.Complete)
			require.Empty(t, s.Wrong)
		}
		t.Repeat(map[string]func(*rapid.T){
			"store": store, "store more": store, "store still more": store, "finish": finish, "finish again": finish,
			"end":   func(t *rapid.T) { m.endSome(t, f, some()) },
			"sell":  func(t *rapid.T) { m.sellOrDelete(t, f) },
			"other": func(t *rapid.T) { m.other(t, f) },
			"":      func(*rapid.T) { m.check(f) },
		})
	})
}

func (m *model) endSome(t *rapid.T, f *fixture, id string) {
	status := rapid.SampledFrom([]store.Status{store.Failed, store.Cancelled}).Draw(t, "status")
	require.NoError(t, f.End(context.Background(), id, status))
	m.end(id, status)
}

func (m *model) sellOrDelete(t *rapid.T, f *fixture) {
	conv := rapid.SampledFrom(pool).Draw(t, "conversion")
	if m.sold[conv] {
		f.exec(`DELETE FROM conversions WHERE conv_id = $1`, conv)
	} else {
		f.sell(conv)
	}
	m.sold[conv] = !m.sold[conv]
}

// other writes as another program would: a conversion that has no rows.
func (m *model) other(t *rapid.T, f *fixture) {
	conv := rapid.SampledFrom(append(slices.Clone(pool), "unheard-of")).Draw(t, "conversion")
	if len(m.shown[conv]) == 0 {
		f.exec(`INSERT INTO attribution_customer_journey VALUES ($1, 'other', 0.5)`, conv)
		m.shown[conv] = []string{conv + "|other|0.5"}
	}
}
