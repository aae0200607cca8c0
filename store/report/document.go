package report

import (
	"cmp"
	"encoding/json"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/internal/unit"
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
	Runs []string `json:"runs,omitempty"`
	// Refunds are the conversions of the dates with a negative revenue; nil for none.
	Refunds *run.ResultRefunds `json:"refunds,omitempty"`
	Version string             `json:"version"`
	Tables  []*sheet.Sheet     `json:"tables"`
}

// JSON returns a report with some of its tables for programs.
func (r *Report) JSON(tables []*sheet.Sheet) Document {
	d := Document{StartDate: r.First, EndDate: r.Last, Timezone: cmp.Or(r.Zone, utc), MatureUntil: r.Maturity.Until, KnownThrough: r.Maturity.Through,
		Channel: r.Channel, Currency: r.Currency, Runs: r.runs(), Version: r.Version, Tables: tables}
	if of := &r.totals.Range; of.Refunds > 0 {
		d.Refunds = &run.ResultRefunds{Conversions: uint64(of.Refunds), Revenue: json.Number(of.RefundRevenue.Decimal(unit.MoneyDecimals).String()), Subtracted: r.totals.Subtract}
	}
	if r.Compare != (Period{}) {
		d.Compared = &r.Compare
	}
	return d
}
