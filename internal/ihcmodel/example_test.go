package ihcmodel_test

import (
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// Three visits within three days: one that began the journey, one that looked
// at products, and one that went to the checkout. Whatever they share, the ihc
// of a journey sums to 1.
func ExampleScorer_Score() {
	model, err := ihcmodel.New(ihcmodel.DefaultParams())
	if err != nil {
		fmt.Println(err)
		return
	}
	const day = 24 * 3600 * 1_000_000 // microseconds
	scores := model.Scorer(nil).Score([]ihcmodel.Session{
		{TimeMicros: 0, Channel: "SEO"},
		{TimeMicros: day, Channel: "Email", Holder: true},
		{TimeMicros: 3 * day, Channel: "Direct Traffic", Holder: true, Closer: true},
	}, nil)
	var whole ihcmodel.Share
	for _, s := range scores {
		fmt.Println("initializer", s.Initializer, "holder", s.Holder, "closer", s.Closer, "ihc", s.IHC)
		whole += s.IHC
	}
	fmt.Println("sum", whole)
	// Output:
	// initializer 0.5237 holder 0.0 closer 0.0 ihc 0.1692
	// initializer 0.1918 holder 0.8593 closer 0.0 ihc 0.3833
	// initializer 0.2845 holder 0.1407 closer 1.0 ihc 0.4475
	// sum 1.0
}
