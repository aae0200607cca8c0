package scoring

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func value(conv, session string, ihc int) ihcapi.Value {
	return ihcapi.Value{ConversionID: conv, SessionID: session, Score: ihcmodel.Score{IHC: unit.Share(ihc)}}
}

// Each reply is to a request for a (sessions a1, a2), b (b1) and, as proof that
// no other suffers, c (c1).
func TestReplyIsHeldAgainstTheRequest(t *testing.T) {
	t.Parallel()
	soundA := []ihcapi.Value{value("a", "a1", 2500), value("a", "a2", 7500)}
	soundB := []ihcapi.Value{value("b", "b1", 10_000)}
	join := func(parts ...[]ihcapi.Value) (all []ihcapi.Value) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for name, c := range map[string]struct {
		values    []ihcapi.Value
		failures  []ihcapi.PartialFailure
		failed    map[string]string // conversion → reason
		strangers []string
	}{
		"sound":                 {values: join(soundA, soundB)},
		"in another order":      {values: []ihcapi.Value{soundB[0], soundA[1], soundA[0]}},
		"sum off by a thousand": {values: join([]ihcapi.Value{value("a", "a1", 2490), value("a", "a2", 7500)}, soundB)},
		"sum above by a bit":    {values: join([]ihcapi.Value{value("a", "a1", 2510), value("a", "a2", 7500)}, soundB)},
		"missing": {values: join(soundA[:1], soundB),
			failed: map[string]string{"a": "the IHC API's reply lacks a session"}},
		"all of one missing": {values: soundA,
			failed: map[string]string{"b": "the IHC API's reply lacks a session"}},
		"extra": {values: join(soundA, soundB, []ihcapi.Value{value("b", "a1", 0)}),
			failed: map[string]string{"b": "the IHC API's reply has a session that was not sent"}},
		"twice": {values: join(soundA, soundB, soundB),
			failed: map[string]string{"b": "the IHC API's reply has a session twice"}},
		"unknown conversion": {values: join(soundA, soundB, []ihcapi.Value{value("x", "b1", 10_000)}), strangers: []string{"x"}},
		"sum below": {values: join([]ihcapi.Value{value("a", "a1", 2489), value("a", "a2", 7500)}, soundB),
			failed: map[string]string{"a": "the IHC API's shares of the conversion do not sum to 1"}},
		"sum above": {values: join(soundA, []ihcapi.Value{value("b", "b1", 10_011)}),
			failed: map[string]string{"b": "the IHC API's shares of the conversion do not sum to 1"}},
		"unusable row": {values: join(soundA, []ihcapi.Value{{ConversionID: "b", SessionID: "b1", Problem: "ihc is NaN"}}),
			failed: map[string]string{"b": "the IHC API's reply is unusable: ihc is NaN"}},
		"partial failure": {values: soundB, failures: []ihcapi.PartialFailure{{ConversionID: "a", SessionID: "a1", Reason: "too late", StatusCode: 206}},
			failed: map[string]string{"a": "the IHC API: too late (status 206)"}},
		"partial failure with values": {values: join(soundA, soundB), failures: []ihcapi.PartialFailure{{ConversionID: "a", SessionID: "a1", Reason: "unparseable", StatusCode: 406}},
			failed: map[string]string{"a": "the IHC API: unparseable (status 406)"}},
		"the first reason counts": {values: soundA[:1], failures: []ihcapi.PartialFailure{{ConversionID: "a", Reason: "one", StatusCode: 206}, {ConversionID: "a", Reason: "two", StatusCode: 206}, {ConversionID: "b", Reason: "three", StatusCode: 206}},
			failed: map[string]string{"a": "the IHC API: one (status 206)", "b": "the IHC API: three (status 206)"}},
		"failure of a stranger": {values: join(soundA, soundB), failures: []ihcapi.PartialFailure{{ConversionID: "x"}}, strangers: []string{"x"}},
		"a row without ids":     {values: join(soundA, soundB, []ihcapi.Value{{Problem: "a row that is not an object"}}), strangers: []string{""}},
		"nothing at all":        {failed: map[string]string{"a": "the IHC API's reply lacks a session", "b": "the IHC API's reply lacks a session"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := []*ihcv1.Journey{{ConvId: "a", SessionIds: []string{"a1", "a2"}}, {ConvId: "b", SessionIds: []string{"b1"}}, {ConvId: "c", SessionIds: []string{"c1"}}}
			got, strangers := reconcile(asked, &ihcapi.Response{StatusCode: 200, HasValue: true, Failures: c.failures,
				Values: append([]ihcapi.Value{value("c", "c1", 10_000)}, c.values...)})
			require.Equal(t, c.strangers, strangers)
			require.EqualValues(t, 1, got.Requests)
			failed := map[string]string{}
			for _, o := range got.Outcomes {
				require.Equal(t, ihcv1.OutcomeKind_OUTCOME_KIND_FAILED, o.GetKind())
				failed[o.GetConvId()] = o.GetReason()
			}
			if c.failed == nil {
				c.failed = map[string]string{}
			}
			require.Equal(t, c.failed, failed)
			seen := map[string]bool{}
			for _, a := range got.Attributions {
				seen[a.GetConvId()] = true
				require.Len(t, a.GetIhc(), len(a.GetSessionIds()))
				if a.GetConvId() == "a" && name == "in another order" {
					require.Equal(t, []uint32{2500, 7500}, a.GetIhc(), "shares went to the wrong sessions")
				}
			}
			require.True(t, seen["c"], "another conversion suffers")
			require.Len(t, seen, 3-len(failed), "every conversion has an attribution or an outcome")
		})
	}
}

