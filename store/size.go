package store

import "math"

// Size is about how much a database has of what a run reads, as far as that can be
// told without reading it: 0 for what cannot.
type Size struct {
	Sessions, Costs, Conversions int64
	// InRange is how many of the conversions have the dates asked for.
	InRange int64
	// Attributed is how many conversions, of any date, have results of earlier runs.
	Attributed int64
	// PerConversion is about how many touchpoints a conversion has, by earlier runs or
	// by a check; 0 where neither tells.
	PerConversion float64
	// Rates are those of the kind of database.
	Rates Rates
}

// Rates are what the steps of a run by the built-in model take in a kind of
// database: microseconds for each of what is named, with two processors that have
// nothing else to do. Only what they are to each other counts: how fast a machine is
// shows in the steps that are done. docs/performance.md says how they are measured.
type Rates struct {
	// Sorted is of how many conversions the sessions are sorted before the first is
	// scored, 0 for all: those of as many others at a time are looked for among all
	// sessions, and sorted, beside the scoring.
	Sorted  int64
	Check   PerRow // a session is a row of the sources, a conversion another
	Sort    PerRow // a touchpoint here is a session of a buyer
	Reuse   PerRow // looking up, in Sort's time, what earlier runs scored
	Read    PerRow // in Score's time, to read what is not reused and to send it
	Score   PerRow // read, score, and store in the journal what is not reused
	Reused  PerRow // the same of what is
	Sweep   PerRow
	Replace PerRow // in Sweep's time, of what is shown otherwise by then
	Renew   PerRow // likewise of what is scored again and gets the shares that it has
	Shown   PerRow // in Sweep's time, looking through what earlier runs show
	Report  PerRow
	Told    PerRow // in Report's time, of what the last report told otherwise
	Compare PerRow // models on the page of a report that is small enough for it
}

// PerRow is what each session, conversion and touchpoint takes.
type PerRow struct{ Session, Conversion, Touchpoint float64 }

func (r PerRow) of(sessions, conversions, touchpoints float64) float64 {
	return (r.Session*sessions + r.Conversion*conversions + r.Touchpoint*touchpoints) / 1e6
}

// Work is what a run has to do.
type Work struct {
	Size
	Each    float64 // touchpoints of a conversion
	Full    bool    // all is scored again: what earlier runs scored is not looked up
	Reused  float64 // how much of what is in range is not scored again, from 0 to 1
	Same    float64 // how much of the rest gets the shares that it has, from 0 to 1
	Streams PerRow  // what streams add to the scoring, in microseconds as of [Rates]
}

// Takes are the seconds that the steps of a run take, and how many of the scoring's are
// to read.
type Takes struct{ Check, Sort, Read, Score, Sweep, Report, Compare float64 }

// Takes returns what the steps of a run take by the rates of its database.
func (w *Work) Takes() Takes {
	r, sessions, conversions, shown := w.Rates, float64(w.Sessions), float64(w.InRange), w.shown()
	touchpoints := conversions * w.Each
	t := Takes{
		Check:  r.Check.of(sessions+float64(w.Costs), float64(w.Conversions), 0),
		Sort:   r.Sort.of(sessions, conversions, min(sessions, touchpoints)),
		Read:   (1 - w.Reused) * r.Read.of(0, conversions, touchpoints),
		Score:  (1-w.Reused)*(r.Score.of(0, conversions, touchpoints)+w.Streams.of(0, conversions, touchpoints)) + w.Reused*r.Reused.of(0, conversions, touchpoints),
		Sweep:  r.Sweep.of(0, conversions, touchpoints),
		Report: r.Report.of(sessions, max(shown, float64(w.Conversions)), shown*w.Each),
	}
	if r.Sorted > 0 && w.InRange > r.Sorted {
		slices := math.Ceil(conversions / float64(r.Sorted))
		t.Sort = r.Sort.of(sessions, conversions/slices, min(sessions, touchpoints)/slices) // each looks through all sessions
		t.Read += (slices - 1) * t.Sort
		t.Score += (slices - 1) * t.Sort
	}
	if w.Attributed > 0 && !w.Full {
		t.Sort += r.Reuse.of(0, conversions, touchpoints)
	}
	if w.Attributed > 0 {
		t.Sweep += (1 - w.Reused) * ((1-w.Same)*r.Replace.of(0, conversions, touchpoints) + w.Same*r.Renew.of(0, conversions, touchpoints))
		t.Sweep += r.Shown.of(0, float64(w.Attributed), float64(w.Attributed)*w.Each)
		t.Report += r.Told.of(0, min((1-w.Reused)*conversions, float64(w.Attributed)), 0)
	}
	if conversions > 0 && touchpoints <= MostCompared {
		t.Compare = r.Compare.of(sessions, conversions, touchpoints)
	}
	return t
}

// shown returns about how many conversions have results when the run is written: those
// of other dates too, which the report has as well.
func (w *Work) shown() float64 {
	return min(float64(w.Attributed)+(1-w.Reused)*float64(w.InRange), float64(max(w.Conversions, w.InRange)))
}

// MostCompared is up to how many touchpoints the page of a run compares the models:
// as many as take a second or two.
const MostCompared = 500_000
