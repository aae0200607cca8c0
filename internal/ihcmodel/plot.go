package ihcmodel

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Plot is a picture of one curve, with another to compare it with.
type Plot struct {
	Title     string // above the picture
	XLabel    string // below it
	Curve     Curve
	Name      string // of the curve, in the legend
	Other     Curve  // dashed; nil for none
	OtherName string
}

// InitializerPlot and CloserPlot are the two pictures of a model's parameters;
// other is drawn beside them unless it is nil.
func (p *Params) InitializerPlot(other *Params) Plot {
	plot := Plot{Title: "Initializer membership", XLabel: "hours since the session before", Curve: p.InitializerCurve, Name: p.Name}
	if other != nil {
		plot.Other, plot.OtherName = other.InitializerCurve, other.Name
	}
	return plot
}

// CloserPlot is described at [Params.InitializerPlot].
func (p *Params) CloserPlot(other *Params) Plot {
	plot := Plot{Title: "Closer membership", XLabel: "hours to the last session", Curve: p.CloserCurve, Name: p.Name}
	if other != nil {
		plot.Other, plot.OtherName = other.CloserCurve, other.Name
	}
	return plot
}

// The picture's measures, in pixels.
const (
	plotWidth, plotHeight    = 720, 420
	plotLeft, plotRight      = 60, 20
	plotTop, plotBottom      = 70, 50
	plotInnerW, plotInnerH   = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
	curveColour, otherColour = "#1f5fa8", "#b0642c"
)

// WriteSVG writes the picture as a stand-alone SVG: no scripts, no fonts of its own.
func (p Plot) WriteSVG(w io.Writer) error {
	end := 1.0
	for _, c := range []Curve{p.Curve, p.Other} {
		if len(c) > 0 {
			end = max(end, c[len(c)-1].Hours*1.08)
		}
	}
	x := func(hours float64) float64 { return plotLeft + plotInnerW*hours/end }
	y := func(value float64) float64 { return plotTop + plotInnerH*(1-value) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="sans-serif" font-size="12">`+"\n",
		plotWidth, plotHeight, plotWidth, plotHeight)
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", escapeXML(p.Title))
	text := func(x, y float64, anchor, style, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, style, escapeXML(s))
	}
	line := func(x1, y1, x2, y2 float64, style string) {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, style)
	}
	text(plotLeft, 24, "start", ` font-size="16" font-weight="bold"`, p.Title)
	for i := range 6 {
		v := float64(i) / 5
		line(plotLeft, y(v), plotWidth-plotRight, y(v), `stroke="#ddd"`)
		text(plotLeft-8, y(v)+4, "end", "", fmt.Sprintf("%.1f", v))
	}
	step := tickStep(end)
	for h := 0.0; h <= end; h += step {
		line(x(h), y(0), x(h), y(0)+5, `stroke="#555"`)
		text(x(h), y(0)+20, "middle", "", fmt.Sprintf("%g", h))
	}
	line(plotLeft, y(0), plotWidth-plotRight, y(0), `stroke="#555"`)
	text(plotLeft+plotInnerW/2, plotHeight-10, "middle", "", p.XLabel)

	draw := func(c Curve, name, colour, dash string, row float64) {
		if len(c) == 0 {
			return
		}
		points := []string{fmt.Sprintf("%.2f,%.2f", x(0), y(c[0].Value))}
		for _, k := range c { // a jump's two knots make an upright line
			points = append(points, fmt.Sprintf("%.2f,%.2f", x(k.Hours), y(k.Value)))
		}
		points = append(points, fmt.Sprintf("%.2f,%.2f", x(end), y(c[len(c)-1].Value)))
		style := fmt.Sprintf(`fill="none" stroke=%q stroke-width="2"%s`, colour, dash)
		fmt.Fprintf(&b, `<polyline points="%s" %s/>`+"\n", strings.Join(points, " "), style)
		line(plotLeft, row, plotLeft+24, row, style)
		text(plotLeft+30, row+4, "start", "", name)
	}
	draw(p.Other, p.OtherName, otherColour, ` stroke-dasharray="5 4"`, 58)
	draw(p.Curve, p.Name, curveColour, "", 42)
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// tickStep returns a round step that divides 0 to end in about ten.
func tickStep(end float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(end/10)))
	for _, f := range []float64{1, 2, 5} {
		if end/(power*f) <= 12 {
			return power * f
		}
	}
	return power * 10
}

var xmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// escapeXML makes s text of an XML file: control characters, which XML does
// not have, become spaces.
func escapeXML(s string) string {
	return xmlEscaper.Replace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
}
