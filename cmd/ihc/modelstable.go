package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// notCause is said wherever intervals are.
const notCause = "95 % intervals cover sampling, not cause: that other users might have come, not whether a channel made them buy"

// modelsTable is a comparison of models with what the channels cost.
type modelsTable struct {
	*attribution.Comparison
	flags *modelsFlags
	by    attribution.Period
	costs map[string]map[string]float64 // by period, "" for all, and channel
	notes []string
}

func (t *modelsTable) setCosts(all []store.Cost) {
	type key struct{ period, channel string }
	sums := map[key]unit.Sum{}
	for _, c := range all {
		sums[key{"", c.Channel}] = sums[key{"", c.Channel}].Plus(c.Cost)
		if t.by != attribution.ByNothing {
			k := key{t.by.Of(c.Date), c.Channel}
			sums[k] = sums[k].Plus(c.Cost)
		}
	}
	for k, sum := range sums {
		if t.costs[k.period] == nil {
			t.costs[k.period] = map[string]float64{}
		}
		t.costs[k.period][k.channel] = sum.Float(unit.CostDecimals)
	}
}

// disagreement is how far the models are apart on a channel.
type disagreement struct {
	Channel     string  `json:"channel"`
	Least       float64 `json:"least"`
	LeastModel  string  `json:"least_model"`
	Most        float64 `json:"most"`
	MostModel   string  `json:"most_model"`
	Conversions float64 `json:"conversions_apart"`
}

