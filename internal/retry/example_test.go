package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ihc-pipeline/ihc/internal/retry"
)

// A test sets the clock: it waits until somebody sleeps and then moves the
// clock on, so that it takes no time and never comes too early.
func ExampleDo() {
	ctx := context.Background()
	clock := retry.NewFake(time.Date(2023, 9, 1, 12, 0, 0, 0, time.UTC))
	policy := retry.Policy{First: time.Second, Max: 30 * time.Second, Factor: 2}
	tries := 0
	done := make(chan error)
	go func() {
		done <- retry.Do(ctx, clock, policy, func(context.Context) error {
			tries++
			fmt.Println("try", tries, "at", clock.Now().Format(time.TimeOnly))
			if tries < 4 {
				return errors.New("the server does not answer")
			}
			return nil
		}, nil)
	}()
	for wait := policy.First; wait <= 4*time.Second; wait *= 2 {
		if err := clock.AwaitSleepers(ctx, 1); err != nil {
			fmt.Println(err)
		}
		clock.Advance(wait)
	}
	fmt.Println(<-done)
	// Output:
	// try 1 at 12:00:00
	// try 2 at 12:00:01
	// try 3 at 12:00:03
	// try 4 at 12:00:07
	// <nil>
}
