package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/page"
	"github.com/ihc-pipeline/ihc/internal/plot"
	"github.com/ihc-pipeline/ihc/internal/sheet"
)

const (
	// mostSpread is how many channels are drawn: those that the models disagree
	// most on. The table has more.
	mostSpread = 8
	tooFew     = "*"
)

// modelSection says what each model makes of the same conversions.
func (r *Report) modelSection() (page.Section, bool) {
	s := page.Section{ID: "models-section", Title: "Models side by side"}
	m := r.Models
	switch {
	case r.Dimension != "" || r.Channel != "" || len(r.all) == 0:
		return s, false
	case m == nil && r.Elsewhere():
		s.Lead = "Models are compared on dates in UTC, which are not those of this report: `ihc models` does it for the command line, a report in UTC for its page."
		return s, true
	case m == nil:
		s.Lead = "The models were not compared here, since there is much to compare: `ihc models` does it for the command line, `ihc report --format html` for this page."
		return s, true
	case m.Conversions == 0:
		s.Lead = "There are no conversions of these dates to compare models on."
		return s, true
	}
	s.Lead = fmt.Sprintf("What each model makes of the same %s. %s.", human.Count(m.Conversions, "conversion"), NotCause)
	all := m.Disagreements()
	conversions := m.wide("conversions", func(c attribution.Credit) attribution.Estimate { return c.Conversions }, all, r.mainModel())
	s.Figures = []page.Figure{r.spreadFigure(all, conversions)}
	s.Facts = m.facts()
	return s, true
}

// facts say with which settings the models work, and what is to be known.
func (m *Models) facts() []page.Fact {
	var settings []string
	var facts []page.Fact
	for _, result := range m.Models {
		if result.Label != result.Model {
			settings = append(settings, result.Label)
		}
		for _, n := range result.Notes {
			facts = append(facts, page.Fact{Name: result.Model, Text: upper(n) + "."})
		}
	}
	if len(settings) > 0 {
		facts = append([]page.Fact{{Name: "Settings", Text: strings.Join(settings, ", ") + "."}}, facts...)
	}
	return facts
}

// mostCompared is how many channels the tables of models have on a page.
const mostCompared = 60

// wide has a row for each channel and a column for each model, and the interval
// of the main one.
func (m *Models) wide(what string, of func(attribution.Credit) attribution.Estimate, all []Disagreement, main string) *sheet.Sheet {
	s := &sheet.Sheet{Name: what + "-by-model", Title: upper(what) + " by channel and model", Columns: []sheet.Column{{Name: "channel_name", Title: "channel"}},
		Notes: []string{"The same with all intervals, cost, CPO and ROAS: `ihc models --csv`."}}
	for _, result := range m.Models {
		s.Columns = append(s.Columns, sheet.Column{Name: result.Model, Title: result.Model, Kind: sheet.Amount})
	}
	s.Columns = append(s.Columns, sheet.Column{Name: main + "_low", Title: main + " from", Kind: sheet.Amount}, sheet.Column{Name: main + "_high", Title: main + " to", Kind: sheet.Amount},
		sheet.Column{Name: main + "_too_few_to_rank", Title: "too few to rank"})
	for _, d := range all[:min(len(all), mostCompared)] {
		row := []sheet.Cell{sheet.T(d.Channel)}
		ends := []sheet.Cell{sheet.None("no credit"), sheet.None("no credit"), sheet.T("")}
		for _, result := range m.Models {
			c, there := creditOf(result, d.Channel)
			if !there {
				row = append(row, sheet.None("no credit"))
				continue
			}
			cells := estimate(of(c))
			row = append(row, cells[0])
			if result.Model == main {
				ends = slices.Concat(cells[1:], []sheet.Cell{sheet.T(strconv.FormatBool(c.TooFew))})
			}
		}
		s.Rows = append(s.Rows, append(row, ends...))
	}
	if n := len(all) - len(s.Rows); n > 0 {
		s.Notes = append(s.Notes, human.Count(n, "channel")+" more there, too.")
	}
	return s
}

