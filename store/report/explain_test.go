package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// scored is a conversion as the built-in model scores it.
func scored(t *testing.T, touches ...store.Touchpoint) *store.Conversion {
	t.Helper()
	model, err := ihcmodel.New(ihcmodel.DefaultParams())
	require.NoError(t, err)
	var sessions []ihcmodel.Session
	for _, s := range touches {
		at, err := civil.ParseTime(s.Time)
		require.NoError(t, err)
		sessions = append(sessions, ihcmodel.Session{TimeMicros: at, Channel: s.Channel, Holder: s.Engagement.Holder(), Closer: s.Engagement.Closer()})
	}
	for i, s := range model.Scorer(nil).Score(sessions, nil) {
		t := &touches[i]
		t.Known, t.Scored, t.Phased = true, true, true
		t.Share, t.Initializer, t.Holder, t.Closer = int64(s.IHC), int64(s.Initializer), int64(s.Holder), int64(s.Closer)
		t.IHC = share(t.Share).Shift(store.ShareDecimals).IntPart()
	}
	return &store.Conversion{ID: "c", User: "u", Time: "2023-09-10 12:00:00", Revenue: 1_000_000, Sessions: touches, Chunk: 3,
		Run: &store.RunJourneys{RunID: "run", Model: "builtin " + model.Name(), Request: "{}"}}
}

func TestExplanationSaysWhyEachSessionHasItsShare(t *testing.T) {
	t.Parallel()
	e := Explain(scored(t,
		store.Touchpoint{Session: "s1", Time: "2023-09-01 12:00:00", Channel: "Email", Engagement: unit.Holder},
		store.Touchpoint{Session: "s2", Time: "2023-09-10 09:00:00", Channel: "SEO"},
		store.Touchpoint{Session: "s3", Time: "2023-09-10 11:00:00", Channel: "Direct", Engagement: unit.Holder | unit.Closer}))
	require.Equal(t, []any{"attributed", "run", int64(3), "100"}, []any{e.Outcome, e.RunID, e.Chunk, e.Revenue.String()})
	why := make([]string, len(e.Sessions))
	for i, s := range e.Sessions {
		why[i] = strings.Join(s.Why, "; ")
	}
	require.Contains(t, why[0], "before a gap of")
	require.True(t, e.Sessions[0].IHC.IsZero())
	require.Contains(t, why[1], "starts the journey: 8.9 days since the session before")
	require.Contains(t, why[1], "not engaged as a holder: holds nothing")
	require.Contains(t, why[2], "2.0 h since the session before")
	require.Contains(t, why[2], "last of the journey: closes by 1.000")
	require.Equal(t, []string{"holder", "closer"}, e.Sessions[2].Engagement)
	require.Empty(t, e.Notes)
}

// Nothing is said of why where it would be made up.
func TestExplanationGivesNoReasonsThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	one := store.Touchpoint{Session: "s1", Time: "2023-09-01 12:00:00", Channel: "Email"}
	other := store.Touchpoint{Session: "s2", Time: "2023-09-01 13:00:00", Channel: "SEO"}
	for name, change := range map[string]func(*store.Conversion){
		"not known here": func(c *store.Conversion) { c.Run.Model = "api" },
		"other shares":   func(c *store.Conversion) { c.Sessions[0].Share-- },
		"have changed":   func(c *store.Conversion) { c.Sessions[1].Time = "" },
		"the journal":    func(c *store.Conversion) { c.Run = nil },
	} {
		c := scored(t, one, other)
		change(c)
		e := Explain(c)
		require.Len(t, e.Notes, 1, name)
		require.Contains(t, e.Notes[0], name)
		require.Empty(t, e.Sessions[0].Why)
	}
	e := Explain(&store.Conversion{ID: "c"})
	require.Equal(t, "not_run", e.Outcome)
}

func TestOnlySessionDoesAll(t *testing.T) {
	t.Parallel()
	e := Explain(scored(t, store.Touchpoint{Session: "s1", Time: "2023-09-01 12:00:00", Channel: "Email"}))
	require.Equal(t, []string{"the only session: it starts and closes the journey"}, e.Sessions[0].Why)
	require.Equal(t, "100", e.Sessions[0].IHCRevenue.String())
}
