package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// badRequests are run requests as somebody might publish them to a stack, in
// JSON for the most part, and what the stack says of them.
var badRequests = []struct {
	name, data string
	says       string // in the failed run's reason; "" for a request that is to be done
	cause      ihcv1.Cause
}{
	{name: "no JSON", data: `{start_date: 2023-09-01}`, says: "not valid JSON"},
	{name: "cut off", data: `{"start_date":"2023-09-01"`, says: "not valid JSON"},
	{name: "two objects", data: `{}{}`, says: "not valid JSON"},
	{name: "a list", data: `[{"start_date":"2023-09-01"}]`, says: "neither JSON nor protobuf"},
	{name: "words", data: `please run everything`, says: "neither JSON nor protobuf"},
	{name: "bytes", data: "\xff\xfe\x00\x01\x02", says: "neither JSON nor protobuf"},
	{name: "a text that is no UTF-8", data: "{\"start_date\":\"\xff\"}", says: "not valid JSON"},
	{name: "an unknown field", data: `{"startdate":"2023-09-01"}`, says: `unknown field "startdate"`},
	{name: "a field twice", data: `{"start_date":"2023-09-01","start_date":"2023-09-02"}`, says: "duplicate field"},
	{name: "a number for a date", data: `{"start_date":20230901}`, says: "not valid JSON"},
	{name: "a date that is none", data: `{"start_date":"1 September"}`, says: `start_date "1 September" is no date: write it as YYYY-MM-DD`},
	{name: "a date with a time", data: `{"end_date":"2023-09-01T00:00:00Z"}`, says: `end_date "2023-09-01T00:00:00Z" is no date`},
	{name: "the end before the start", data: `{"start_date":"2023-09-02","end_date":"2023-09-01"}`, says: "is after end_date"},
	{name: "a model that is not", data: `{"model":"oracle"}`, says: `model "oracle"`},
	{name: "the API on a stack without a key", data: `{"model":"api","conv_type_id":"x"}`, says: "the attributor has no key: set IHC_API_KEY", cause: ihcv1.Cause_CAUSE_ENVIRONMENT},
	{name: "an id with dots", data: `{"run_id":"ihc.v1.run"}`, says: `run_id "ihc.v1.run": use 1 to 64 letters, digits, _ or -`},
	{name: "an id of stars", data: `{"run_id":"*"}`, says: `run_id "*"`},
	{name: "an id with a line break", data: `{"run_id":"a\nb"}`, says: `run_id "a\nb"`},
	{name: "a long id", data: `{"run_id":"` + strings.Repeat("x", 65) + `"}`, says: "use 1 to 64"},
	{name: "an id that leads out", data: `{"run_id":"../../etc"}`, says: "run_id"},
	{name: "sessions below 0", data: `{"max_sessions":-1}`, says: "not valid JSON"},
	{name: "too many sessions", data: `{"max_sessions":100000}`, says: "max_sessions 100000: the most is 10000"},
	{name: "too many journeys", data: `{"max_journeys":100000}`, says: "max_journeys 100000: the most is 1000"},
	{name: "half a session", data: `{"max_sessions":1.5}`, says: "not valid JSON"},
	{name: "a lookback of centuries", data: `{"lookback_days":99999}`, says: "lookback_days 99999"},
	{name: "redistribution upwards", data: `{"redistribution_parameter":{"holder":{"direction":"up"}}}`, says: "redistribution_parameter: holder: direction"},
	{name: "redistribution over 1", data: `{"redistribution_parameter":{"closer":{"direction":"any_session","receive_threshold":1.01}}}`, says: "receive_threshold"},
	{name: "redistribution to NaN", data: `{"redistribution_parameter":{"closer":{"direction":"any_session","receive_threshold":"NaN"}}}`, says: "receive_threshold"},
	{name: "model parameters that are none", data: `{"model":"builtin","model_params":"{}"}`, says: "model_params"},
	{name: "a replay of what was not", data: `{"replay_of":"nothing","replay_from":"results"}`, says: "run nothing is not known"},
	{name: "half a replay", data: `{"replay_of":"nothing"}`, says: "a replay names both"},
	{name: "a replay from nowhere", data: `{"replay_of":"nothing","replay_from":"air"}`, says: `replay_from "air"`},

	{name: "nothing at all, which asks for everything", data: ``},
	{name: "an empty object", data: ` { } `},
	{name: "numbers as text", data: `{"max_sessions":"100"}`},
	{name: "null", data: `{"start_date":null,"redistribution_parameter":null}`},
	{name: "a range without conversions", data: `{"start_date":"2030-01-01"}`},
}

