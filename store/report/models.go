package report

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/shopspring/decimal"
	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// NotCause is said wherever intervals are.
const NotCause = "95 % intervals cover sampling, not cause: that other users might have come, not whether a channel made them buy"

// ModelsQuery says which models are compared on what.
type ModelsQuery struct {
	// Names are the models, nil all of them.
	Names   []string
	Options attribution.Options
	By      attribution.Period
	// Start and End are the first and last date of the conversions, both
	// included; an empty one bounds nothing.
	Start, End          string
	LookbackDays        uint32
	IncludeSimultaneous bool
	// MostTouchpoints is how many sessions are read at most, 0 for all: where
	// there are more, [CompareModels] returns [ErrTooManyTouchpoints].
	MostTouchpoints int
}

// ErrTooManyTouchpoints says that a comparison of models was not made, since it
// would have taken longer than it was given.
var ErrTooManyTouchpoints = errors.New("there are more sessions than models are compared on here")

// Models is a comparison of models with what the channels cost.
type Models struct {
	*attribution.Comparison
	by    attribution.Period
	costs map[string]map[string]decimal.Decimal // by period, "" for all, and channel
}

// NoModels is the comparison of a run without conversions.
func NoModels() *Models { return &Models{Comparison: &attribution.Comparison{}} }

// CompareModels reads the journeys and the costs side by side. The data must
// have passed validation.
func CompareModels(ctx context.Context, db store.Source, q ModelsQuery) (*Models, error) {
	m := &Models{by: q.By}
	if q.Names == nil {
		q.Names = attribution.Names()
	}
	start, end := run.Range(&ihcv1.RunRequest{StartDate: q.Start, EndDate: q.End})
	options := journey.Options{Start: start, End: end, LookbackDays: int(q.LookbackDays), IncludeSimultaneous: q.IncludeSimultaneous}
	group, within := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		read := 0
		m.Comparison, err = attribution.Compare(within, q.Names, q.Options, q.By, func(ctx context.Context, yield func(*journey.History) error) error {
			return db.Histories(ctx, options, func(h *journey.History) error {
				if read += len(h.Sessions); q.MostTouchpoints > 0 && read > q.MostTouchpoints {
					return ErrTooManyTouchpoints
				}
				return yield(h)
			})
		})
		return err
	})
	group.Go(func() error {
		all, err := db.Costs(within, start, end)
		m.setCosts(all)
		return err
	})
	return m, group.Wait()
}

func (m *Models) setCosts(all []store.Cost) {
	type key struct{ period, channel string }
	sums := map[key]unit.Sum{}
	for _, c := range all {
		sums[key{"", c.Channel}] = sums[key{"", c.Channel}].Plus(c.Cost)
		if m.by != attribution.ByNothing {
			k := key{m.by.Of(c.Date), c.Channel}
			sums[k] = sums[k].Plus(c.Cost)
		}
	}
	m.costs = map[string]map[string]decimal.Decimal{}
	for k, sum := range sums {
		if m.costs[k.period] == nil {
			m.costs[k.period] = map[string]decimal.Decimal{}
		}
		m.costs[k.period][k.channel] = sum.Decimal(unit.CostDecimals)
	}
}

