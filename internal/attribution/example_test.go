package attribution_test

import (
	"context"
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/attribution"
	"github.com/ihc-pipeline/ihc/internal/journey"
)

func ExampleParseRule() {
	rule, err := attribution.ParseRule("position=20/20/60")
	if err != nil {
		fmt.Println(err)
		return
	}
	j := attribution.Journey{Channels: []string{"search", "email"}, Touches: []attribution.Touch{{Channel: 0}, {Channel: 1}, {Channel: 0}}}
	shares := make([]float64, len(j.Touches))
	rule.Shares(j, shares)
	fmt.Println(rule.Name(), shares)
	// Output: position 20/20/60 [0.2 0.2 0.6]
}

// Three journeys of which one converts: the example of several introductions to
// the Markov chain.
func ExampleCompare() {
	users := func(_ context.Context, yield func(*journey.History) error) error {
		c1, c2, c3 := journey.Session{Channel: "C1"}, journey.Session{Channel: "C2"}, journey.Session{Channel: "C3"}
		for _, h := range []journey.History{
			{User: "buyer", Sessions: []journey.Session{c1, c2, c3}, Conversions: []journey.Converted{{ID: "order", Revenue: 50, To: 3}}, Rest: 3},
			{User: "looker", Sessions: []journey.Session{c1}},
			{User: "another", Sessions: []journey.Session{c2, c3}},
		} {
			if err := yield(&h); err != nil {
				return err
			}
		}
		return nil
	}
	c, err := attribution.Compare(context.Background(), []string{attribution.Last, attribution.Markov}, attribution.Options{}, attribution.ByNothing, users)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range c.Models {
		for _, credit := range m.Credits {
			fmt.Printf("%s: %s %.1f conversions, %.0f revenue, removal effect %.1f\n", m.Label, credit.Channel, credit.Conversions.Value, credit.Revenue.Value, credit.Removal)
		}
	}
	// Output:
	// last: C1 0.0 conversions, 0 revenue, removal effect 0.0
	// last: C2 0.0 conversions, 0 revenue, removal effect 0.0
	// last: C3 1.0 conversions, 50 revenue, removal effect 0.0
	// markov order 1: C1 0.2 conversions, 10 revenue, removal effect 0.5
	// markov order 1: C2 0.4 conversions, 20 revenue, removal effect 1.0
	// markov order 1: C3 0.4 conversions, 20 revenue, removal effect 1.0
}
