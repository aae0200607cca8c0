package human

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestThousandsHaveCommas(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0", 7: "7", 999: "999", 1000: "1,000", 12_345: "12,345", 1_234_567: "1,234,567",
		-1: "-1", -999: "-999", -1000: "-1,000", math.MinInt64: "-9,223,372,036,854,775,808",
	} {
		require.Equal(t, want, Thousands(n))
	}
	require.Equal(t, "18,446,744,073,709,551,615", Thousands(uint64(math.MaxUint64)))
}

func TestLineEndsStayAndEscapeSequencesShow(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a\n\\x1b[31mb\n", PrintableLines("a\n\x1b[31mb\n"))
	require.Equal(t, `a\nb`, Printable("a\nb"))
}

func TestCountsHaveTheirNouns(t *testing.T) {
	t.Parallel()
	require.Equal(t, "0 journeys", Count(0, "journey"))
	require.Equal(t, "1 journey", Count(1, "journey"))
	require.Equal(t, "1,200 journeys", Count(uint64(1200), "journey"))
}

func TestDurationsAreRounded(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 300 * time.Microsecond: "under 1ms", 999 * time.Microsecond: "under 1ms", time.Millisecond: "1ms", 37499 * time.Microsecond: "37ms",
		99600 * time.Microsecond: "100ms", 149 * time.Millisecond: "100ms", time.Nanosecond: "under 1ms", -time.Millisecond: "0s", 1234 * time.Millisecond: "1.2s", 90*time.Second + 400*time.Millisecond: "1m30s", 25 * time.Hour: "25h0m0s", -90400 * time.Millisecond: "-1m30s",
	} {
		require.Equal(t, want, Duration(d))
	}
	for d, want := range map[time.Duration]string{
		0: "under 1s", 999 * time.Millisecond: "under 1s", time.Second: "about 1s", 1001 * time.Millisecond: "about 2s", 90400 * time.Millisecond: "about 1m31s", -time.Second: "under 1s",
	} {
		require.Equal(t, want, About(d))
	}
}

func TestValuesAreQuotedOnOneShortLine(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", 100)
	for _, c := range []struct {
		value any
		want  string
	}{
		{nil, "NULL"},
		{"a\n\"b\"", `"a\n\"b\""`},
		{"\x1b[31m\u202e\xff", `"\x1b[31m\u202e\xff"`},
		{long, `"` + strings.Repeat("ü", 40) + `"… (200 bytes)`},
		{"x" + long, `"x` + strings.Repeat("ü", 39) + `"… (201 bytes)`},
		{[]byte{1, 0xab}, "blob x'01ab'"},
		{make([]byte, 30), "blob x'" + strings.Repeat("00", 20) + "'… (30 bytes)"},
		{0.1, "0.1"}, {1e300, "1e+300"}, {int64(-3), "-3"}, {true, "true"},
	} {
		require.Equal(t, c.want, Quote(c.value))
	}
}

func TestPrintableShowsWhatATerminalWouldObey(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"":                       "",
		"Paid Search":            "Paid Search",
		`back\slash "quoted"`:    `back\slash "quoted"`,
		"Müller 日本語\u3000":       "Müller 日本語\u3000",
		"👩\u200d🚀":               "👩\u200d🚀",
		"a\tb\nc\r":              `a\tb\nc\r`,
		"\x1b]0;title\a\x1b[31m": `\x1b]0;title\a\x1b[31m`,
		"\u009b31m":              `\u009b31m`,
		"user\u202egnp.exe":      `user\u202egnp.exe`,
		"\u2066x\u2069\u200f":    `\u2066x\u2069\u200f`,
		"\u2028\ufeff\u00ad":     `\u2028\ufeff\u00ad`,
		"\xff\xc3ok":             `\xff\xc3ok`,
		"\ufffd":                 `\ufffd`,
	} {
		require.Equal(t, want, Printable(s))
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Printable(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) + rapid.String().Draw(t, "text"))
		require.True(t, utf8.ValidString(s))
		require.False(t, strings.ContainsFunc(s, unicode.IsControl))
		require.False(t, strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Bidi_Control, r) }))
		require.Equal(t, s, Printable(s))
	})
}

func TestWidthIsInCells(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int{"": 0, "abc": 3, "Müller": 6, "Mu\u0308ller": 6, "日本": 4, "👩\u200d🚀": 2, "🇩🇪": 2} {
		require.Equal(t, want, Width(s), s)
	}
}

func TestCutKeepsBothEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s     string
		cells int
		want  string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "a…d"},
		{"abcdefghij", 6, "abc…ij"},
		{"abcdefghij", 1, "…"},
		{"abcdefghij", 2, "a…"},
		{"abcdefghij", 0, ""},
		{"abcdefghij", -1, ""},
		{"日本語学校", 10, "日本語学校"},
		{"日本語学校", 9, "日本…学校"},
		{"日本語学校", 8, "日本…校"},
	} {
		require.Equal(t, c.want, Cut(c.s, c.cells))
	}
	rapid.Check(t, func(t *rapid.T) {
		letters := []string{"a", "b", "日", "ü", "u\u0308", "👩\u200d🚀", "🇩🇪", " "}
		s := strings.Join(rapid.SliceOfN(rapid.SampledFrom(letters), 0, 40).Draw(t, "letters"), "")
		cells := rapid.IntRange(0, 50).Draw(t, "cells")
		cut := Cut(s, cells)
		require.LessOrEqual(t, Width(cut), cells)
		if Width(s) > cells && cells > 0 {
			require.GreaterOrEqual(t, Width(cut), cells-2, "no more is cut than must be")
			head, tail, _ := strings.Cut(cut, "…")
			require.True(t, strings.HasPrefix(s, head) && strings.HasSuffix(s, tail))
		}
		require.Equal(t, max(cells, Width(s)), Width(Pad(s, cells)))
		require.Equal(t, max(cells, Width(s)), Width(PadLeft(s, cells)))
	})
}

func TestTableAlignsCellsOfATerminal(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	require.NoError(t, Table(&b, [][]string{{"channel", "cost"}, {"日本", "1.00"}, {"(2 more)"}, {"Paid Search", "12345.00", "x"}}))
	require.Equal(t, ""+
		"       channel       cost\n"+
		"          日本       1.00\n"+
		"      (2 more)\n"+
		"   Paid Search   12345.00   x\n", b.String())
}
