package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

func TestErrorsNameTheFlagThatWasGiven(t *testing.T) {
	t.Setenv("IHC_CONCURRENCY", "")
	given := func(args ...string) func(string) string {
		cmd := newRunCmd()
		require.NoError(t, cmd.ParseFlags(args))
		return func(text string) string { return named(cmd.Flags(), errkind.Inputf("%s", text)).Error() }
	}
	const wrong = "IHC_CONCURRENCY is 0: use a number from 1 to 1000"
	for text, c := range map[string]struct {
		args []string
		want string
	}{
		wrong:                             {[]string{"--out", "x", "--concurrency", "0"}, "--concurrency is 0: use a number from 1 to 1000"},
		"max_sessions 10001: the most is": {[]string{"--max-sessions", "10001"}, "--max-sessions 10001: the most is"},
		"max_age_days 99: the most is 9":  {[]string{"--max-age", "99"}, "--max-age 99: the most is 9"},
		`refunds "ignore": use "count"`:   {[]string{"--refunds", "ignore"}, `--refunds "ignore": use "count"`},
		`model "linear" takes no redistribution_parameter: that is`: {[]string{"--model", "linear", "--redistribution", "r.json"},
			`--model "linear" takes no --redistribution: that is`},
		`start_date "2023-09-02" is after end_date "2023-09-01"`: {[]string{"--start-date", "2023-09-02"}, `--start-date "2023-09-02" is after end_date "2023-09-01"`},
		"no refunds are a model of this":                         {[]string{"--refunds", "count", "--model", "linear"}, "no refunds are a model of this"},
	} {
		require.Equal(t, c.want, given(c.args...)(text))
		require.Equal(t, text, given("--detach")(text), "it was another setting")
	}
	t.Setenv("IHC_CONCURRENCY", "7")
	require.Equal(t, "--concurrency is 0", given("--concurrency", "0")("IHC_CONCURRENCY is 0"), "a flag goes before its variable")
	err := named(newRunCmd().Flags(), errkind.Inputf("%s", wrong))
	require.Equal(t, 2, errkind.ExitCode(err))
	other := errors.New("no database")
	require.Equal(t, other, named(newRunCmd().Flags(), other))
	require.NoError(t, named(newRunCmd().Flags(), nil))
}
