package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/store/report"
)

// modelsTable is a comparison of models as it was asked for.
type modelsTable struct {
	*report.Models
	flags *modelsFlags
	by    attribution.Period
	notes []string
}

type jsonModels struct {
	StartDate    string                `json:"start_date,omitempty"`
	EndDate      string                `json:"end_date,omitempty"`
	LookbackDays uint32                `json:"lookback_days"`
	Users        int64                 `json:"users"`
	Nulls        int64                 `json:"journeys_without_conversion"`
	Conversions  int64                 `json:"conversions"`
	Revenue      float64               `json:"revenue"`
	Models       map[string]jsonModel  `json:"models"`
	Periods      []jsonPeriod          `json:"periods,omitempty"`
	Apart        []report.Disagreement `json:"disagreements"`
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
		Conversions: t.Conversions, Revenue: t.Revenue, Models: t.jsonModels(&t.Section), Apart: t.Disagreements(),
		Moved: map[string]map[string]float64{}, Intervals: report.NotCause, Notes: append([]string{}, t.notes...)}
	for i := range t.Periods {
		p := &t.Periods[i]
		j.Periods = append(j.Periods, jsonPeriod{p.Period, p.Conversions, p.Revenue, t.jsonModels(p)})
	}
	for _, a := range t.Section.Models {
		for _, b := range t.Section.Models {
			if a.Coverage || b.Coverage || a.Model == b.Model {
				continue
			}
			if j.Moved[a.Model] == nil {
				j.Moved[a.Model] = map[string]float64{}
			}
			j.Moved[a.Model][b.Model] = report.Moved(a, b, t.Conversions)
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
			one := jsonChannel{Conversions: c.Conversions.Value, ConversionsInterval: interval(c.Conversions), Revenue: c.Revenue.Value, RevenueInterval: interval(c.Revenue),
				TooFew: c.TooFew, Cost: t.Cost(s.Period, c.Channel).InexactFloat64(), CPO: number(t.CPO(s.Period, c)), ROAS: number(t.ROAS(s.Period, c)), Positions: c.Positions}
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

// number is a cell's as JSON has it.
func number(c sheet.Cell) *float64 {
	if !c.Is {
		return nil
	}
	v := c.Number.InexactFloat64()
	return &v
}

// print writes the comparison for people, as wide as their terminal, and
// elsewhere within 80 columns.
func (t *modelsTable) print(w io.Writer) error {
	var b strings.Builder
	p := printer{&b, t, cmp.Or(window(w), pageWidth)}
	p.all()
	_, err := fmt.Fprint(w, b.String())
	return err
}