// spreadFigure shows how far apart the models are on each channel.
func (r *Report) spreadFigure(all []Disagreement, table *sheet.Sheet) page.Figure {
	main := r.mainModel()
	rows := &page.Rows{Head: []string{""}}
	few := false
	for _, d := range all[:min(len(all), mostSpread)] {
		var others []plot.Named
		credit, most := attribution.Credit{}, d.Most
		for _, result := range r.Models.Models {
			if c, there := creditOf(result, d.Channel); there && result.Model == main {
				credit, most = c, max(most, c.Conversions.High)
			}
		}
		for _, result := range r.Models.Models {
			if c, there := creditOf(result, d.Channel); there && result.Model != main && (result.Model == d.LeastModel || result.Model == d.MostModel) {
				others = append(others, plot.Named{Name: result.Model, At: onRail(c.Conversions.Value, most)})
			}
		}
		text := fmt.Sprintf("%s (%s) to %s (%s)", people(d.Least), d.LeastModel, people(d.Most), d.MostModel)
		if d.Conversions == 0 {
			text = people(d.Most) + " by every model"
		}
		if credit.TooFew {
			text += " " + tooFew
			few = true
		}
		class := r.colour(d.Channel)
		rows.Rows = append(rows.Rows, page.Row{Name: d.Channel, Class: class, Cells: []page.Picture{{Picture: interval(credit.Conversions, most, others, class), Text: text}}})
	}
	var notes []string
	if few {
		notes = append(notes, fewNote(main))
	}
	notes = append(notes, "Each row runs from 0 to the most of its own channel.")
	if n := len(all) - mostSpread; n > 0 {
		notes = append(notes, human.Thousands(n)+" more are in the table.")
	}
	return page.Figure{ID: "models", Title: "Conversions by channel: where the models disagree most comes first", Finding: r.Models.apart(), Rows: rows, Note: strings.Join(notes, " "),
		Legend: []page.Key{{Class: "key-dot", Text: main + ", with its 95 % interval"}, {Class: "key-ring", Text: "the models with the least and the most"}}, Sheet: table, Colours: r.colourMap()}
}

func fewNote(model string) string {
	if model != "" {
		model = " by " + model
	}
	return fmt.Sprintf("%s too few to rank: fewer than %d conversions%s.", tooFew, attribution.TooFew, model)
}

// mainModel is the model that scored the report, where it is among those
// compared, and otherwise ihc or the first.
func (r *Report) mainModel() string {
	var names []string
	for _, result := range r.Models.Models {
		names = append(names, result.Model)
	}
	if j := r.totals.Journeys; j != nil && len(j.Runs) == 1 {
		name, _, _ := strings.Cut(j.Runs[0].Model, "=")
		if slices.Contains(names, name) {
			return name
		}
	}
	if slices.Contains(names, attribution.IHC) {
		return attribution.IHC
	}
	return names[0]
}

// apart says which two models divide the conversions most differently.
func (m *Models) apart() string {
	var first, second string
	most := 0.0
	for i, a := range m.Models {
		for _, b := range m.Models[:i] {
			if part := Moved(a, b, m.Conversions); !a.Coverage && !b.Coverage && part > most {
				most, first, second = part, b.Model, a.Model
			}
		}
	}
	if most < 0.0005 { // 0.0 %
		return "All models agree: each gives the same conversions to the same channels."
	}
	return fmt.Sprintf("%s and %s give %s %% of all conversions to different channels.", upper(first), second, human.Decimal(decimal.NewFromFloat(100*most), 1))
}

func creditOf(result attribution.Result, channel string) (attribution.Credit, bool) {
	i, there := slices.BinarySearchFunc(result.Credits, channel, func(c attribution.Credit, name string) int { return cmp.Compare(c.Channel, name) })
	if !there {
		return attribution.Credit{}, false
	}
	return result.Credits[i], true
}

// interval draws an estimate on a rail from 0 to most.
func interval(e attribution.Estimate, most float64, others []plot.Named, class string) template.HTML {
	low, high := math.NaN(), math.NaN()
	if e.Known {
		low, high = onRail(e.Low, most), onRail(e.High, most)
	}
	return plot.Interval(onRail(e.Value, most), low, high, others, class, "")
}

func onRail(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func people(v float64) string { return human.Decimal(decimal.NewFromFloat(v), 2) }