// TestBadRequests publishes all of them to one stack, which has to take every
// one as if nothing had been before it.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	source := tables(t, db)
	untouchedDB := stateOf(t, db, h.path("out"))
	up := h.serve("up", "--db", db, "--out", h.path("out"), "--data-dir", h.path("streams"), "--listen", "127.0.0.1:0")
	url := natsURL(t, up)
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	events, err := js.OrderedConsumer(t.Context(), "IHC_RUNS", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"ihc.v1.run.reported.*", "ihc.v1.run.failed.*"}})
	require.NoError(t, err)
	it, err := events.Messages()
	require.NoError(t, err)
	defer it.Stop()
	wrote := false
	for _, c := range badRequests {
		_, err := js.Publish(t.Context(), "ihc.v1.run.requested", []byte(c.data))
		require.NoError(t, err, c.name)
		m, err := it.Next(jetstream.NextMaxWait(patience))
		require.NoError(t, err, "%s: no event tells what became of it\n%s", c.name, up.stderr())
		var e ihcv1.RunEvent
		require.NoError(t, proto.Unmarshal(m.Data(), &e), c.name)
		if c.says == "" {
			require.NotNil(t, e.GetReported(), "%s: %s", c.name, e.GetFailed().GetReason())
			wrote = true
			continue
		}
		require.NotNil(t, e.GetFailed(), c.name)
		require.Contains(t, e.GetFailed().GetReason(), c.says, c.name)
		require.NotContains(t, e.GetFailed().GetReason(), "\n", c.name)
		if c.cause == ihcv1.Cause_CAUSE_UNSPECIFIED {
			c.cause = ihcv1.Cause_CAUSE_INPUT
		}
		require.Equal(t, c.cause, e.GetFailed().GetCause(), c.name)
		if !wrote && c.cause == ihcv1.Cause_CAUSE_INPUT {
			require.Equal(t, untouchedDB, stateOf(t, db, h.path("out")), "%s: something was written", c.name)
		}
		if c.cause == ihcv1.Cause_CAUSE_ENVIRONMENT {
			wrote = true // the run began: it is in the ledger, as failed
		}
	}
	require.Empty(t, source.Diff(tables(t, db).Only(untouched)))

	// What could not be read at all is kept for whoever wonders.
	var letters []struct{ Stage, Reason string }
	require.NoError(t, json.Unmarshal([]byte(h.must("dead", "ls", "--json", "--nats", url).stdout), &letters))
	unreadable := 0
	for _, c := range badRequests {
		if strings.Contains(c.says, "JSON") || strings.Contains(c.says, "field") {
			unreadable++
		}
	}
	require.Len(t, letters, unreadable)
	for _, l := range letters {
		require.Equal(t, "extractor", l.Stage)
		require.NotEmpty(t, l.Reason)
	}
	// And the stack still works.
	o := parse(t, h.must("run", "--nats", url, "--json").stdout)
	require.Equal(t, attributed, o.Conversions.Attributed)
}

// The same request published twice is one run.
func TestRequestPublishedTwice(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	up := h.serve("up", "--db", db, "--out", h.path("out"), "--data-dir", h.path("streams"), "--listen", "127.0.0.1:0")
	nc, err := nats.Connect(natsURL(t, up))
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for i := range 5 { // with other message ids, as from other publishers
		_, err := js.Publish(t.Context(), "ihc.v1.run.requested", []byte(`{"run_id":"once"}`), jetstream.WithMsgID(fmt.Sprint(i)))
		require.NoError(t, err)
	}
	_, err = js.Publish(t.Context(), "ihc.v1.run.requested", []byte(`{"run_id":"after"}`))
	require.NoError(t, err)
	for _, id := range []string{"once", "after"} {
		require.Contains(t, h.must("status", id, "--watch", "--nats", natsURL(t, up)).stdout, id)
	}
	runs, err := js.Stream(t.Context(), "IHC_RUNS")
	require.NoError(t, err)
	info, err := runs.Info(t.Context(), jetstream.WithSubjectFilter("ihc.v1.run.*.once"))
	require.NoError(t, err)
	require.Equal(t, map[string]uint64{"ihc.v1.run.accepted.once": 1, "ihc.v1.run.extracted.once": 1, "ihc.v1.run.written.once": 1, "ihc.v1.run.reported.once": 1},
		info.State.Subjects)
	require.Len(t, tables(t, db)["pipeline_runs"], 2)
}
