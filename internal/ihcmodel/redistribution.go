package ihcmodel

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/strictjson"
)

// Direction says which sessions of the journey may receive what a session gives away.
type Direction string

// The three directions, in the API's words.
const (
	EarlierSessions Direction = "earlier_sessions_only"
	AnySession      Direction = "any_session"
	LaterSessions   Direction = "later_sessions_only"
)

// Redistribution is the API's redistribution_parameter: for each phase, the
// channels whose sessions give their share away. A phase left nil, or one that
// lists no channel, moves nothing.
type Redistribution struct {
	Initializer *Rule `json:"initializer,omitempty"`
	Holder      *Rule `json:"holder,omitempty"`
	Closer      *Rule `json:"closer,omitempty"`
}

// Rule is the redistribution of one phase.
type Rule struct {
	Direction        Direction `json:"direction"`
	ReceiveThreshold float64   `json:"receive_threshold"`             // the least own share a receiver has, 0 to 1
	Channels         []string  `json:"redistribution_channel_labels"` // the channels that give
}

// ParseRedistribution reads a redistribution_parameter strictly: unknown
// fields, unknown directions, a threshold outside 0 to 1, empty labels, and a
// phase without all three of its fields are errors that name the field. {} is
// a redistribution that moves nothing.
func ParseRedistribution(data []byte) (*Redistribution, error) {
	r := &Redistribution{}
	if err := json.Unmarshal(data, r); err != nil {
		if _, syntax := strictjson.Members(data); syntax != nil {
			return nil, syntax // says the same of broken JSON, in our words
		}
		return nil, err
	}
	if _, err := strictjson.Members(data); err != nil {
		return nil, err // a bare null, which Unmarshal takes for nothing to do
	}
	return r, nil
}

// UnmarshalJSON reads and checks as [ParseRedistribution] does.
func (r *Redistribution) UnmarshalJSON(data []byte) error {
	var read Redistribution
	err := strictjson.Object(data,
		strictjson.Field{Name: "initializer", Into: &read.Initializer, Optional: true},
		strictjson.Field{Name: "holder", Into: &read.Holder, Optional: true},
		strictjson.Field{Name: "closer", Into: &read.Closer, Optional: true},
	)
	if err != nil {
		return err
	}
	*r = read
	return r.Validate()
}

// UnmarshalJSON reads exactly the three fields, all of them required.
func (r *Rule) UnmarshalJSON(data []byte) error {
	var labels []*string
	err := strictjson.Object(data,
		strictjson.Field{Name: "direction", Into: &r.Direction},
		strictjson.Field{Name: "receive_threshold", Into: &r.ReceiveThreshold},
		strictjson.Field{Name: "redistribution_channel_labels", Into: &labels},
	)
	if err != nil {
		return err
	}
	r.Channels = make([]string, len(labels))
	for i, l := range labels {
		if l != nil { // a null stays an empty label, which Validate refuses
			r.Channels[i] = *l
		}
	}
	return nil
}

// Validate checks directions, thresholds and labels; a nil Redistribution is valid.
func (r *Redistribution) Validate() error {
	for _, phase := range r.phases() {
		rule := phase.rule
		if rule == nil {
			continue
		}
		switch rule.Direction {
		case EarlierSessions, AnySession, LaterSessions:
		default:
			return fmt.Errorf("%s: direction: %q is none of %s, %s, %s",
				phase.name, rule.Direction, EarlierSessions, AnySession, LaterSessions)
		}
		if !(rule.ReceiveThreshold >= 0 && rule.ReceiveThreshold <= 1) { // also refuses NaN
			return fmt.Errorf("%s: receive_threshold: %v is not within 0 to 1", phase.name, rule.ReceiveThreshold)
		}
		if slices.Contains(rule.Channels, "") {
			return fmt.Errorf("%s: redistribution_channel_labels: a label is empty", phase.name)
		}
	}
	return nil
}

