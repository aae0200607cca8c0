package shop

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// guestShare is the share of orders by people with no session at all.
const guestShare = 0.025

// channel is a way into the shop and how visits through it go.
type channel struct {
	name          string
	first, later  float64 // weight among first and later visits
	holder        float64 // chance of engagement
	closer        float64
	impression    float64 // chance of having been seen only, not clicked
	costed        float64 // chance that a cost is on record
	cost          float64 // its median in thousandths of the currency
	cumFirst, cum float64 // weights summed up, filled in by init
}

var channels = []channel{
	{name: "Direct", first: 12, later: 26, holder: .56, closer: .22, costed: .50, cost: 0},
	{name: "Paid Search Brand", first: 8, later: 14, holder: .62, closer: .20, costed: .97, cost: 310},
	{name: "Paid Search Non-Brand", first: 16, later: 8, holder: .57, closer: .08, costed: .97, cost: 920},
	{name: "SEO - Brand", first: 7, later: 12, holder: .65, closer: .17, costed: .80, cost: 40},
	{name: "SEO - Non-Brand", first: 15, later: 8, holder: .63, closer: .09, costed: .80, cost: 35},
	{name: "Email", first: 1, later: 13, holder: .60, closer: .15, costed: .90, cost: 22},
	{name: "Paid Social", first: 14, later: 6, holder: .44, closer: .05, costed: .97, cost: 640},
	{name: "Organic Social", first: 7, later: 3, holder: .50, closer: .05, costed: .70, cost: 15},
	{name: "Display", first: 8, later: 4, holder: .30, closer: .03, impression: .40, costed: .97, cost: 180},
	{name: "Video", first: 5, later: 2, holder: .33, closer: .03, impression: .30, costed: .97, cost: 260},
	{name: "Affiliate", first: 4, later: 5, holder: .55, closer: .14, costed: .95, cost: 1450},
	{name: "Referral", first: 5, later: 3, holder: .58, closer: .10, costed: .60, cost: 0},
}

// An order is that much likelier after a visit that reached the checkout.
const checkoutFactor = 5

// stick is how often a visit comes by the channel of the one before.
const stick = 0.3

func init() {
	var first, later float64
	for i := range channels {
		c := &channels[i]
		first += c.first
		later += c.later
		c.cumFirst, c.cum = first, later
	}
}

// meanFactor is checkoutFactor over all visits, where the given share of them
// are customers' first.
func meanFactor(firsts float64) float64 {
	var first, later float64 // share of visits that reach the checkout
	for i := range channels {
		c := &channels[i]
		closer := c.closer * (1 - c.impression)
		first += c.first * closer
		later += c.later * closer
	}
	last := channels[len(channels)-1]
	first, later = first/last.cumFirst, later/last.cum
	// A visit by the channel of the one before is like any visit.
	all := (firsts*first + (1-firsts)*(1-stick)*later) / (1 - (1-firsts)*stick)
	return 1 + (checkoutFactor-1)*all
}

// Weights of the hours of a day and, from Sunday, of the days of a week.
var (
	hours = cumulate(2, 1, 1, 1, 1, 2, 4, 6, 8, 9, 10, 10, 11, 11, 10, 10, 11, 12, 14, 16, 17, 15, 10, 5)
	week  = [7]float64{1, .80, .74, .74, .80, .84, .94}
)

func cumulate(weights ...float64) []float64 {
	sum := 0.0
	for i, w := range weights {
		sum += w
		weights[i] = sum
	}
	return weights
}

// visit is a row of session_sources, with its cost.
type visit struct {
	at      int64 // Unix seconds
	user    uint32
	cost    int32 // thousandths; negative if none is on record
	channel uint8
	holder  bool
	closer  bool
	seen    bool // an impression
	orphan  bool // a cost of a session that is not there comes with it
}

// order is a row of conversions.
type order struct {
	at     int64
	user   uint32
	before uint32 // sessions of the user strictly before
	cents  int64
}

// town is the people around the shop. What each of them does follows from the
// seed and their number alone, so that any stretch of time can be asked for by
// itself, again and again: that is how a large shop is made in order of time
// without being held in memory.
type town struct {
	seed   uint64
	sizes  []int // sizes[n] customers have n sessions
	guests int   // people with an order and no session
	start  int64
	days   int
	odds   float64 // that an order follows a visit short of the checkout

	source rand.PCG
	visits []visit // of the customer at hand
	orders []order
}

// customers counts the people with sessions.
func (t *town) customers() (n int) {
	for _, users := range t.sizes {
		n += users
	}
	return n
}

const day = 24 * 60 * 60

// end is the first second after the data.
func (t *town) end() int64 { return t.start + int64(t.days)*day }

