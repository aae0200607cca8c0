package report

import (
	"strings"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/store"
)

// causeWords are the causes for people.
var causeWords = map[store.Cause]string{
	store.NewConversions:     "new conversions",
	store.ChangedJourneys:    "changed journeys",
	store.RemovedConversions: "those removed",
	store.ChangedRevenue:     "changed revenue",
	store.ChangedCost:        "changed cost",
	store.OtherSettings:      "other settings",
	store.ByHand:             "written by hand",
}

// before and after are what stands around the causes.
const (
	before = "before"
	after  = "after"
)

var amountColumns = []sheet.Column{
	{Name: "ihc", Title: "IHC", Kind: sheet.Amount},
	{Name: "ihc_revenue", Title: "Revenue", Kind: sheet.Amount},
	{Name: "cost", Title: "Cost", Kind: sheet.Amount},
}

func amountCells(a store.Amounts) []sheet.Cell {
	return []sheet.Cell{sheet.N(a.IHC), sheet.N(a.Revenue), sheet.N(a.Cost)}
}

// DifferenceSheet is what changed between two runs: for each channel what it came
// to before, by how much each cause changed that, and what it came to after, to
// the last digit. Channels that did not change have the first and the last only.
func DifferenceSheet(d *store.Difference) *sheet.Sheet {
	s := &sheet.Sheet{Name: "difference", Title: "From run " + d.From.ID + " to run " + d.To.ID,
		Columns: append([]sheet.Column{{Name: "from_run", Title: "From"}, {Name: "to_run", Title: "To"}, {Name: "channel", Title: "Channel"}, {Name: "cause", Title: "Cause"}}, amountColumns...)}
	for _, c := range d.Channels {
		add := func(cause string, a store.Amounts) {
			s.Rows = append(s.Rows, append([]sheet.Cell{sheet.T(d.From.ID), sheet.T(d.To.ID), sheet.T(c.Channel), sheet.T(cause)}, amountCells(a)...))
		}
		add(before, c.Before)
		for _, cause := range store.Causes {
			if a, there := c.Causes[cause]; there {
				add(string(cause), a)
			}
		}
		add(after, c.After)
	}
	return s
}

// DifferenceTables are the same for people: all channels together, from before
// to after by cause, and then the channels that changed, each with its causes.
func DifferenceTables(d *store.Difference) []*sheet.Sheet {
	sums := map[store.Cause]store.Amounts{}
	var was, is store.Amounts
	channels := &sheet.Sheet{Name: "channels", Title: "By channel", Columns: append([]sheet.Column{{Name: "channel", Title: "Channel"}}, amountColumns...)}
	for _, c := range d.Channels {
		was, is = was.Plus(c.Before), is.Plus(c.After)
		if len(c.Causes) == 0 {
			continue
		}
		channels.Rows = append(channels.Rows, append([]sheet.Cell{sheet.T(c.Channel)}, amountCells(c.After.Minus(c.Before))...))
		for _, cause := range store.Causes {
			if a, there := c.Causes[cause]; there {
				sums[cause] = sums[cause].Plus(a)
				channels.Rows = append(channels.Rows, append([]sheet.Cell{sheet.T("  " + causeWords[cause])}, changeCells(a)...))
			}
		}
	}
	all := &sheet.Sheet{Name: "causes", Title: "All channels", Columns: append([]sheet.Column{{Name: "cause", Title: "Cause"}}, amountColumns...)}
	all.Rows = append(all.Rows, append([]sheet.Cell{sheet.T(before)}, amountCells(was)...))
	for _, cause := range store.Causes {
		if a, there := sums[cause]; there {
			all.Rows = append(all.Rows, append([]sheet.Cell{sheet.T("  " + causeWords[cause])}, changeCells(a)...))
		}
	}
	all.Rows = append(all.Rows, append([]sheet.Cell{sheet.T(after)}, amountCells(is)...))
	if len(channels.Rows) == 0 {
		all.Notes = []string{"nothing changed"}
		return []*sheet.Sheet{all}
	}
	return []*sheet.Sheet{all, channels}
}

// changeCells are those of a change, in which nothing is no number.
func changeCells(a store.Amounts) []sheet.Cell {
	cells := amountCells(a)
	for i, n := range []decimal.Decimal{a.IHC, a.Revenue, a.Cost} {
		if n.IsZero() {
			cells[i] = sheet.None("no change")
		}
	}
	return cells
}

// RunJSON is a run's record for programs.
type RunJSON struct {
	RunID        string `json:"run_id"`
	Model        string `json:"model"`
	Program      string `json:"program,omitempty"`
	SourceDigest string `json:"source_digest,omitempty"`
	// Request is as in the run's events.
	Request jsonText `json:"request,omitempty"`
}

// jsonText is a text that is JSON already.
type jsonText string

// MarshalJSON implements json.Marshaler.
func (t jsonText) MarshalJSON() ([]byte, error) { return []byte(t), nil }

// DifferenceJSON is what changed between two runs for programs. Amounts are exact
// decimals.
type DifferenceJSON struct {
	From     RunJSON       `json:"from"`
	To       RunJSON       `json:"to"`
	Channels []ChannelJSON `json:"channels"`
}

// ChannelJSON is what changed of a channel: before and the causes add up to
// after.
type ChannelJSON struct {
	Channel string                      `json:"channel"`
	Before  AmountsJSON                 `json:"before"`
	After   AmountsJSON                 `json:"after"`
	Causes  map[store.Cause]AmountsJSON `json:"causes"`
}

// AmountsJSON are exact decimals.
type AmountsJSON struct {
	IHC     jsonText `json:"ihc"`
	Revenue jsonText `json:"ihc_revenue"`
	Cost    jsonText `json:"cost"`
}

// DifferenceOf returns a difference for programs.
func DifferenceOf(d *store.Difference) DifferenceJSON {
	j := DifferenceJSON{From: runJSON(d.From), To: runJSON(d.To), Channels: []ChannelJSON{}}
	for _, c := range d.Channels {
		of := ChannelJSON{Channel: c.Channel, Before: amountsJSON(c.Before), After: amountsJSON(c.After), Causes: map[store.Cause]AmountsJSON{}}
		for cause, a := range c.Causes {
			of.Causes[cause] = amountsJSON(a)
		}
		j.Channels = append(j.Channels, of)
	}
	return j
}

func runJSON(r store.RunRecord) RunJSON {
	return RunJSON{RunID: r.ID, Model: r.Model, Program: r.Program, SourceDigest: r.Source, Request: jsonText(strings.TrimSpace(r.Request))}
}

func amountsJSON(a store.Amounts) AmountsJSON {
	return AmountsJSON{IHC: jsonText(a.IHC.String()), Revenue: jsonText(a.Revenue.String()), Cost: jsonText(a.Cost.String())}
}
