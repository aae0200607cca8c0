package attribution

import (
	"context"
	"hash/fnv"
	"maps"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/unit"
)

// Unattributed is the channel of conversions that no session came before.
const Unattributed = "(unattributed)"

// TooFew is how many conversions a channel is credited with, at least, where it
// can be ranked among others.
const TooFew = 30

// Comparison is what the models say about the same conversions.
type Comparison struct {
	Users, Nulls int64 // Nulls are the journeys that led to no conversion
	// Section is about all conversions, Periods about those of each week or
	// month, by time.
	Section
	Periods []Section
}

// Section is conversions and how the models divide them.
type Section struct {
	// Period is the Monday of a week or a month, YYYY-MM-DD or YYYY-MM; empty
	// for all.
	Period      string
	Conversions int64
	Revenue     float64
	Models      []Result
}

// Result is how one model divides conversions and revenue.
type Result struct {
	// Model is its name, Label the name with the settings that matter.
	Model, Label string
	// Coverage: the numbers count what a channel had a part in, and do not add
	// up to the whole.
	Coverage bool
	// Credits are by the name of the channel, in the order of its bytes. A
	// channel that no model knows of is left out.
	Credits []Credit
	// Base is, of the Markov chain, the part of the journeys that converts.
	Base float64
	// Notes say what is to be known about the numbers.
	Notes []string
}

// Credit is what a channel is credited with.
type Credit struct {
	Channel              string
	Conversions, Revenue Estimate
	// TooFew: there are not enough conversions to rank the channel by.
	TooFew bool
	// Removal and RemovalRevenue are the removal effects of the Markov chain.
	Removal, RemovalRevenue float64
	// Positions divide a Shapley value among the places of the journey, the
	// first, the second and so on; the last entry is of all places from there on.
	Positions []float64
}

// Estimate is a number and its 95 % interval, which covers how the users came
// by chance, and not the cause. It has none where Known is false.
type Estimate struct {
	Value, Low, High float64
	Known            bool
}

