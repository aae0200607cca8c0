package packing_test

import (
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/packing"
)

// Requests of at most ten sessions: seven journeys with twenty sessions fill
// two of them to the last one, and none is divided.
func ExamplePacker() {
	p := packing.New(packing.Limits{Sessions: 10, Journeys: 5, Bytes: 1 << 20}, func(chunk []journey.Journey) error {
		sessions := 0
		for _, j := range chunk {
			fmt.Printf("%s(%d) ", j.ConvID, j.Count)
			sessions += j.Count
		}
		fmt.Println("=", sessions, "sessions")
		return nil
	})
	for i, n := range []int{6, 2, 3, 1, 4, 3, 1} {
		j := journey.Journey{ConvID: string(rune('a' + i)), Count: n, Sessions: make([]journey.Session, n)}
		if err := p.Add(j); err != nil {
			fmt.Println(err)
		}
	}
	if err := p.Flush(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// a(6) b(2) d(1) g(1) = 10 sessions
	// e(4) c(3) f(3) = 10 sessions
}
