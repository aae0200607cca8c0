// Package plot draws small SVG pictures on the server: bars, dumbbells, intervals, lines,
// steps and rows of a heat grid. They have no script, no fonts and no colours of
// their own: marks have classes, which a page's style sheet gives colours, so
// that one picture serves light, dark and print.
//
// A picture is as wide as the room it is given, and its strokes, dots and words
// keep their size: widths are in percent, and lines are drawn in a box that
// stretches. A line has words at its grid; all other names and numbers are for
// the page to write beside the picture. Each has a text in the place of it for
// those who do not see it. All positions are parts of the width, 0 to 1; what
// lies outside is drawn at the edge.
package plot

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// drawing is a picture under way.
type drawing struct{ strings.Builder }

// begin opens a picture of some height in pixels, with the text in its place;
// without one it is passed over.
func begin(class, alt string, height int, more string) *drawing {
	d := &drawing{}
	role := ` aria-hidden="true"`
	if alt != "" {
		role = ` role="img" aria-label="` + escape(alt) + `"`
	}
	d.draw(`<svg class="plot %s" height="%d"%s%s>`, class, height, role, more)
	return d
}

func (d *drawing) draw(format string, args ...any) { _, _ = fmt.Fprintf(d, format, args...) }

func (d *drawing) end() template.HTML {
	d.WriteString("</svg>")
	return template.HTML(d.String()) //nolint:gosec // all that is not a number is escaped
}

// escape makes s text of an attribute. Control characters, which are no
// characters of XML, become spaces.
func escape(s string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
}

// percent writes a part of the width.
func percent(x float64) string { return number(100*within(x), 2) + "%" }

func within(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return max(0, min(1, x))
}