// Channels returns the names of all that some model knows of.
func (m *Models) Channels() []string {
	names := map[string]bool{}
	for _, result := range m.Models {
		for _, c := range result.Credits {
			names[c.Channel] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Cost is what the sessions of a channel cost, of a period or, "", of all.
func (m *Models) Cost(period, channel string) decimal.Decimal { return m.costs[period][channel] }

// CPO is cost ÷ conversions; what is no channel has none.
func (m *Models) CPO(period string, c attribution.Credit) sheet.Cell {
	if c.Channel == attribution.Unattributed {
		return sheet.None("no channel")
	}
	return sheet.Ratio(m.Cost(period, c.Channel), decimal.NewFromFloat(c.Conversions.Value), nothingCredited)
}

// ROAS is revenue ÷ cost.
func (m *Models) ROAS(period string, c attribution.Credit) sheet.Cell {
	return sheet.Ratio(decimal.NewFromFloat(c.Revenue.Value), m.Cost(period, c.Channel), nothingSpent)
}

// Sheet has a row for each model and channel, and for each period where the
// comparison is by one.
func (m *Models) Sheet() *sheet.Sheet {
	amount := func(name, title string) sheet.Column {
		return sheet.Column{Name: name, Title: title, Kind: sheet.Amount}
	}
	s := &sheet.Sheet{Name: "models", Title: "Channels by model, with 95 % intervals", Notes: []string{NotCause}, Columns: []sheet.Column{
		{Name: "model", Title: "model"}, {Name: "channel_name", Title: "channel"},
		amount("conversions", "conversions"), amount("conversions_low", "from"), amount("conversions_high", "to"),
		amount("revenue", "revenue"), amount("revenue_low", "from"), amount("revenue_high", "to"),
		amount("cost", "cost"), amount("CPO", "CPO"), amount("ROAS", "ROAS"), {Name: "too_few_to_rank", Title: "too few to rank"}}}
	sections := []attribution.Section{m.Section}
	if m.by != attribution.ByNothing {
		s.Columns, sections = append([]sheet.Column{{Name: "period", Title: "period"}}, s.Columns...), m.Periods
	}
	for _, section := range sections {
		for _, result := range section.Models {
			for _, c := range result.Credits {
				row := append([]sheet.Cell{sheet.T(result.Model), sheet.T(c.Channel)}, estimate(c.Conversions)...)
				row = append(row, estimate(c.Revenue)...)
				row = append(row, sheet.N(m.Cost(section.Period, c.Channel)), m.CPO(section.Period, c), m.ROAS(section.Period, c), sheet.T(strconv.FormatBool(c.TooFew)))
				if m.by != attribution.ByNothing {
					row = append([]sheet.Cell{sheet.T(section.Period)}, row...)
				}
				s.Rows = append(s.Rows, row)
			}
		}
	}
	return s
}

func estimate(e attribution.Estimate) []sheet.Cell {
	value := sheet.N(decimal.NewFromFloat(e.Value))
	if !e.Known {
		return []sheet.Cell{value, sheet.None("no interval"), sheet.None("no interval")}
	}
	return []sheet.Cell{value, sheet.N(decimal.NewFromFloat(e.Low)), sheet.N(decimal.NewFromFloat(e.High))}
}

// Disagreement is how far the models are apart on a channel.
type Disagreement struct {
	Channel     string  `json:"channel"`
	Least       float64 `json:"least"`
	LeastModel  string  `json:"least_model"`
	Most        float64 `json:"most"`
	MostModel   string  `json:"most_model"`
	Conversions float64 `json:"conversions_apart"`
}

// Disagreements are those of all channels, the largest first.
func (m *Models) Disagreements() []Disagreement {
	of := map[string]*Disagreement{}
	for _, result := range m.Models {
		if result.Coverage {
			continue
		}
		for _, c := range result.Credits {
			d, v := of[c.Channel], c.Conversions.Value
			if d == nil {
				d = &Disagreement{Channel: c.Channel, Least: math.Inf(1), Most: math.Inf(-1)}
				of[c.Channel] = d
			}
			if v < d.Least {
				d.Least, d.LeastModel = v, result.Model
			}
			if v > d.Most {
				d.Most, d.MostModel = v, result.Model
			}
		}
	}
	all := make([]Disagreement, 0, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		d := *of[name]
		d.Conversions = d.Most - d.Least
		all = append(all, d)
	}
	slices.SortStableFunc(all, func(a, b Disagreement) int {
		switch {
		case a.Conversions > b.Conversions:
			return -1
		case a.Conversions < b.Conversions:
			return 1
		}
		return 0
	})
	return all
}

// Moved returns the part of the conversions that two models give to different
// channels.
func Moved(a, b attribution.Result, conversions int64) float64 {
	by := map[string]float64{}
	for _, c := range a.Credits {
		by[c.Channel] += c.Conversions.Value
	}
	for _, c := range b.Credits {
		by[c.Channel] -= c.Conversions.Value
	}
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(by)) {
		sum += math.Abs(by[name])
	}
	if conversions == 0 {
		return 0
	}
	return sum / 2 / float64(conversions)
}