// Compare reads all users, whose order decides nothing but the last digits, and
// has them divided by the models named. Each model works beside the others and
// takes the users in their order, so that the result does not depend on how many
// work at once. Memory holds a few users, counts of each model, and nothing for
// each journey.
func Compare(ctx context.Context, names []string, o Options, by Period, users func(context.Context, func(*journey.History) error) error) (*Comparison, error) {
	o, err := o.Complete()
	if err != nil {
		return nil, err
	}
	c := &comparing{by: by, numbers: map[string]int32{Unattributed: 0}, channels: []string{Unattributed}, sections: map[int32]*Section{always: {}}, free: pool{make(chan *batch, 4)}}
	models := make([]model, len(names))
	for i, name := range names {
		if models[i], err = newModel(name, o, by); err != nil {
			return nil, err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	inbox := make([]chan *batch, len(models))
	for i := range models {
		inbox[i] = make(chan *batch, 2)
		group.Go(func() error { return work(ctx, models[i], inbox[i], &c.free) })
	}
	group.Go(func() error {
		defer func() {
			for _, in := range inbox {
				close(in)
			}
		}()
		return c.read(ctx, users, inbox)
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return c.conclude(models)
}

// model is a model at work on all users. It is for one goroutine.
type model interface {
	// user takes the next user.
	user(channels []string, p *person) error
	// result returns what the model says in the end about a period, or about
	// all for period [always].
	result(channels []string, period int32) (Result, error)
}

// person is a user as the models take it.
type person struct {
	hash    uint64
	touches []Touch
	sales   []sale
	rest    int   // where the journey without conversion begins
	period  int32 // of that journey
}

type sale struct {
	from, to int
	revenue  float64
	period   int32
}

// null returns the journey without conversion.
func (p *person) null() []Touch { return p.touches[p.rest:] }

// batch is users that are handed on together. It is used again when every model
// is done with it.
type batch struct {
	channels []string
	people   []person
	touches  []Touch
	sales    []sale
	waiting  atomic.Int32
}

// batchTouches is from how many sessions on a batch is full.
const batchTouches = 8192

// pool keeps batches that every model is done with.
type pool struct{ batches chan *batch }

func work(ctx context.Context, m model, in <-chan *batch, free *pool) error {
	for b := range in {
		for i := range b.people {
			if err := m.user(b.channels, &b.people[i]); err != nil {
				return err
			}
		}
		if b.waiting.Add(-1) == 0 {
			select {
			case free.batches <- b:
			default:
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// comparing is what the reader of a comparison knows.
type comparing struct {
	by       Period
	numbers  map[string]int32
	channels []string
	sections map[int32]*Section // by period
	users    int64
	nulls    int64
	free     pool
}

func (c *comparing) read(ctx context.Context, users func(context.Context, func(*journey.History) error) error, inbox []chan *batch) error {
	b := &batch{}
	send := func() error {
		b.channels = c.channels[:len(c.channels):len(c.channels)]
		b.waiting.Store(int32(len(inbox)))
		for _, in := range inbox {
			select {
			case in <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		select {
		case b = <-c.free.batches:
			b.people, b.touches, b.sales = b.people[:0], b.touches[:0], b.sales[:0]
		default:
			b = &batch{}
		}
		return nil
	}
	err := users(ctx, func(h *journey.History) error {
		if err := c.add(b, h); err != nil {
			return err
		}
		if len(b.touches) < batchTouches {
			return nil
		}
		return send()
	})
	if err != nil {
		return err
	}
	return send()
}

// add copies a user into a batch.
func (c *comparing) add(b *batch, h *journey.History) error {
	c.users++
	from, sold := len(b.touches), len(b.sales)
	for i := range h.Sessions {
		s := &h.Sessions[i]
		number, ok := c.numbers[s.Channel]
		if !ok {
			number = int32(len(c.channels))
			if number > maxChannels {
				return errkind.Inputf("there are more than %d channels; is channel_name what it should be?", maxChannels)
			}
			c.numbers[s.Channel] = number
			c.channels = append(c.channels, s.Channel)
		}
		b.touches = append(b.touches, Touch{Channel: number, Engaged: unit.Engagement(s.Flags), Time: s.Time})
	}
	for _, v := range h.Conversions {
		period := c.by.of(v.Time)
		b.sales = append(b.sales, sale{v.From, v.To, v.Revenue, period})
		c.count(always, v.Revenue)
		if c.by != ByNothing {
			c.count(period, v.Revenue)
		}
	}
	p := person{hash: hashOf(h.User), touches: b.touches[from:len(b.touches):len(b.touches)], sales: b.sales[sold:len(b.sales):len(b.sales)], rest: h.Rest}
	if n := len(p.touches); h.Rest < n {
		c.nulls++
		p.period = c.by.of(p.touches[n-1].Time)
	}
	b.people = append(b.people, p)
	return nil
}

func (c *comparing) count(period int32, revenue float64) {
	s := c.sections[period]
	if s == nil {
		s = &Section{Period: c.by.name(period)}
		c.sections[period] = s
	}
	s.Conversions++
	s.Revenue += revenue
}

func hashOf(user string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(user)) // a hash never fails
	return h.Sum64()
}

func (c *comparing) conclude(models []model) (*Comparison, error) {
	all := &Comparison{Users: c.users, Nulls: c.nulls}
	for _, period := range slices.Sorted(maps.Keys(c.sections)) {
		s := c.sections[period]
		s.Models = make([]Result, len(models))
		var group errgroup.Group
		for i, m := range models {
			group.Go(func() (err error) {
				s.Models[i], err = m.result(c.channels, period)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		if period == always {
			all.Section = *s
		} else {
			all.Periods = append(all.Periods, *s)
		}
	}
	return all, nil
}
