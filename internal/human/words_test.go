package human

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestOneIsSingular(t *testing.T) {
	t.Parallel()
	require.Equal(t, "1 row is there", Say(1, "row is there", "rows are there"))
	require.Equal(t, "0 rows are there", Say(0, "row is there", "rows are there"))
	require.Equal(t, "1,200 rows are there", Say(1200, "row is there", "rows are there"))
}

func TestMoneyIsGrouped(t *testing.T) {
	t.Parallel()
	for number, want := range map[string]string{"0": "0", "12.50": "12.50", "999.9": "999.9", "1000.00": "1,000.00", "-1234567.891": "-1,234,567.891", "-999": "-999"} {
		require.Equal(t, want, Grouped(number))
	}
}

func TestDifferentNamesAreNeverShownAlike(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"Paid Social", `"Paid Social "`, `""`}, Names([]string{"Paid Social", "Paid Social ", ""}, 40))
	require.Equal(t, []string{"Конте…к/РСЯ", "Конт…/РСЯ~2"}, Names([]string{"Контекстная реклама А Поиск/РСЯ", "Контекстная реклама Б Поиск/РСЯ"}, 11)[:2])
	require.Equal(t, []string{"Café", "Cafe\u0301~2"}, Names([]string{"Café", "Cafe\u0301"}, 11))
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[ab世é ~2]{0,30}`), 0, 20, rapid.ID).Draw(t, "names")
		cells := rapid.IntRange(8, 40).Draw(t, "cells")
		seen := map[string]bool{}
		for _, shown := range Names(names, cells) {
			require.LessOrEqual(t, Width(shown), cells)
			require.False(t, seen[shown], shown)
			seen[shown] = true
		}
	})
}

func TestWrappedTextFitsAndLosesNothing(t *testing.T) {
	t.Parallel()
	require.Equal(t, "one two\n  three\n  four", Wrap("one two three four", 8, 2))
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-z世]{1,8}`), 1, 30).Draw(t, "words")
		cells := rapid.IntRange(20, 80).Draw(t, "cells")
		text := Wrap(strings.Join(words, " "), cells, 2)
		require.Equal(t, words, strings.Fields(text))
		for line := range strings.Lines(text) {
			require.LessOrEqual(t, Width(strings.TrimSuffix(line, "\n")), cells)
		}
	})
}

func TestListsFitTheTerminal(t *testing.T) {
	t.Parallel()
	c := Columns{Rows: [][]string{{"RUN", "STATE", "STARTED", "ABOUT"}, {"20230901-120128-abc", "completed", "2023-09-01 12:01:28", strings.Repeat("long ", 40) + "end"}}, Drop: []int{2, 1}}
	for _, cells := range []int{60, 80, 100, 200} {
		var b bytes.Buffer
		require.NoError(t, c.List(&b, cells))
		for line := range strings.Lines(b.String()) {
			require.LessOrEqual(t, Width(strings.TrimSuffix(line, "\n")), cells)
		}
		require.Contains(t, b.String(), "20230901-120128-abc")
		require.True(t, strings.HasSuffix(b.String(), "end\n"), "the end is kept\n%s", b.String())
	}
	var b bytes.Buffer
	require.NoError(t, c.List(&b, 0))
	require.Contains(t, b.String(), c.Rows[1][3])
	require.NoError(t, Columns{Rows: [][]string{{"A"}, {"b"}}}.List(&b, 60))
}
