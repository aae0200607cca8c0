package service

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAServiceSaysWhatItIsAndRefusesOtherArguments(t *testing.T) {
	t.Parallel()
	for argument, code := range map[string]int{"-version": 0, "--version": 0, "-help": 0, "--help": 0, "-h": 0, "-what": 2, "run": 2} {
		require.Equal(t, code, inform[struct{}]("writer", argument), argument)
	}
}