// number writes at most so many places, and no idle zeros.
func number(x float64, places int) string {
	text := strconv.FormatFloat(x, 'f', places, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if text == "-0" {
		return "0"
	}
	return text
}

const barHeight = 14

// Bar draws a bar from the left, and a thin upright line where mark is, unless
// it is negative.
func Bar(length, mark float64, class, alt string) template.HTML {
	d := begin("bar", alt, barHeight, "")
	d.draw(`<rect class="%s" width="%s" height="%d" rx="2"/>`, class, percent(length), barHeight)
	if mark >= 0 {
		d.draw(`<line class="mark" x1="%[1]s" x2="%[1]s" y2="%[2]d"/>`, percent(mark), barHeight)
	}
	return d.end()
}

// Dots draws a dot on a rail for each position, around the middle, which is what
// they are compared with. The style sheet draws the rail and its middle.
func Dots(at []float64, class, alt string) template.HTML {
	d := begin("dots", alt, barHeight, "")
	for _, x := range at {
		d.draw(`<circle class="%s" cx="%s" cy="7" r="5"/>`, class, percent(0.02+0.96*within(x)))
	}
	return d.end()
}

// Dumbbell draws two positions with a line between them: the first as a ring,
// the second as a dot.
func Dumbbell(from, to float64, class, alt string) template.HTML {
	d := begin("dumbbell", alt, 16, "")
	x := func(v float64) string { return percent(0.02 + 0.96*within(v)) } // so that no dot is cut at the edge
	d.draw(`<line class="%[3]s" x1="%[1]s" x2="%[2]s" y1="8" y2="8"/>`+
		`<circle class="%[3]s" cx="%[2]s" cy="8" r="5"/><circle class="%[3]s ring" cx="%[1]s" cy="8" r="5"/>`, x(from), x(to), class)
	return d.end()
}

// Interval draws a dot at a value with a whisker from low to high, and a ring for
// each of the others, whose names show where a pointer rests on them. There is no
// whisker where low is NaN.
func Interval(value, low, high float64, others []Named, class, alt string) template.HTML {
	d := begin("interval", alt, 16, "")
	x := func(v float64) string { return percent(0.02 + 0.96*within(v)) }
	if len(others) > 0 {
		d.draw(`<g class="%s others">`, class)
		for _, o := range others {
			d.draw(`<circle cx="%s" cy="8" r="4"><title>%s</title></circle>`, x(o.At), escape(o.Name))
		}
		d.WriteString("</g>")
	}
	if !math.IsNaN(low) && !math.IsNaN(high) {
		d.draw(`<line class="%[3]s" x1="%[1]s" x2="%[2]s" y1="8" y2="8"/>`, x(low), x(high), class)
	}
	d.draw(`<circle class="%s" cx="%s" cy="8" r="5"/>`, class, x(value))
	return d.end()
}

// Named is a position with the name of what is there.
type Named struct {
	Name string
	At   float64
}

// Line is a row of values over equal steps, such as dates.
type Line struct {
	// Values are drawn from 0 at the bottom to the greatest at the top; NaN is a
	// gap. Negative ones move the bottom down.
	Values []float64
	// Before are values of another time, drawn behind as a broken line.
	Before []float64
	// Top is the greatest value there is room for; 0 means that of Values.
	Top float64
	// Class is that of the line.
	Class string
	// Steps draws each value up to the next, as counts that only rise.
	Steps bool
	// Hatched is the first index that is not final yet; len(Values) for none.
	Hatched int
	// Grid are thin level lines at these values, each with its text left of the
	// picture, where a page has to leave room for it.
	Grid []Named
	// Marks are thin upright lines at these indices, each with its text beside
	// it.
	Marks []Named
	// Below are texts under these indices, from the first to the last.
	Below []Named
	// Column is where a table behind the picture has the values, for a script
	// that reads them out; 0 for none.
	Column int
	Alt    string
}

// lineHeight is that of a line's picture in pixels, belowHeight that of the
// words below it.
const (
	lineHeight  = 128
	belowHeight = 20
)

// SVG draws the line.
func (l Line) SVG() template.HTML {
	more := ""
	if l.Column > 0 {
		more = fmt.Sprintf(` data-column="%d" data-points="%d"`, l.Column, len(l.Values))
	}
	height := lineHeight
	if len(l.Below) > 0 {
		height += belowHeight
	}
	d := begin("line", l.Alt, height, more)
	top, bottom := l.ends()
	n := max(len(l.Values)-1, 1)
	if l.Hatched < len(l.Values) {
		veil(d, (float64(l.Hatched)-0.5)/float64(n), lineHeight)
	}
	part := func(v float64) float64 { return 3 + 94*(1-(v/2-bottom/2)/(top/2-bottom/2)) } // halves, whose difference has room
	y := func(v float64) string { return number(part(v), 1) }
	d.draw(`<svg viewBox="0 0 %d 100" preserveAspectRatio="none" width="100%%" height="%d">`, 10*n, lineHeight)
	d.draw(`<path class="axis" d="M0 %sH%d"/>`, y(0), 10*n)
	for _, g := range l.Grid {
		d.draw(`<path class="grid" d="M0 %sH%d"/>`, y(g.At), 10*n)
	}
	for _, m := range l.Marks {
		d.draw(`<path class="mark" d="M%s 0V100"/>`, number(10*m.At, 1))
	}
	if len(l.Before) > 0 {
		d.draw(`<path class="%s before" d="%s"/>`, l.Class, l.path(l.Before, y))
	}
	d.draw(`<path class="%s" d="%s"/></svg>`, l.Class, l.path(l.Values, y))
	l.words(d, part, float64(n))
	return d.end()
}

// ends returns the values at the top and at the bottom.
func (l Line) ends() (top, bottom float64) {
	top = l.Top
	for _, values := range [][]float64{l.Values, l.Before} {
		for _, v := range values {
			if !math.IsNaN(v) {
				top, bottom = max(top, v), min(bottom, v)
			}
		}
	}
	if top == bottom {
		top = bottom + 1
	}
	return top, bottom
}

// words writes what stands at the grid, at the marks and below. They are drawn
// outside of the box that stretches.
func (l Line) words(d *drawing, part func(float64) float64, n float64) {
	for _, g := range l.Grid {
		d.draw(`<text x="0" dx="-8" y="%s" text-anchor="end">%s</text>`, number(part(g.At)*lineHeight/100+4, 1), escape(g.Name))
	}
	for i, m := range l.Marks {
		at := within(m.At / n)
		anchor, dx := "", 5
		if at > 0.6 {
			anchor, dx = ` text-anchor="end"`, -5
		}
		d.draw(`<text x="%s" dx="%d" y="%d"%s>%s</text>`, percent(at), dx, lineHeight-10-16*i, anchor, escape(m.Name))
	}
	for i, b := range l.Below {
		anchor := "middle"
		switch i {
		case 0:
			anchor = "start"
		case len(l.Below) - 1:
			anchor = "end"
		}
		class := ""
		if i%2 == 1 && i < len(l.Below)-1 {
			class = ` class="between"` // left out where there is little room
		}
		d.draw(`<text%s x="%s" y="%d" text-anchor="%s">%s</text>`, class, percent(b.At/n), lineHeight+belowHeight-5, anchor, escape(b.Name))
	}
}

// Round returns one to five round values between two, for a grid: multiples of 1,
// 2 or 5 and a power of ten, and never 0.
func Round(low, high float64) (at []float64) {
	low, high = min(low, 0), max(high, 0)
	size := high - low
	if !(size > 0) || math.IsInf(size, 0) {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10(size))-1)
	for _, times := range []float64{2, 2.5, 2, 2, 2.5, 2} { // 2, 5, 10, 20, 50, 100
		if size/step < 5 {
			break
		}
		step *= times
	}
	for k := math.Ceil(low / step); k*step <= high; k++ {
		if k != 0 {
			at = append(at, k*step)
		}
	}
	return at
}

