package attribution

import (
	"fmt"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// markov is the Markov chain at work on all users, a chain for each period.
type markov struct {
	o       Options
	by      Period
	repeats *repeats
	all     *fit
	of      map[int32]*fit
	weights weights
	touched map[int32]*fit
}

func newMarkov(o Options, by Period, r *repeats) *markov {
	return &markov{o: o, by: by, repeats: r, all: newFit(o.Order), of: map[int32]*fit{}, touched: map[int32]*fit{}}
}

func (m *markov) user(_ []string, p *person) error {
	add := func(period int32, touches []Touch, converts bool, revenue float64) error {
		if err := m.all.add(touches, m.o.SingleApart, converts, revenue); err != nil || m.by == ByNothing {
			return err
		}
		one := m.of[period]
		if one == nil {
			one = newFit(m.o.Order)
			m.of[period] = one
		}
		m.touched[period] = one
		return one.add(touches, m.o.SingleApart, converts, revenue)
	}
	for _, v := range p.sales {
		if err := add(v.period, m.repeats.without(p.touches[v.from:v.to]), true, v.revenue); err != nil {
			return err
		}
	}
	if null := p.null(); len(null) > 0 && !m.o.WithoutNulls {
		if err := add(p.period, m.repeats.without(null), false, 0); err != nil {
			return err
		}
	}
	m.weights.draw(p.hash)
	m.all.endUser(&m.weights)
	for _, one := range m.touched {
		one.endUser(&m.weights)
	}
	clear(m.touched)
	return nil
}

func (m *markov) result(channels []string, period int32) (Result, error) {
	one := m.all
	if period != always {
		if one = m.of[period]; one == nil {
			one = newFit(m.o.Order)
		}
	}
	r := Result{Model: Markov, Label: fmt.Sprintf("%s order %d", Markov, m.o.Order)}
	if m.o.WithoutNulls {
		r.Label += " without nulls"
	}
	if m.o.SingleApart {
		r.Label += " single channels apart"
	}
	err := one.result(channels, &r)
	return r, err
}

// fit is one chain with what is kept beside it: conversions that do not go by
// the chain, and resamples of all of it.
type fit struct {
	chain       *Chain
	apart       []amount // by channel: conversions given to it as a whole, or unattributed
	conversions float64  // that go by the chain
	revenue     float64
	resamples   *resamples
	user        marks
}

// amount is conversions and what they are worth.
type amount struct{ conversions, revenue float64 }

func newFit(order int) *fit { return &fit{chain: NewChain(order), resamples: &resamples{}} }

func (f *fit) add(touches []Touch, singleApart, converts bool, revenue float64) error {
	alone := singleApart && single(touches)
	if alone && !converts {
		return nil // what stands against the conversions apart is apart, too
	}
	if alone || len(touches) == 0 {
		channel := 0
		if len(touches) > 0 {
			channel = int(touches[0].Channel)
		}
		f.apart = grown(f.apart, channel)
		f.apart[channel].conversions++
		f.apart[channel].revenue += revenue
		f.user.apart = append(f.user.apart, mark{int32(channel), 1, revenue})
		return nil
	}
	at := int32(0)
	for i := range touches {
		t, err := f.chain.step(at, touches[i].Channel)
		if err != nil {
			return err
		}
		f.chain.counts[t]++
		f.user.move(t)
		at = f.chain.moves[t].to
	}
	if !converts {
		f.chain.lost[at]++
		f.user.lost = append(f.user.lost, at)
		return nil
	}
	f.chain.converted[at]++
	f.chain.value[at] += revenue
	f.conversions++
	f.revenue += revenue
	f.user.converted = append(f.user.converted, mark{at, 1, revenue})
	return nil
}

func single(touches []Touch) bool {
	for i := range touches {
		if touches[i].Channel != touches[0].Channel {
			return false
		}
	}
	return true
}

// grown returns the list with room for an index.
func grown[E any](list []E, index int) []E {
	if n := index + 1 - len(list); n > 0 {
		list = append(list, make([]E, n)...)
	}
	return list
}

// marks is what the user under way adds to a fit.
type marks struct {
	moves     []int32 // transitions, each once
	times     []uint32
	converted []mark
	apart     []mark
	lost      []int32
}

type mark struct {
	at      int32
	times   uint32
	revenue float64
}

func (u *marks) move(t int32) {
	u.times = grown(u.times, int(t))
	if u.times[t] == 0 {
		u.moves = append(u.moves, t)
	}
	u.times[t]++
}

func (f *fit) endUser(w *weights) {
	u := &f.user
	f.resamples.add(f.chain, u, w)
	for _, t := range u.moves {
		u.times[t] = 0
	}
	u.moves, u.converted, u.apart, u.lost = u.moves[:0], u.converted[:0], u.apart[:0], u.lost[:0]
}

// result sets the credits: those of the whole, with the percentiles of the
// resamples beside them.
func (f *fit) result(channels []string, r *Result) error {
	e, err := f.chain.Effects(len(channels))
	if err != nil {
		return err
	}
	r.Base = e.Base
	conversions, revenue := Divide(f.conversions, e.Removal), e.DivideValue(f.revenue)
	for i, a := range f.apart {
		conversions[i] += a.conversions
		revenue[i] += a.revenue
	}
	spread, err := f.spread(len(channels))
	if err != nil {
		return err
	}
	if spread == nil {
		r.Notes = append(r.Notes, "no intervals: the chain is too large to be resampled")
	}
	for i, name := range channels {
		if i == 0 && conversions[0] == 0 {
			continue
		}
		c := Credit{Channel: name, TooFew: conversions[i] < TooFew, Removal: e.Removal[i], RemovalRevenue: e.RemovalValue[i],
			Conversions: Estimate{Value: conversions[i]}, Revenue: Estimate{Value: revenue[i]}}
		if spread != nil {
			c.Conversions.between(spread[i].conversions)
			c.Revenue.between(spread[i].revenue)
		}
		r.Credits = append(r.Credits, c)
	}
	byName(r.Credits)
	return nil
}

// between sets the interval to percentiles of the resamples.
func (e *Estimate) between(of []float64) {
	slices.Sort(of)
	at := func(q float64) float64 {
		x := q * float64(len(of)-1)
		below := int(math.Floor(x))
		above := min(below+1, len(of)-1)
		return of[below] + (x-float64(below))*(of[above]-of[below])
	}
	e.Low, e.High, e.Known = at(0.025), at(0.975), true
}

// spreadOf is what a channel has in each resample.
type spreadOf struct{ conversions, revenue []float64 }

// spread returns what each channel has in every resample, nil where there are
// none.
func (f *fit) spread(channels int) ([]spreadOf, error) {
	if f.resamples.off || channels*len(f.chain.moves) > mostResampledWork {
		return nil, nil
	}
	all := make([]spreadOf, channels)
	for i := range all {
		all[i] = spreadOf{make([]float64, resampleCount), make([]float64, resampleCount)}
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for b := range resampleCount {
		group.Go(func() error {
			n, total := f.resamples.network(f.chain, b)
			e, err := n.effects(channels, near)
			if err != nil {
				return err
			}
			conversions, revenue := Divide(total.conversions, e.Removal), e.DivideValue(total.revenue)
			for i := range all {
				apart := f.resamples.apartOf(i, b)
				all[i].conversions[b] = conversions[i] + apart.conversions
				all[i].revenue[b] = revenue[i] + apart.revenue
			}
			return nil
		})
	}
	return all, group.Wait()
}
