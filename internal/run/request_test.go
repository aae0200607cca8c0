package run

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

func TestDecodeTakesBothEncodings(t *testing.T) {
	t.Parallel()
	want := &ihcv1.RunRequest{StartDate: "2023-09-01", Model: "builtin", MaxSessions: 3000,
		RedistributionParameter: &ihcv1.RedistributionParameter{Holder: &ihcv1.RedistributionRule{
			Direction: "any_session", ReceiveThreshold: 0.1, RedistributionChannelLabels: []string{"Direct"}}}}
	binary, err := proto.Marshal(want)
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"protobuf": binary,
		"JSON": []byte(`  {"start_date":"2023-09-01","model":"builtin","max_sessions":3000,"redistribution_parameter":
			{"holder":{"direction":"any_session","receive_threshold":0.1,"redistribution_channel_labels":["Direct"]}}}`),
	} {
		got, err := Decode(data)
		require.NoError(t, err, name)
		require.True(t, proto.Equal(want, got), "%s: %v", name, got)
	}
	for _, data := range []string{"", "{}", " \n{}"} {
		got, err := Decode([]byte(data))
		require.NoError(t, err)
		require.True(t, proto.Equal(&ihcv1.RunRequest{}, got))
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	for data, says := range map[string]string{
		`{"start":"2023-09-01"}`:      `unknown field "start"`,
		`{"start_date":`:              "not valid JSON",
		`hello`:                       "neither JSON nor protobuf",
		`{"start_date":"01.09.2023"}`: "write it as YYYY-MM-DD",
		`{"start_date":"2023-02-29"}`: `"2023-02-29" is no date`,
		`{"start_date":"2023-09-02","end_date":"2023-09-01"}`:      "is after",
		`{"refunds":"ignore"}`:                                     `use "count" or "subtract"`,
		`{"model":"magic"}`:                                        `use "api" or "builtin"`,
		`{"run_id":"a.b"}`:                                         "letters, digits",
		`{"max_sessions":10001}`:                                   "the most is 10000",
		`{"max_sessions":-1}`:                                      "not valid JSON",
		`{"lookback_days":40000}`:                                  "the most is 36500",
		`{"replay_of":"a"}`:                                        "names both",
		`{"replay_of":"a","replay_from":"x"}`:                      `use "journeys" or "results"`,
		`{"run_id":"a","replay_of":"a","replay_from":"results"}`:   "cannot replay itself",
		`{"redistribution_parameter":{"holder":{"direction":""}}}`: "redistribution_parameter: holder: direction",
		`{"redistribution_parameter":{"closer":{"direction":"any_session","receive_threshold":2}}}`: "within 0 to 1",
	} {
		r, err := Decode([]byte(data))
		if err == nil {
			_, err = Complete(r)
		}
		require.ErrorContains(t, err, says, data)
		require.Equal(t, errkind.Input, errkind.KindOf(err), data)
	}
}

func TestCompleteFillsDefaults(t *testing.T) {
	t.Parallel()
	r, err := Complete(&ihcv1.RunRequest{})
	require.NoError(t, err)
	require.EqualValues(t, 200, r.GetMaxSessions())
	require.EqualValues(t, 100, r.GetMaxJourneys())
}

func TestRefundsAreCountedUnlessARequestSaysOtherwise(t *testing.T) {
	t.Parallel()
	none, count, subtract := &ihcv1.RunRequest{}, &ihcv1.RunRequest{Refunds: RefundsCount}, &ihcv1.RunRequest{Refunds: RefundsSubtract}
	require.True(t, Same(none, count))
	require.False(t, Same(count, subtract))
	require.Equal(t, []bool{false, false, true}, []bool{SubtractsRefunds(none), SubtractsRefunds(count), SubtractsRefunds(subtract)})
}

func TestNewIDIsValidAndStable(t *testing.T) {
	t.Parallel()
	at := time.Date(2023, 9, 1, 13, 1, 28, 5, time.FixedZone("", 3600))
	require.Equal(t, "20230901-120128-42", NewID(at, 42))
	require.True(t, ValidID(NewID(at, 1<<63)))
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"start_date":"2023-09-01"}`))
	f.Add([]byte{0x12, 0x0a, '2', '0', '2', '3', '-', '0', '9', '-', '0', '1'})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err == nil {
			r, err = Complete(r)
		}
		if err != nil {
			require.Equal(t, errkind.Input, errkind.KindOf(err))
			return
		}
		again, err := Complete(r)
		require.NoError(t, err)
		require.True(t, proto.Equal(r, again), "completing twice changes the request")
	})
}

// The examples are what people copy, so they have to be right.
func TestExamples(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../examples/run-request.json")
	require.NoError(t, err)
	r, err := Decode(data)
	require.NoError(t, err)
	_, err = Complete(r)
	require.NoError(t, err)

	data, err = os.ReadFile("../../examples/redistribution.json")
	require.NoError(t, err)
	r, err = Decode([]byte(`{"redistribution_parameter":` + string(data) + `}`))
	require.NoError(t, err)
	r, err = Complete(r)
	require.NoError(t, err)
	require.Equal(t, []string{"Direct", "SEO - Brand"}, Redistribution(r.GetRedistributionParameter()).Labels())
}

func TestWhatARequestLeavesOpenIsAsTheRunWasAccepted(t *testing.T) {
	t.Parallel()
	accepted := &ihcv1.RunRequest{StartDate: "2023-09-01", LongJourneys: LongCut}
	require.True(t, Answers(accepted, &ihcv1.RunRequest{StartDate: "2023-09-01"}))
	require.True(t, Answers(accepted, &ihcv1.RunRequest{StartDate: "2023-09-01", LongJourneys: LongCut}))
	require.False(t, Answers(accepted, &ihcv1.RunRequest{StartDate: "2023-09-01", LongJourneys: LongLatest}))
	require.False(t, Answers(accepted, &ihcv1.RunRequest{StartDate: "2023-09-02"}))
}
