package attribution

import (
	"math"
	"strconv"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/unit"
)

// NewRule returns the model of that name with completed options. It is an input
// fault if the name is not of a model that scores a journey by itself.
func NewRule(name string, o Options) (Rule, error) {
	switch name {
	case First:
		return named{First, func(_ Journey, s []float64) { s[0] = 1 }}, nil
	case Last:
		return named{Last, func(_ Journey, s []float64) { s[len(s)-1] = 1 }}, nil
	case LastNonDirect:
		return lastNonDirect(o.Direct), nil
	case Linear:
		return named{Linear, linear}, nil
	case Position:
		w := o.Position
		return named{Position + " " + w.String(), func(_ Journey, s []float64) { w.shares(s) }}, nil
	case WShaped:
		return named{WShaped, wShaped}, nil
	case TimeDecay:
		return timeDecay(o.HalfLife), nil
	case Shapley:
		return &shapley{}, nil
	case IHC:
		return &ihc{scorer: o.IHC.Scorer(nil), name: IHC + " " + o.IHC.Name()}, nil
	case Markov, Participation:
		return nil, errkind.Inputf("model %q does not score a journey by itself: see it beside the others with `ihc models`", name)
	default:
		return nil, errkind.Inputf("model %q is not known; those that score a journey by itself are %s, %s", name, strings.Join(RuleNames(), ", "), IHC)
	}
}

// ParseRule returns the model that a text names: a name, and for those that have
// a setting, = and the setting where it is not the default one, as in
// time-decay=14, position=20/20/60 or last-non-direct=Direct,Referral. It is an
// input fault if there is none.
func ParseRule(text string) (Rule, error) {
	name, setting, given := strings.Cut(text, "=")
	var o Options
	var err error
	switch {
	case name == IHC:
		return nil, errkind.Inputf("model %q: a run has it scored by builtin or api", text)
	case !given:
	case name == TimeDecay:
		if o.HalfLife, err = strconv.ParseFloat(setting, 64); err != nil || o.HalfLife == 0 {
			return nil, errkind.Inputf("model %q: the half-life is a number of days, as in time-decay=7", text)
		}
	case name == Position:
		if o.Position, err = ParseWeights(setting); err != nil {
			return nil, err
		}
	case name == LastNonDirect && setting != "":
		o.Direct = strings.Split(setting, ",")
	default:
		return nil, errkind.Inputf("model %q: %s takes no setting", text, name)
	}
	if o, err = o.Complete(); err != nil {
		return nil, err
	}
	return NewRule(name, o)
}

// named is a rule without memory. shares are 0 when it is called.
type named struct {
	name   string
	shares func(j Journey, shares []float64)
}

func (r named) Name() string { return r.name }

func (r named) Shares(j Journey, shares []float64) {
	clear(shares)
	r.shares(j, shares)
}

func lastNonDirect(direct []string) Rule {
	names := make(map[string]bool, len(direct))
	for _, name := range direct {
		names[name] = true
	}
	name := LastNonDirect
	if len(direct) > 0 {
		name += " " + strings.Join(direct, ",")
	}
	return named{name, func(j Journey, shares []float64) {
		for k := len(shares) - 1; k >= 0; k-- {
			if !names[j.Channels[j.Touches[k].Channel]] {
				shares[k] = 1
				return
			}
		}
		shares[len(shares)-1] = 1
	}}
}

func linear(_ Journey, shares []float64) {
	for k := range shares {
		shares[k] = 1 / float64(len(shares))
	}
}

// shares: where there is no middle the ends share all of it, in proportion.
func (w Weights) shares(shares []float64) {
	n := len(shares)
	switch {
	case n == 1:
		shares[0] = 1
	case n == 2 && w.First+w.Last > 0:
		shares[0], shares[1] = w.First/(w.First+w.Last), w.Last/(w.First+w.Last)
	case n == 2:
		shares[0], shares[1] = 0.5, 0.5
	default:
		for k := range shares {
			shares[k] = w.Middle / float64(n-2)
		}
		shares[0], shares[n-1] = w.First, w.Last
	}
}

