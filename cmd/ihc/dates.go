package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// dateFlags bound a command to dates.
type dateFlags struct{ start, end, zone string }

// add adds the flags; of says what is of the dates.
func (f *dateFlags) add(cmd *cobra.Command, of string) {
	fs := cmd.Flags()
	fs.StringVar(&f.start, "start-date", "", "first UTC `date` of "+of+": 2023-09-01, a month 2023-09, a week 2023-W36, today, yesterday, -7d, -4w, -1m or -1y")
	fs.StringVar(&f.end, "end-date", "", "last `date`, included, written likewise; of a month or week its last day")
	fs.StringVar(&f.zone, "timezone", "UTC", "`zone` that says which day is today, such as Europe/Berlin")
}

// resolve returns the dates as YYYY-MM-DD, or empty, as they are at this time.
func (f *dateFlags) resolve(now time.Time) (start, end string, err error) {
	zone, err := civil.Zone(f.zone)
	if err != nil {
		return "", "", errkind.Inputf("--timezone %w", err)
	}
	return civil.ResolveRange("--start-date", f.start, "--end-date", f.end, civil.Today(now.In(zone)))
}
