package ihcmodel

import (
	"maps"
	"slices"
)

// Movement adds up what a redistribution moves in the journeys it is given:
// the same journeys scored without it and with it.
type Movement struct {
	// Journeys are all that were added, Changed those of them whose shares changed.
	Journeys, Changed int
	// Rules are those of the phases that move anything at all.
	Rules []RuleMovement

	plain, moved  *Scorer
	before, after []Score
	byChannel     map[string]*ChannelMovement
	phaseOf       map[int]int
}

// RuleMovement is what the rule of one phase moves.
type RuleMovement struct {
	Phase string
	// Journeys are those in which it moves something; in none, it never fires.
	Journeys int
	// Gave is by label what its sessions give away, in conversions of the phase. A
	// label that gives nothing is there with 0.
	Gave map[string]float64
}

// Never returns the labels that give nothing, by name.
func (r *RuleMovement) Never() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(r.Gave)) {
		if r.Gave[name] == 0 {
			names = append(names, name)
		}
	}
	return names
}

// Total returns what all labels give away together.
func (r *RuleMovement) Total() (sum float64) {
	for _, name := range slices.Sorted(maps.Keys(r.Gave)) {
		sum += r.Gave[name]
	}
	return sum
}

// ChannelMovement is a channel's credit without the redistribution and with it.
type ChannelMovement struct {
	Channel                     string
	Before, After               float64 // conversions
	RevenueBefore, RevenueAfter float64
}

// NewMovement returns one for the redistribution r, which has been validated.
func NewMovement(m *Model, r *Redistribution) *Movement {
	v := &Movement{plain: m.Scorer(nil), moved: m.Scorer(r), byChannel: map[string]*ChannelMovement{}, phaseOf: map[int]int{}}
	for i, phase := range r.phases() {
		if phase.rule == nil || len(phase.rule.Channels) == 0 {
			continue
		}
		rule := RuleMovement{Phase: phase.name, Gave: map[string]float64{}}
		for _, label := range phase.rule.Channels {
			rule.Gave[label] = 0
		}
		v.phaseOf[len(v.Rules)] = i
		v.Rules = append(v.Rules, rule)
	}
	return v
}

// Add scores a journey both ways.
func (v *Movement) Add(sessions []Session, revenue float64) {
	v.before, v.after = v.plain.Score(sessions, v.before), v.moved.Score(sessions, v.after)
	v.Journeys++
	changed := false
	for k := range sessions {
		name := sessions[k].Channel
		c := v.byChannel[name]
		if c == nil {
			c = &ChannelMovement{Channel: name}
			v.byChannel[name] = c
		}
		before, after := v.before[k].IHC.Float(), v.after[k].IHC.Float()
		c.Before += before
		c.After += after
		c.RevenueBefore += before * revenue
		c.RevenueAfter += after * revenue
		changed = changed || before != after
	}
	if changed {
		v.Changed++
	}
	for i := range v.Rules {
		v.Rules[i].add(sessions, v.before, v.after, v.phaseOf[i])
	}
}

func (r *RuleMovement) add(sessions []Session, before, after []Score, phase int) {
	fires := false
	for k := range sessions {
		_, gives := r.Gave[sessions[k].Channel]
		if lost := before[k].phase(phase) - after[k].phase(phase); gives && lost > 0 {
			r.Gave[sessions[k].Channel] += lost.Float()
			fires = true
		}
	}
	if fires {
		r.Journeys++
	}
}

// phase returns the share of a phase: 0 initializer, 1 holder, 2 closer.
func (s *Score) phase(i int) Share {
	switch i {
	case 0:
		return s.Initializer
	case 1:
		return s.Holder
	default:
		return s.Closer
	}
}

// Channels returns the credit of all channels, by name.
func (v *Movement) Channels() []ChannelMovement {
	all := make([]ChannelMovement, 0, len(v.byChannel))
	for _, name := range slices.Sorted(maps.Keys(v.byChannel)) {
		all = append(all, *v.byChannel[name])
	}
	return all
}
