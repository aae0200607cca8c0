package ihcmodel

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/strictjson"
)

// Params are what the vendor trains for each customer, and all that differs
// between two IHC models: the formulas are the same for everyone.
type Params struct {
	Name             string                  `json:"name"`                 // shown wherever the model's numbers are
	Provenance       string                  `json:"provenance,omitempty"` // where the parameters come from
	PhaseWeights     Phases                  `json:"phase_weights"`        // sum to 1
	InitializerCurve Curve                   `json:"initializer_curve"`    // f over the hours since the session before; rises
	CloserCurve      Curve                   `json:"closer_curve"`         // g over the hours to the last session; falls from 1
	ChannelScores    map[string]ChannelScore `json:"channel_scores"`       // by channel; one not listed scores 1 in every phase
}

// Formulas is the version of what the model makes of its parameters. It rises
// with every change after which the same journey may get other shares, so that
// nobody takes earlier ones for the same.
const Formulas = 1

// Phases holds one number for each of the three phases.
type Phases struct {
	Initializer float64 `json:"initializer"`
	Holder      float64 `json:"holder"`
	Closer      float64 `json:"closer"`
}

// ChannelScore is the factor by which a channel's membership is multiplied in each phase.
type ChannelScore = Phases

// The bounds of a channel score: far beyond any trained one (0.61 to 1.32 in
// the published shop), near enough that no sum overflows or vanishes.
const (
	minScore = 0.001
	maxScore = 1000
)

//go:embed published-shop.json
var publishedShop []byte

// DefaultParams returns the parameters of the one published shop: its two
// curves, phase weights and channel scores. They are one real shop's, not
// constants of the method, and their Name says so.
func DefaultParams() *Params {
	p, err := ParseParams(publishedShop)
	if err != nil {
		panic("ihcmodel: the embedded parameters do not parse: " + err.Error()) // a test holds this impossible
	}
	return p
}

// ParseParams reads a parameter file strictly: unknown fields, fields given
// twice or missing, and values [Params.Validate] refuses are errors that name the field.
func ParseParams(data []byte) (*Params, error) {
	p := &Params{}
	err := strictjson.Object(data,
		strictjson.Field{Name: "name", Into: &p.Name},
		strictjson.Field{Name: "provenance", Into: &p.Provenance, Optional: true},
		strictjson.Field{Name: "phase_weights", Into: &p.PhaseWeights},
		strictjson.Field{Name: "initializer_curve", Into: &p.InitializerCurve},
		strictjson.Field{Name: "closer_curve", Into: &p.CloserCurve},
		strictjson.Field{Name: "channel_scores", Into: (*scoreTable)(&p.ChannelScores)},
	)
	if err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return p, nil
}

// UnmarshalJSON reads exactly the three phases, all of them required.
func (p *Phases) UnmarshalJSON(data []byte) error {
	return strictjson.Object(data,
		strictjson.Field{Name: "initializer", Into: &p.Initializer},
		strictjson.Field{Name: "holder", Into: &p.Holder},
		strictjson.Field{Name: "closer", Into: &p.Closer},
	)
}

type scoreTable map[string]ChannelScore

func (t *scoreTable) UnmarshalJSON(data []byte) error {
	given, err := strictjson.Members(data)
	if err != nil {
		return err
	}
	*t = make(scoreTable, len(given))
	for _, m := range given {
		var s ChannelScore
		if err := strictjson.Value(m.Value, &s); err != nil {
			return fmt.Errorf("%q: %w", m.Name, err)
		}
		(*t)[m.Name] = s
	}
	return nil
}

// ParseScores reads channel scores as a parameter file has them, strictly: by
// channel, an object of initializer, holder and closer, each from 0.001 to 1000.
func ParseScores(data []byte) (map[string]ChannelScore, error) {
	var scores scoreTable
	if err := scores.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	p := DefaultParams()
	p.ChannelScores = scores
	return scores, p.Validate()
}

// JSON returns the parameters as a file [ParseParams] reads: indented, one
// knot a line, channels by name, ending in a newline. The same parameters give the same bytes.
func (p *Params) JSON() []byte {
	var b strings.Builder
	text := func(v any) string {
		var t strings.Builder
		enc := json.NewEncoder(&t)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return "null" // only a NaN does this, and ParseParams then says where
		}
		return strings.TrimSpace(t.String())
	}
	curve := func(c Curve) string {
		if len(c) == 0 {
			return "[]"
		}
		rows := make([]string, len(c))
		for i, k := range c {
			rows[i] = "    " + text(k)
		}
		return "[\n" + strings.Join(rows, ",\n") + "\n  ]"
	}
	fmt.Fprintf(&b, "{\n  \"name\": %s,\n", text(p.Name))
	if p.Provenance != "" {
		fmt.Fprintf(&b, "  \"provenance\": %s,\n", text(p.Provenance))
	}
	fmt.Fprintf(&b, "  \"phase_weights\": %s,\n", text(p.PhaseWeights))
	fmt.Fprintf(&b, "  \"initializer_curve\": %s,\n", curve(p.InitializerCurve))
	fmt.Fprintf(&b, "  \"closer_curve\": %s,\n", curve(p.CloserCurve))
	rows := make([]string, 0, len(p.ChannelScores))
	for _, name := range p.Channels() {
		rows = append(rows, "    "+text(name)+": "+text(p.ChannelScores[name]))
	}
	if len(rows) == 0 {
		b.WriteString("  \"channel_scores\": {}\n}\n")
	} else {
		fmt.Fprintf(&b, "  \"channel_scores\": {\n%s\n  }\n}\n", strings.Join(rows, ",\n"))
	}
	return []byte(b.String())
}

// Channels returns the channels that have a score, by name.
func (p *Params) Channels() []string {
	names := make([]string, 0, len(p.ChannelScores))
	for name := range p.ChannelScores {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Validate checks what the model needs of its parameters: a name; phase
// weights from 0 up that sum to 1, initializer and closer not both 0; an
// initializer curve that rises and a closer curve that falls from 1, both
// within 0 to 1; channel scores from 0.001 to 1000.
func (p *Params) Validate() error {
	if strings.TrimSpace(p.Name) == "" {
		return errors.New("name is empty; the model's numbers are shown with it")
	}
	w := p.PhaseWeights
	for _, v := range []float64{w.Initializer, w.Holder, w.Closer} {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("phase_weights: %v is not within 0 to 1", v)
		}
	}
	if sum := w.Initializer + w.Holder + w.Closer; math.Abs(sum-1) > 1e-9 {
		return fmt.Errorf("phase_weights: they sum to %v, not to 1", sum)
	}
	// A journey without holder engagement is shared by these two alone.
	if w.Initializer+w.Closer < 0.001 {
		return errors.New("phase_weights: initializer and closer together are below 0.001; a journey nobody held would have no shares")
	}
	if err := p.InitializerCurve.check(true); err != nil {
		return fmt.Errorf("initializer_curve: %w", err)
	}
	if err := p.CloserCurve.check(false); err != nil {
		return fmt.Errorf("closer_curve: %w", err)
	}
	if first := p.CloserCurve.At(0); first != 1 { // not the first knot's: there may be a jump at 0
		return fmt.Errorf("closer_curve: is %v at 0 hours, not 1; the last session is the closer in full", first)
	}
	for _, name := range p.Channels() {
		s := p.ChannelScores[name]
		for _, v := range []float64{s.Initializer, s.Holder, s.Closer} {
			if !(v >= minScore && v <= maxScore) {
				return fmt.Errorf("channel_scores: %q: %v is not within %v to %v", name, v, minScore, maxScore)
			}
		}
	}
	return nil
}