// disagreements are those of all channels, the largest first.
func disagreements(s *attribution.Section) []disagreement {
	of := map[string]*disagreement{}
	for _, m := range s.Models {
		if m.Coverage {
			continue
		}
		for _, c := range m.Credits {
			d, v := of[c.Channel], c.Conversions.Value
			if d == nil {
				d = &disagreement{Channel: c.Channel, Least: math.Inf(1), Most: math.Inf(-1)}
				of[c.Channel] = d
			}
			if v < d.Least {
				d.Least, d.LeastModel = v, m.Model
			}
			if v > d.Most {
				d.Most, d.MostModel = v, m.Model
			}
		}
	}
	all := make([]disagreement, 0, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		d := *of[name]
		d.Conversions = d.Most - d.Least
		all = append(all, d)
	}
	slices.SortStableFunc(all, func(a, b disagreement) int {
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

// moved returns the part of the conversions that two models give to different
// channels.
func moved(a, b attribution.Result, conversions int64) float64 {
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

type jsonModels struct {
	StartDate    string               `json:"start_date,omitempty"`
	EndDate      string               `json:"end_date,omitempty"`
	LookbackDays uint32               `json:"lookback_days"`
	Users        int64                `json:"users"`
	Nulls        int64                `json:"journeys_without_conversion"`
	Conversions  int64                `json:"conversions"`
	Revenue      float64              `json:"revenue"`
	Models       map[string]jsonModel `json:"models"`
	Periods      []jsonPeriod         `json:"periods,omitempty"`
	Apart        []disagreement       `json:"disagreements"`
	// Moved is by two models the part of the conversions that they give to
	// different channels.
	Moved     map[string]map[string]float64 `json:"moved"`
	Intervals string                        `json:"intervals"`
	Notes     []string                      `json:"notes"`
}

type jsonPeriod struct {
	Period      string               `json:"period"`
	Conversions int64                `json:"conversions"`
	Revenue     float64              `json:"revenue"`
	Models      map[string]jsonModel `json:"models"`
}

type jsonModel struct {
	Label    string                 `json:"label"`
	Coverage bool                   `json:"coverage,omitempty"`
	Base     *float64               `json:"base_conversion_rate,omitempty"`
	Channels map[string]jsonChannel `json:"channels"`
	Notes    []string               `json:"notes,omitempty"`
}

type jsonChannel struct {
	Conversions         float64     `json:"conversions"`
	ConversionsInterval *[2]float64 `json:"conversions_interval,omitempty"`
	Revenue             float64     `json:"revenue"`
	RevenueInterval     *[2]float64 `json:"revenue_interval,omitempty"`
	TooFew              bool        `json:"too_few_to_rank"`
	Cost                float64     `json:"cost"`
	CPO                 *float64    `json:"cpo"`
	ROAS                *float64    `json:"roas"`
	Removal             *float64    `json:"removal_effect,omitempty"`
	RemovalValue        *float64    `json:"removal_effect_value,omitempty"`
	Positions           []float64   `json:"positions,omitempty"`
}

func (t *modelsTable) json() jsonModels {
	j := jsonModels{StartDate: t.flags.start, EndDate: t.flags.end, LookbackDays: t.flags.lookback, Users: t.Users, Nulls: t.Nulls,
		Conversions: t.Conversions, Revenue: t.Revenue, Models: t.jsonModels(&t.Section), Apart: disagreements(&t.Section),
		Moved: map[string]map[string]float64{}, Intervals: notCause, Notes: append([]string{}, t.notes...)}
	for i := range t.Periods {
		p := &t.Periods[i]
		j.Periods = append(j.Periods, jsonPeriod{p.Period, p.Conversions, p.Revenue, t.jsonModels(p)})
	}
	for _, a := range t.Models {
		for _, b := range t.Models {
			if a.Coverage || b.Coverage || a.Model == b.Model {
				continue
			}
			if j.Moved[a.Model] == nil {
				j.Moved[a.Model] = map[string]float64{}
			}
			j.Moved[a.Model][b.Model] = moved(a, b, t.Conversions)
		}
	}
	return j
}

func (t *modelsTable) jsonModels(s *attribution.Section) map[string]jsonModel {
	all := make(map[string]jsonModel, len(s.Models))
	for _, m := range s.Models {
		j := jsonModel{Label: m.Label, Coverage: m.Coverage, Channels: make(map[string]jsonChannel, len(m.Credits)), Notes: m.Notes}
		if m.Model == attribution.Markov {
			j.Base = &m.Base
		}
		for _, c := range m.Credits {
			cost := t.costs[s.Period][c.Channel]
			one := jsonChannel{Conversions: c.Conversions.Value, ConversionsInterval: interval(c.Conversions), Revenue: c.Revenue.Value, RevenueInterval: interval(c.Revenue),
				TooFew: c.TooFew, Cost: cost, CPO: cpo(c, cost), ROAS: quotient(c.Revenue.Value, cost), Positions: c.Positions}
			if m.Model == attribution.Markov {
				one.Removal, one.RemovalValue = &c.Removal, &c.RemovalRevenue
			}
			j.Channels[c.Channel] = one
		}
		all[m.Model] = j
	}
	return all
}

func interval(e attribution.Estimate) *[2]float64 {
	if !e.Known {
		return nil
	}
	return &[2]float64{e.Low, e.High}
}

// quotient returns a/b, nil where b is 0.
func quotient(a, b float64) *float64 {
	if b == 0 {
		return nil
	}
	q := a / b
	return &q
}

// cpo returns the cost per order; what is no channel has none.
func cpo(c attribution.Credit, cost float64) *float64 {
	if c.Channel == attribution.Unattributed {
		return nil
	}
	return quotient(cost, c.Conversions.Value)
}

func (t *modelsTable) csv(out io.Writer) error {
	w := csv.NewWriter(out)
	header := []string{"model", "channel_name", "conversions", "conversions_low", "conversions_high", "revenue", "revenue_low", "revenue_high", "cost", "CPO", "ROAS", "too_few_to_rank"}
	sections := []attribution.Section{t.Section}
	if t.by != attribution.ByNothing {
		header, sections = append([]string{"period"}, header...), t.Periods
	}
	if err := w.Write(header); err != nil {
		return err
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	part := func(v *float64) string {
		if v == nil {
			return ""
		}
		return number(*v)
	}
	ends := func(e attribution.Estimate) []string {
		if !e.Known {
			return []string{number(e.Value), "", ""}
		}
		return []string{number(e.Value), number(e.Low), number(e.High)}
	}
	for _, s := range sections {
		for _, m := range s.Models {
			for _, c := range m.Credits {
				cost := t.costs[s.Period][c.Channel]
				row := append([]string{m.Model, sheet.Neutral(c.Channel)}, ends(c.Conversions)...)
				row = append(row, ends(c.Revenue)...)
				row = append(row, number(cost), part(cpo(c, cost)), part(quotient(c.Revenue.Value, cost)), strconv.FormatBool(c.TooFew))
				if t.by != attribution.ByNothing {
					row = append([]string{s.Period}, row...)
				}
				if err := w.Write(row); err != nil {
					return err
				}
			}
		}
	}
	w.Flush()
	return w.Error()
}

// print writes the comparison for people, within 80 columns.
func (t *modelsTable) print(w io.Writer) error {
	var b strings.Builder
	p := printer{&b, t}
	p.all()
	_, err := fmt.Fprint(w, b.String())
	return err
}