// Ids that are not UTF-8 come back changed, and are still recognised.
func TestReplyToIDsThatAreNotUTF8(t *testing.T) {
	t.Parallel()
	got, strangers := reconcile([]*ihcv1.Journey{{ConvId: "\xff", SessionIds: []string{"s\xfe"}}},
		&ihcapi.Response{Values: []ihcapi.Value{value("\uFFFD", "s\uFFFD", 10_000)}})
	require.Empty(t, strangers)
	require.Len(t, got.Attributions, 1)
	require.Equal(t, "\xff", got.Attributions[0].GetConvId())
}

// Two ids that the wire makes one cannot be told apart in a reply: both fail,
// rather than one getting the other's shares.
func TestReplyToIDsThatTheWireMakesOne(t *testing.T) {
	t.Parallel()
	for name, asked := range map[string][]*ihcv1.Journey{
		"conversions": {{ConvId: "\xff", SessionIds: []string{"s1"}}, {ConvId: "\xfe", SessionIds: []string{"s2"}}},
		"sessions":    {{ConvId: "\xff", SessionIds: []string{"\xf0", "\xf1"}}},
	} {
		var values []ihcapi.Value
		for _, j := range asked {
			for _, s := range j.GetSessionIds() {
				values = append(values, value(ihcapi.WireID(j.GetConvId()), ihcapi.WireID(s), 10_000/len(j.GetSessionIds())))
			}
		}
		got, _ := reconcile(asked, &ihcapi.Response{Values: values})
		require.Empty(t, got.Attributions, name)
		require.Len(t, got.Outcomes, len(asked), name)
	}
}

func sample() *ihcv1.JourneyChunk {
	return &ihcv1.JourneyChunk{RunId: "run", Chunk: 1, Channels: []string{"SEO", "Direct"}, Journeys: []*ihcv1.Journey{
		{ConvId: "a", SessionIds: []string{"a1", "a2"}, TimeDeltas: []int64{5, 6}, Channels: []uint32{1, 0}, Flags: []byte{0, 3}},
		{ConvId: "b", SessionIds: []string{"b1"}, TimeDeltas: []int64{5}, Channels: []uint32{0}, Flags: []byte{7}}}}
}

func TestCheckRefusesWhatTheContractDoesNotAllow(t *testing.T) {
	t.Parallel()
	require.NoError(t, Check(sample()))
	require.NoError(t, Check(&ihcv1.JourneyChunk{}))
	for says, spoil := range map[string]func(*ihcv1.Journey){
		`conversion "a" has no session`:             func(j *ihcv1.Journey) { j.SessionIds = nil },
		"differ in length":                          func(j *ihcv1.Journey) { j.Flags = j.Flags[:1] },
		"times, channels and flags":                 func(j *ihcv1.Journey) { j.TimeDeltas = append(j.TimeDeltas, 1) },
		"lists of sessions":                         func(j *ihcv1.Journey) { j.Channels = nil },
		"channel 2 is not in the chunk's list of 2": func(j *ihcv1.Journey) { j.Channels[0] = 2 },
	} {
		c := sample()
		spoil(c.GetJourneys()[0])
		require.ErrorContains(t, Check(c), says)
	}
}
