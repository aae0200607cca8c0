package errkind_test

import (
	"errors"
	"fmt"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Whoever meets an error first says whose it is; whoever adds to it keeps that;
// an error that nobody classified is the run's.
func ExampleKindOf() {
	missing := errkind.Environmentf("no database at %q: no such file", "shop.db")
	for _, err := range []error{
		nil,
		errors.New("index out of step"),
		errkind.Inputf("start date 2023-09-30 is after end date 2023-09-01; swap them"),
		fmt.Errorf("rebuild channel_reporting: %w", missing),
	} {
		fmt.Println(errkind.ExitCode(err), errkind.KindOf(err), err)
	}
	// Output:
	// 0 ok <nil>
	// 1 run index out of step
	// 2 input start date 2023-09-30 is after end date 2023-09-01; swap them
	// 3 environment rebuild channel_reporting: no database at "shop.db": no such file
}
