// Package human writes numbers, durations, values and names for people, on one
// line and safe for a terminal.
package human

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

type integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// Thousands writes a number with commas: 1,234,567.
func Thousands[N integer](n N) string {
	s := fmt.Sprint(n)
	first := 0 // digit
	if n < 0 {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Count says how many there are of something whose plural takes an s: "1
// journey", "3,000 journeys".
func Count[N integer](n N, noun string) string { return Thousands(n) + " " + Plural(n, noun) }

// Plural returns a noun whose plural takes an s, in the form that goes with n.
func Plural[N integer](n N, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// Duration writes a duration to the tenth of a second, one of a minute and more to
// the second, and one that is shorter than a tenth to the millisecond: 1.2s, 1m30s,
// 37ms, under 1ms.
func Duration(d time.Duration) string {
	switch length := d.Abs(); {
	case length >= time.Minute:
		return d.Round(time.Second).String()
	case length >= 100*time.Millisecond || d <= 0:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(time.Millisecond).String()
	default:
		return "under 1ms"
	}
}

// About says about how long something takes, in whole seconds, the last one begun
// among them, as people count down: "about 12s" of 11.2 s, "under 1s".
func About(d time.Duration) string {
	if d < time.Second {
		return "under 1s"
	}
	return "about " + (d + time.Second - 1).Truncate(time.Second).String()
}

// Bytes writes a number of bytes in decimal units, to a tenth: 999 B, 1.5 kB,
// 12.0 MB.
func Bytes(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	size := float64(n)
	for _, unit := range []string{"kB", "MB", "GB"} {
		if size /= 1000; size < 999.95 {
			return fmt.Sprintf("%.1f %s", size, unit)
		}
	}
	return fmt.Sprintf("%.1f TB", size/1000)
}

const maxQuoted = 80 // bytes

// Quote puts a value, as one from a database, into a message: text in quotes
// (see [QuoteText]), bytes in hexadecimal, cut to about 80 characters; nil is
// NULL.
func Quote(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return QuoteText(v)
	case []byte:
		if len(v) > maxQuoted/4 {
			return fmt.Sprintf("blob x'%x'… (%d bytes)", v[:maxQuoted/4], len(v))
		}
		return fmt.Sprintf("blob x'%x'", v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// QuoteText puts s in quotes, with what cannot be printed escaped as in Go. Of
// a text longer than 80 bytes it shows the beginning and the length.
func QuoteText(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	cut := strings.ToValidUTF8(s[:maxQuoted], "") // do not end within a rune
	return strconv.Quote(cut) + fmt.Sprintf("… (%d bytes)", len(s))
}
