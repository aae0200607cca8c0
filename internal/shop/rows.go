package shop

import (
	"context"
	"fmt"
	"time"
)

// stretch is about how many sessions are held in memory at once.
const stretch = 1_000_000

// writer turns visits and orders, which come in order of time, into rows.
type writer struct {
	town  *town
	into  Rows
	stats Stats

	clock  clock
	serial int64 // of the session within its day
	today  string
}

// all gives every row, some whole days at a time.
func (w *writer) all(ctx context.Context, sessions int) error {
	t := w.town
	// Whole days, as many as hold a stretch on average.
	step := int64(max(t.days*stretch/max(sessions, 1), 1)) * day
	var visits []visit
	var orders []order
	for from := t.start; from < t.end(); from += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		visits, orders = t.between(from, min(from+step, t.end()), visits[:0], orders[:0])
		if err := w.add(visits, orders); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) add(visits []visit, orders []order) error {
	for i := range visits {
		if err := w.visit(&visits[i]); err != nil {
			return err
		}
	}
	for i := range orders {
		o := &orders[i]
		date, time := w.clock.at(o.at)
		w.stats.Conversions++
		w.stats.Touchpoints += int64(o.before)
		w.stats.LongestJourney = max(w.stats.LongestJourney, int64(o.before))
		if o.before == 0 {
			w.stats.WithoutSessions++
		}
		id := fmt.Sprintf("o_%09d_%08x", w.stats.Conversions, uint32(w.scatter(w.stats.Conversions)))
		if err := w.into.Conversion(id, w.user(o.user), date, time, float64(o.cents)/100); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) visit(v *visit) error {
	date, time := w.clock.at(v.at)
	if date != w.today {
		w.today, w.serial = date, 0
	}
	w.serial++
	w.stats.Sessions++
	tail := hex(w.scatter(-w.stats.Sessions))
	// Ids that grow with time keep the file's indices cheap to build.
	id := date + "_" + decimal(w.serial, 7) + "_" + tail[:8]
	err := w.into.Session(id, w.user(v.user), date, time, channels[v.channel].name, v.holder, v.closer, v.seen)
	if err != nil {
		return err
	}
	if v.cost >= 0 {
		if err := w.cost(id, v.cost); err != nil {
			return err
		}
	}
	if v.orphan {
		return w.cost(id+"_gone", max(v.cost, 7))
	}
	return nil
}

func (w *writer) cost(id string, thousandths int32) error {
	w.stats.Costs++
	return w.into.Cost(id, float64(thousandths)/1000)
}

func (w *writer) user(n uint32) string { return "u_" + hex(w.scatter(int64(n))) }

// scatter makes numbers look drawn, and differ between seeds.
func (w *writer) scatter(n int64) uint64 { return mix(mix(w.town.seed) ^ uint64(n)) }

// hex and decimal write numbers with a fixed number of digits.
func hex(n uint64) string {
	var b [16]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
	return string(b[:])
}

func decimal(n int64, width int) string {
	b := make([]byte, width)
	for i := width - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return string(b)
}

// clock writes dates and times; consecutive ones are mostly of the same day.
type clock struct {
	day  int64
	date string
}

func (c *clock) at(unix int64) (date, clockTime string) {
	if d := unix / day; d != c.day || c.date == "" {
		c.day, c.date = d, time.Unix(unix, 0).UTC().Format(time.DateOnly)
	}
	s := unix % day
	return c.date, decimal(s/3600, 2) + ":" + decimal(s/60%60, 2) + ":" + decimal(s%60, 2)
}
