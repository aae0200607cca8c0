package findings_test

import (
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
)

// Every finding has a line. Errors alone keep a run from starting, and they are
// the user's to mend.
func ExampleFindings_Err() {
	var f findings.Findings
	f.Add(findings.NullCost, "session_costs", "cost", 12, "rows", "")
	fmt.Println(f.Err())

	f.Add(findings.ZonedTime, "conversions", "conv_time", 1, "rows", `conv_id "c17": "12:00:00Z"`)
	f.Order()
	for _, line := range f.Lines() {
		fmt.Println(line)
	}
	fmt.Println(errkind.KindOf(f.Err()))
	// Output:
	// <nil>
	// error: conversions.conv_time: 1 row: the time carries a time zone; convert date and time to UTC and write them without it (first: conv_id "c17": "12:00:00Z")
	// note: session_costs.cost: 12 rows: cost is NULL; it counts as 0
	// input
}
