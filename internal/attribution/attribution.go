// Package attribution divides conversions among channels by the known models:
// rules that look at one journey ([Rule]), and the Markov chain that is fitted
// to all of them ([Chain]). [Compare] takes users one after another and has all
// models side by side, with intervals.
//
// docs/models.md defines each model, and says where the definition is from and
// what was chosen where there is no standard.
package attribution

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/unit"
)

// The models, by the names people give them.
const (
	First         = "first"
	Last          = "last"
	LastNonDirect = "last-non-direct"
	Linear        = "linear"
	Position      = "position"
	WShaped       = "w-shaped"
	TimeDecay     = "time-decay"
	Markov        = "markov"
	Shapley       = "shapley"
	Participation = "participation"
	IHC           = "ihc"
)

// Names returns the names of all models, in the order they are shown.
func Names() []string {
	return []string{First, Last, LastNonDirect, Linear, Position, WShaped, TimeDecay, Markov, Shapley, IHC, Participation}
}

// RuleNames returns the names of the models that score a journey by itself, but
// for [IHC], which has settings of its own.
func RuleNames() []string {
	return []string{First, Last, LastNonDirect, Linear, Position, WShaped, TimeDecay, Shapley}
}

// Select reads a list of models, with commas between the names: all for none.
// An unknown name is an input fault that lists the known ones.
func Select(list string) ([]string, error) {
	if strings.TrimSpace(list) == "" {
		return Names(), nil
	}
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		switch {
		case !slices.Contains(Names(), name):
			return nil, errkind.Inputf("model %q is not known; the models are %s", name, strings.Join(Names(), ", "))
		case !slices.Contains(names, name):
			names = append(names, name)
		}
	}
	return names, nil
}

// Touch is a session as the models see it.
type Touch struct {
	// Channel is the channel's number, an index into the journey's Channels.
	Channel int32
	Engaged unit.Engagement
	Time    int64 // in microseconds since 1970-01-01 00:00:00 UTC
}

// Journey is the sessions before a conversion, by time.
type Journey struct {
	// Channels are the names that the touches' numbers stand for.
	Channels []string
	Touches  []Touch
}

// Rule is a model that scores a journey by itself. It keeps memory for the next
// journey and is for one goroutine.
type Rule interface {
	// Name is the model's name with the settings that matter, such as "position
	// 40/20/40".
	Name() string
	// Shares sets the share of each touch; there is at least one, and there are
	// as many shares. They sum to 1.
	Shares(j Journey, shares []float64)
}

// Weights are those of the position model: of the first touch, of all in the
// middle together, and of the last. They sum to 1.
type Weights struct{ First, Middle, Last float64 }

// The shapes of the position model that have names.
var (
	UShaped  = Weights{0.4, 0.2, 0.4}
	JShaped  = Weights{0.2, 0.2, 0.6}
	InverseJ = Weights{0.6, 0.2, 0.2}
)

// ParseWeights reads the weights of the position model: three numbers in per
// cent, such as 40/20/40, or one of the names u, j and inverse-j. Errors are
// input faults.
func ParseWeights(text string) (Weights, error) {
	switch strings.ToLower(text) {
	case "u":
		return UShaped, nil
	case "j":
		return JShaped, nil
	case "inverse-j":
		return InverseJ, nil
	}
	parts := strings.Split(text, "/")
	var of [3]float64
	sum := 0.0
	for i, part := range parts {
		n, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || len(parts) != 3 || !(n >= 0 && n <= 100) {
			return Weights{}, errkind.Inputf("position %q: use three numbers from 0 to 100 as in 40/20/40, or u, j, inverse-j", text)
		}
		of[i] = n
		sum += n
	}
	if math.Abs(sum-100) > 1e-9 {
		return Weights{}, errkind.Inputf("position %q: the three sum to %v, not to 100", text, sum)
	}
	return Weights{of[0] / 100, of[1] / 100, of[2] / 100}, nil
}

// String writes the weights as [ParseWeights] reads them.
func (w Weights) String() string {
	percent := func(v float64) string { return strconv.FormatFloat(math.Round(v*1e8)/1e6, 'f', -1, 64) }
	return percent(w.First) + "/" + percent(w.Middle) + "/" + percent(w.Last)
}

// The ways in which repeated channels can be collapsed before a journey is
// scored.
const (
	CollapseNone     = ""
	CollapseExposure = "exposure" // of sessions of one channel in a row, the first stays
	CollapseFirst    = "first"    // of all sessions of a channel, the first stays
)

// DefaultHalfLife is that of the time decay, in days.
const DefaultHalfLife = 7

// Options are the settings of the models. The zero value, with Defaults, is
// what docs/models.md calls the default of each.
type Options struct {
	// Direct are the channels that last-non-direct passes over.
	Direct []string
	// HalfLife is that of the time decay in days.
	HalfLife float64
	// Position are the weights of the position model.
	Position Weights
	// Order is that of the Markov chain: how many channels a state remembers.
	Order int
	// WithoutNulls leaves journeys without conversion out of the Markov chain.
	WithoutNulls bool
	// SingleApart gives conversions whose journey has one channel to that
	// channel, and the Markov chain all journeys of more.
	SingleApart bool
	// Collapse is one of the Collapse… constants. The ihc model and the coverage
	// always see all sessions.
	Collapse string
	// IHC is the model of ihc.
	IHC *ihcmodel.Model
}

// MaxOrder is the most channels that a state of the Markov chain remembers.
const MaxOrder = 4

// Complete returns the options with their defaults, or an input fault that
// names what cannot be.
func (o Options) Complete() (Options, error) {
	if o.HalfLife == 0 {
		o.HalfLife = DefaultHalfLife
	}
	if o.Order == 0 {
		o.Order = 1
	}
	if o.Position == (Weights{}) {
		o.Position = UShaped
	}
	switch {
	case !(o.HalfLife >= 1e-3 && o.HalfLife <= 36_500): // NaN is neither
		return o, errkind.Inputf("half-life %v: use days from 0.001 to 36500", o.HalfLife)
	case o.Order < 1 || o.Order > MaxOrder:
		return o, errkind.Inputf("markov-order %d: use 1 to %d", o.Order, MaxOrder)
	case o.Collapse != CollapseNone && o.Collapse != CollapseExposure && o.Collapse != CollapseFirst:
		return o, errkind.Inputf("collapse %q: use %s or %s", o.Collapse, CollapseExposure, CollapseFirst)
	}
	if o.IHC == nil {
		m, err := ihcmodel.New(ihcmodel.DefaultParams())
		if err != nil {
			return o, fmt.Errorf("the built-in parameters: %w", err)
		}
		o.IHC = m
	}
	return o, nil
}
