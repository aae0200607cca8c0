package run_test

import (
	"fmt"
	"time"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Five messages of the stream make two runs: one that ended when it was
// reported, so that cancelling it changes nothing, and one that nobody has
// taken up yet.
func ExampleFold() {
	at := time.Date(2023, 9, 1, 12, 0, 0, 0, time.UTC)
	request := &ihcv1.RunRequest{RunId: "september", StartDate: "2023-09-01"}
	report := &ihcv1.Report{RunId: "september", Counts: &ihcv1.Counts{InRange: 100, Attributed: 98, Failed: 2}}
	entries := []run.Entry{
		run.RequestEntry([]byte(`{"run_id":"september","start_date":"2023-09-01"}`), at, 1),
		{Sequence: 2, Time: at, Event: &ihcv1.RunEvent{RunId: "september",
			Event: &ihcv1.RunEvent_Accepted{Accepted: &ihcv1.RunAccepted{Request: request}}}},
		run.RequestEntry([]byte(`{}`), at, 3),
		{Sequence: 4, Time: at.Add(time.Minute), Event: &ihcv1.RunEvent{RunId: "september",
			Event: &ihcv1.RunEvent_Reported{Reported: &ihcv1.RunReported{Report: report}}}},
		{Sequence: 5, Time: at.Add(time.Hour), Event: &ihcv1.RunEvent{RunId: "september",
			Event: &ihcv1.RunEvent_Cancelled{Cancelled: &ihcv1.RunCancelled{Reason: "too late"}}}},
	}
	now := at.Add(2 * time.Hour)
	for _, s := range run.Fold(entries) {
		fmt.Println(s.ID, s.Status(), s.Took(now))
	}
	// Output:
	// september completed_with_failures 1m0s
	// 20230901-120000-3 requested 2h0m0s
}