// Labels returns every channel that gives in some phase, each once, by name.
func (r *Redistribution) Labels() []string {
	var all []string
	for _, phase := range r.phases() {
		if phase.rule != nil {
			all = append(all, phase.rule.Channels...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Unmatched returns the labels that are none of the data's channels, by name.
// The API ignores such a label in silence, so it is for the caller to speak up.
func (r *Redistribution) Unmatched(channels []string) []string {
	return slices.DeleteFunc(r.Labels(), func(l string) bool { return slices.Contains(channels, l) })
}

// Empty reports whether r moves nothing: nil, {}, or no channel listed.
func (r *Redistribution) Empty() bool { return len(r.Labels()) == 0 }

type namedRule struct {
	name string
	rule *Rule
}

// phases lists the rules in the order initializer, holder, closer.
func (r *Redistribution) phases() []namedRule {
	if r == nil {
		return nil
	}
	return []namedRule{{"initializer", r.Initializer}, {"holder", r.Holder}, {"closer", r.Closer}}
}

// compiledRule is a Rule made ready for one journey after another.
type compiledRule struct {
	direction Direction
	threshold float64
	gives     map[string]bool
}

// compileRules returns the rules by phase; nil where nothing moves.
func (r *Redistribution) compileRules() (rules [3]*compiledRule) {
	for i, phase := range r.phases() {
		if phase.rule == nil || len(phase.rule.Channels) == 0 {
			continue
		}
		c := &compiledRule{phase.rule.Direction, phase.rule.ReceiveThreshold, map[string]bool{}}
		for _, label := range phase.rule.Channels {
			c.gives[label] = true
		}
		rules[i] = c
	}
	return rules
}

// What a session is to a rule.
const (
	bystander     uint8 = iota // neither listed nor at the threshold
	receiver                   // gets
	giverByShare               // gives, in proportion to the receivers' own shares
	giverByHead                // gives in equal parts: its receivers' own shares are all 0
	giverToNobody              // listed, but has nobody to give to: keeps
)

const (
	// atThreshold forgives the last bits of a share computed in binary, so that
	// a share of exactly the threshold receives.
	atThreshold = 1e-9
	// nothing is a sum of shares too small to divide by.
	nothing = 1e-12
)

// apply moves the shares of one phase, v, in place; sessions go by time and
// all are of the kept part of the journey. Everyone's role and weight is by
// the shares as they were before anything moved:
//
//   - a giver (a session of a listed channel) gives all its share, or keeps it
//     where its direction has no receiver;
//   - a receiver is a session of a channel not listed, whose own share is at
//     least the threshold;
//   - receivers get in proportion to their own shares; where all those are 0,
//     in equal parts.
//
// The last two are this project's reading; the API's own is not published.
// The sum of v stays. role and rate are scratch of v's length.
//
// It takes two sweeps, not a loop over pairs. The first meets the receivers of
// a giver before the giver, and turns what is given into a rate: so much per
// unit of own share, or per head. The second goes the other way and pays each
// receiver by the rates of the givers met.
func (c *compiledRule) apply(v []float64, channel func(k int) string, role []uint8, rate []float64) {
	last := len(v) - 1
	at := func(j int) int { return j } // the j-th session of the first sweep
	if c.direction == LaterSessions {
		at = func(j int) int { return last - j }
	}
	var heads, share float64 // the receivers met
	for k := range v {
		role[k] = bystander
		if c.gives[channel(k)] {
			role[k] = giverToNobody
		} else if v[k] >= c.threshold-atThreshold {
			role[k] = receiver
			if c.direction == AnySession {
				heads, share = heads+1, share+v[k]
			}
		}
	}
	var perShare, perHead float64 // the rates of the givers met
	owe := func(k int) {
		switch role[k] {
		case giverByShare:
			perShare += rate[k]
		case giverByHead:
			perHead += rate[k]
		}
	}
	for j := range v {
		k := at(j)
		switch {
		case role[k] == receiver && c.direction != AnySession:
			heads, share = heads+1, share+v[k]
		case role[k] != giverToNobody || heads == 0:
		case share > nothing:
			role[k], rate[k], v[k] = giverByShare, v[k]/share, 0
		default:
			role[k], rate[k], v[k] = giverByHead, v[k]/heads, 0
		}
		if c.direction == AnySession {
			owe(k)
		}
	}
	for j := last; j >= 0; j-- {
		k := at(j)
		if role[k] == receiver {
			v[k] += v[k]*perShare + perHead
		} else if c.direction != AnySession {
			owe(k)
		}
	}
}
