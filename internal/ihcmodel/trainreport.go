package ihcmodel

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Report says in a page of text what was learned, and from how much.
func (t *Trained) Report() string {
	var b strings.Builder
	p := t.Params
	fmt.Fprintf(&b, "Learned from %d journeys, %d of them with two sessions or more (%d sessions).\n", t.Journeys, t.Several, t.Sessions)
	if t.Several < AdvisedJourneys {
		fmt.Fprintf(&b, "The vendor advises %d journeys or more; with fewer, the curves vary more than need be.\n", AdvisedJourneys)
	}
	b.WriteString("\nInitializer curve: ")
	switch c := p.InitializerCurve; {
	case t.DefaultInitializer:
		fmt.Fprintf(&b, "the default one; %d gaps are too few to learn from, or too much alike.\n", t.Gaps)
	default:
		fmt.Fprintf(&b, "from 0 at %.2f h to 1 at %.2f h (%s), %d knots, by %d gaps.\n", c[0].Hours, c[len(c)-1].Hours, t.InitializerEnd.noise(), len(c), t.Gaps)
	}
	b.WriteString("Closer curve: ")
	if t.DefaultCloser {
		fmt.Fprintf(&b, "the default one; %d journeys with %d gaps before closer engaged sessions are too few.\n", t.Closers, t.CloserGaps)
	} else {
		fmt.Fprintf(&b, "to 0 at %.2f h (%s), by %d journeys, cut at gaps of %.1f h.\n", t.CloserEnd.At, t.CloserEnd.noise(), t.Closers, t.Cut)
	}
	fmt.Fprintf(&b, "Phase weights: %v initializer, %v holder, %v closer, the published shop's: journeys do not tell them.\n",
		p.PhaseWeights.Initializer, p.PhaseWeights.Holder, p.PhaseWeights.Closer)
	if len(t.Channels) == 0 && t.Mixed == 0 {
		fmt.Fprintf(&b, "Channel scores: %s.\n", t.scoresText())
	} else {
		t.reportGuess(&b)
	}
	b.WriteString("\nHow the vendor trains is not published: docs/ihc-model.md says which rules were found, and how.\nTwo trainings compare only where the initializer curves end alike: train rarely.\n")
	return b.String()
}

func (t *Trained) scoresText() string {
	if n := len(t.Params.ChannelScores); n > 0 {
		return fmt.Sprintf("your own, of %d channels", n)
	}
	return "none, all are 1"
}

func (e TrainedEnd) noise() string { return fmt.Sprintf("95 %%: %.1f to %.1f h", e.Low, e.High) }

// reportGuess writes the evidence for guessed scores.
func (t *Trained) reportGuess(b *strings.Builder) {
	fmt.Fprintf(b, "Channel scores, a guess by %d journeys with more than one channel after the cut", t.Mixed)
	if len(t.Channels) == 0 {
		b.WriteString(": none, all are 1.\n")
	} else {
		b.WriteString(" (observed/expected → score):\n\n")
		table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "channel\tsessions\tinitializer\tholder\tcloser") // a strings.Builder takes it all
		for _, c := range t.Channels {
			_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\n", printable(c.Name), c.Sessions,
				ratio(c.Observed.Initializer, c.Expected.Initializer, c.Score.Initializer),
				ratio(c.Observed.Holder, c.Expected.Holder, c.Score.Holder),
				ratio(c.Observed.Closer, c.Expected.Closer, c.Score.Closer))
		}
		_ = table.Flush()
	}
}

func ratio(observed, expected, score float64) string {
	return fmt.Sprintf("%.0f/%.0f → %.2f", observed, expected, score)
}

// printable keeps a name from disturbing a table.
func printable(name string) string { return strings.Join(strings.Fields(name), " ") }