// wShaped: the milestone is the first holder engaged touch, or the one in the
// middle where there is none.
func wShaped(j Journey, shares []float64) {
	const end, milestone, rest = 0.3, 0.3, 0.1
	n := len(shares)
	at := -1
	for k := range j.Touches {
		if j.Touches[k].Engaged.Holder() {
			at = k
			break
		}
	}
	if at < 0 {
		if n <= 2 {
			linear(j, shares)
			return
		}
		at = (n - 1) / 2
	}
	shares[0] += end
	shares[at] += milestone
	shares[n-1] += end
	others := 0
	for _, s := range shares {
		if s == 0 {
			others++
		}
	}
	for k := range shares {
		switch {
		case others == 0: // the three share the rest in proportion
			shares[k] /= 2*end + milestone
		case shares[k] == 0:
			shares[k] = rest / float64(others)
		}
	}
}

// timeDecay weighs a touch by half for each half-life that it is older than the
// last one. That is the same as by its age at the conversion: what all ages have
// in common cancels. In this form not all weights can be 0.
func timeDecay(days float64) Rule {
	const day = 24 * 3600 * 1e6 // microseconds
	name := TimeDecay + " " + strconv.FormatFloat(days, 'g', -1, 64) + " days"
	return named{name, func(j Journey, shares []float64) {
		end := j.Touches[len(shares)-1].Time
		sum := 0.0
		for k := range shares {
			shares[k] = math.Exp2(-float64(uint64(end)-uint64(j.Touches[k].Time)) / day / days)
			sum += shares[k]
		}
		for k := range shares {
			shares[k] /= sum
		}
	}}
}

// shapley divides a conversion equally among its distinct channels, and a
// channel's part equally among its touches: the closed form of the Shapley value
// where a coalition is worth the conversions that it could have had alone.
type shapley struct {
	times []int32 // by channel: how often it is in the journey
}

func (*shapley) Name() string { return Shapley }

func (r *shapley) Shares(j Journey, shares []float64) {
	if n := len(j.Channels); len(r.times) < n {
		r.times = append(r.times, make([]int32, n-len(r.times))...)
	}
	distinct := 0
	for k := range j.Touches {
		c := j.Touches[k].Channel
		if r.times[c] == 0 {
			distinct++
		}
		r.times[c]++
	}
	for k := range j.Touches {
		shares[k] = 1 / (float64(distinct) * float64(r.times[j.Touches[k].Channel]))
	}
	for k := range j.Touches {
		r.times[j.Touches[k].Channel] = 0
	}
}

// ihc is the built-in IHC model.
type ihc struct {
	name     string
	scorer   *ihcmodel.Scorer
	sessions []ihcmodel.Session
	scores   []ihcmodel.Score
}

func (r *ihc) Name() string { return r.name }

func (r *ihc) Shares(j Journey, shares []float64) {
	if len(shares) == 1 {
		shares[0] = 1
		return
	}
	r.sessions = r.sessions[:0]
	for i := range j.Touches {
		t := &j.Touches[i]
		r.sessions = append(r.sessions, ihcmodel.Session{TimeMicros: t.Time, Channel: j.Channels[t.Channel],
			Holder: t.Engaged.Holder(), Closer: t.Engaged.Closer(), Impression: t.Engaged.Impression()})
	}
	r.scores = r.scorer.Score(r.sessions, r.scores)
	for k := range shares {
		shares[k] = float64(r.scores[k].IHC) / float64(unit.Whole)
	}
}

// collapse takes repeats out of touches, by way of room.
func collapse(how string, touches, room []Touch, seen map[int32]bool) []Touch {
	room = room[:0]
	clear(seen)
	for k, t := range touches {
		if how == CollapseExposure && k > 0 && touches[k-1].Channel == t.Channel || how == CollapseFirst && seen[t.Channel] {
			continue
		}
		if how == CollapseFirst {
			seen[t.Channel] = true
		}
		room = append(room, t)
	}
	return room
}