// path returns the way of a line through values.
func (l Line) path(values []float64, y func(float64) string) string {
	var b strings.Builder
	pen := false
	for i, v := range values {
		if math.IsNaN(v) {
			pen = false
			continue
		}
		switch {
		case !pen:
			fmt.Fprintf(&b, "M%d %s", 10*i, y(v))
			switch alone := i+1 == len(values) || math.IsNaN(values[i+1]); {
			case len(values) == 1:
				b.WriteString("h10") // all there is
			case alone:
				b.WriteString("h1") // or it would not be seen
			}
		case l.Steps:
			fmt.Fprintf(&b, "H%dV%s", 10*i, y(v))
		default:
			fmt.Fprintf(&b, "L%d %s", 10*i, y(v))
		}
		pen = true
	}
	return b.String()
}

// HeatLevels is how many shades a heat grid has, beside none at all.
const HeatLevels = 6

// HeatRow draws one row of a heat grid: values from 0 to 1 in shades, which go
// by the square root so that small ones can be told apart; NaN and 0 are empty
// cells, and those below 0 have a thin line in the place of a shade. Cells from
// hatched on are not final yet. Column is as in [Line].
func HeatRow(values []float64, hatched, column int, class, alt string) template.HTML {
	more := ""
	if column > 0 {
		more = fmt.Sprintf(` data-column="%d" data-points="%d" data-cells=""`, column, len(values))
	}
	d := begin("heat", alt, barHeight, more)
	d.draw(`<svg viewBox="0 -.5 %d 1" preserveAspectRatio="none" width="100%%" height="%d">`, max(len(values), 1), barHeight)
	d.draw(`<path class="ground" d="M0 0H%d"/>`, len(values))
	var levels [HeatLevels + 1]strokes
	var under strokes
	for i := 0; i < len(values); {
		level, below := HeatLevel(values[i]), values[i] < 0
		from := i
		for i < len(values) && HeatLevel(values[i]) == level && values[i] < 0 == below {
			i++
		}
		switch {
		case below:
			under.add(from, i)
		case level > 0:
			levels[level].add(from, i) // as high as the row
		}
	}
	under.draw(d, "under")
	for level := 1; level <= HeatLevels; level++ {
		levels[level].draw(d, fmt.Sprintf("%s l%d", class, level))
	}
	d.WriteString("</svg>")
	if hatched < len(values) {
		veil(d, float64(hatched)/float64(len(values)), barHeight)
	}
	return d.end()
}

// strokes are level lines from left to right.
type strokes struct {
	path strings.Builder
	at   int
}

// add goes on from where the one before ended: distances have fewer digits than
// places.
func (s *strokes) add(from, to int) {
	move := "m"
	if s.at == 0 {
		move = "M"
	}
	fmt.Fprintf(&s.path, "%s%d 0h%d", move, from-s.at, to-from)
	s.at = to
}

func (s *strokes) draw(d *drawing, class string) {
	if s.at > 0 {
		d.draw(`<path class="%s" d="%s"/>`, class, s.path.String())
	}
}

// veil hatches what is right of a part of the width, where a page has a pattern
// of that name. It is drawn outside of the box that stretches, or its lines
// would be stretched, too.
func veil(d *drawing, from float64, height int) {
	d.draw(`<rect class="veil" x="%s" width="%s" height="%d"/>`, percent(from), percent(1-within(from)), height)
}

// HeatLevel returns the shade, 0 to [HeatLevels], in which a heat grid shows a
// value from 0 to 1.
func HeatLevel(v float64) int {
	if math.IsNaN(v) || v <= 0 {
		return 0
	}
	return min(int(math.Sqrt(v)*HeatLevels)+1, HeatLevels)
}