// between appends the visits and orders at from <= time < to, in order of time.
func (t *town) between(from, to int64, visits []visit, orders []order) ([]visit, []order) {
	user := uint32(0)
	for n := 1; n < len(t.sizes); n++ {
		for range t.sizes[n] {
			t.live(user, n)
			user++
			visits = appendBetween(visits, t.visits, from, to, func(v visit) int64 { return v.at })
			orders = appendBetween(orders, t.orders, from, to, func(o order) int64 { return o.at })
		}
	}
	for range t.guests {
		t.source.Seed(t.seed, mix(uint64(user)))
		r := rand.New(&t.source)
		o := order{at: t.moment(r, 0, t.days), user: user, cents: basket(r)}
		orders = appendBetween(orders, []order{o}, from, to, func(o order) int64 { return o.at })
		user++
	}
	// Stable: what is of the same second and customer keeps its order.
	slices.SortStableFunc(visits, func(a, b visit) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.user, b.user))
	})
	slices.SortStableFunc(orders, func(a, b order) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.user, b.user))
	})
	return visits, orders
}

func appendBetween[T any](all, one []T, from, to int64, at func(T) int64) []T {
	for _, e := range one {
		if t := at(e); t >= from && t < to {
			all = append(all, e)
		}
	}
	return all
}

// live works out all visits and orders of a customer with n sessions.
func (t *town) live(user uint32, n int) {
	t.source.Seed(t.seed, mix(uint64(user)))
	r := rand.New(&t.source)
	t.visits, t.orders = t.visits[:0], t.orders[:0]

	// The more visits, the longer a customer is around.
	span := min(1+int(r.ExpFloat64()*14*math.Sqrt(float64(n))), t.days)
	first := 0
	if span < t.days {
		first = r.IntN(t.days - span + 1)
	}
	last := t.end() - 1
	var at int64
	for i := range n {
		switch p := r.Float64(); {
		case i > 0 && p < 0.004:
			// In the same second as the one before.
		case i > 0 && p < 0.3:
			at = min(at+30+int64(r.ExpFloat64()*45*60), last)
		default:
			at = t.moment(r, first, span)
		}
		t.visits = append(t.visits, visit{at: at, user: user})
	}
	slices.SortFunc(t.visits, func(a, b visit) int { return cmp.Compare(a.at, b.at) })
	for i := range t.visits {
		t.fill(r, i)
		if v := &t.visits[i]; r.Float64() < t.chance(v) {
			at := v.at
			if r.Float64() > 0.01 { // otherwise in the very second of the visit
				at = min(at+60+int64(r.ExpFloat64()*8*60), last)
			}
			t.orders = append(t.orders, order{at: at, user: user, cents: basket(r)})
		}
	}
	for i := range t.orders {
		o := &t.orders[i]
		before, _ := slices.BinarySearchFunc(t.visits, o.at, func(v visit, at int64) int { return cmp.Compare(v.at, at) })
		o.before = uint32(before)
	}
}

// fill decides what happens in the i-th visit of the customer at hand.
func (t *town) fill(r *rand.Rand, i int) {
	v := &t.visits[i]
	switch {
	case i > 0 && r.Float64() < stick:
		v.channel = t.visits[i-1].channel // people keep their ways
	case i == 0:
		v.channel = pick(r, func(c *channel) float64 { return c.cumFirst })
	default:
		v.channel = pick(r, func(c *channel) float64 { return c.cum })
	}
	c := &channels[v.channel]
	if v.seen = r.Float64() < c.impression; !v.seen {
		v.holder = r.Float64() < c.holder
		v.closer = r.Float64() < c.closer
	}
	v.cost = -1
	if r.Float64() < c.costed {
		v.cost = int32(c.cost * math.Exp(0.5*r.NormFloat64()))
	}
	v.orphan = r.Float64() < 0.001
}

// chance is how likely an order follows the visit.
func (t *town) chance(v *visit) float64 {
	if v.closer {
		return t.odds * checkoutFactor
	}
	return t.odds
}

// moment draws a second of the given days, by the rhythm of week and day.
func (t *town) moment(r *rand.Rand, first, span int) int64 {
	d := int64(first + r.IntN(span))
	for tries := 0; tries < 8 && r.Float64() > week[(t.start/day+d+4)%7]; tries++ { // 1970-01-01 was a Thursday
		d = int64(first + r.IntN(span))
	}
	x := r.Float64() * hours[len(hours)-1]
	hour, _ := slices.BinarySearch(hours, x)
	return t.start + d*day + int64(hour)*3600 + int64(r.IntN(3600))
}

func pick(r *rand.Rand, cum func(*channel) float64) uint8 {
	x := r.Float64() * cum(&channels[len(channels)-1])
	for i := range channels {
		if x < cum(&channels[i]) {
			return uint8(i)
		}
	}
	return uint8(len(channels) - 1)
}

// basket draws what an order is worth, in cents.
func basket(r *rand.Rand) int64 {
	return max(int64(math.Exp(8.4+0.6*r.NormFloat64())), 100)
}

// mix is a bijection of the 64-bit numbers (the finaliser of SplitMix64): it
// keeps apart what it scatters.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
