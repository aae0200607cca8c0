package civil_test

import (
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/civil"
)

// Times are microseconds since 1970, UTC, and compare as numbers whatever form
// they were written in.
func ExampleParseTime() {
	noon, _ := civil.ParseTime("2023-09-01 12:00:00")
	same, _ := civil.ParseTime("2023-09-01 12:00:00.000")
	fmt.Println(noon, noon == same, civil.DateOf(noon))

	_, err := civil.ParseTime("2023-09-01T12:00:00+02:00")
	fmt.Println(err)
	// Output:
	// 1693569600000000 true 2023-09-01
	// unreadable time "2023-09-01T12:00:00+02:00": write YYYY-MM-DD HH:MM:SS, in UTC
}

// An empty date bounds nothing. The names are the caller's, so that the error
// speaks of the flag or the field that the user knows.
func ExampleCheckRange() {
	fmt.Println(civil.CheckRange("--start-date", "2023-09-01", "--end-date", ""))
	fmt.Println(civil.CheckRange("--start-date", "1.9.2023", "--end-date", ""))
	fmt.Println(civil.CheckRange("--start-date", "2023-09-30", "--end-date", "2023-09-01"))
	// Output:
	// <nil>
	// --start-date "1.9.2023" is no date: write it as YYYY-MM-DD, for example 2023-09-01
	// --start-date 2023-09-30 is after --end-date 2023-09-01; swap them
}
