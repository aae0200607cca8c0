package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

func TestErrorsNameTheFlagThatWasGiven(t *testing.T) {
	t.Parallel()
	given := func(flags ...string) func(string) bool {
		return func(name string) bool {
			for _, f := range flags {
				if f == name {
					return true
				}
			}
			return false
		}
	}
	wrong := errkind.Inputf("IHC_CONCURRENCY is 0: use a number from 1 to 1000")
	err := typed(wrong, given("out", "concurrency"))
	require.EqualError(t, err, "--concurrency: IHC_CONCURRENCY is 0: use a number from 1 to 1000")
	require.Equal(t, 2, errkind.ExitCode(err))
	require.Equal(t, wrong, typed(wrong, given("out")), "it was the variable")
	other := errors.New("no database")
	require.Equal(t, other, typed(other, given("concurrency")))
	require.NoError(t, typed(nil, given()))
}
