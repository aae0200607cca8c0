package report

import (
	"cmp"

	"github.com/ihc-pipeline/ihc/internal/sheet"
)

// Document is a report for programs.
type Document struct {
	// StartDate and EndDate are the session dates it covers, and Timezone is that
	// of all its dates.
	StartDate    string  `json:"start_date"`
	EndDate      string  `json:"end_date"`
	Timezone     string  `json:"timezone"`
	MatureUntil  string  `json:"mature_until,omitempty"`
	KnownThrough string  `json:"conversions_known_through,omitempty"`
	Channel      string  `json:"channel,omitempty"`
	Compared     *Period `json:"compared_with,omitempty"`
	Currency     string  `json:"currency,omitempty"`
	// Runs are those that scored the conversions of the dates, the latest last.
	Runs    []string       `json:"runs,omitempty"`
	Version string         `json:"version"`
	Tables  []*sheet.Sheet `json:"tables"`
}

// JSON returns a report with some of its tables for programs.
func (r *Report) JSON(tables []*sheet.Sheet) Document {
	d := Document{StartDate: r.First, EndDate: r.Last, Timezone: cmp.Or(r.Zone, utc), MatureUntil: r.Maturity.Until, KnownThrough: r.Maturity.Through,
		Channel: r.Channel, Currency: r.Currency, Runs: r.runs(), Version: r.Version, Tables: tables}
	if r.Compare != (Period{}) {
		d.Compared = &r.Compare
	}
	return d
}
