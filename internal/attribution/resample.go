package attribution

const (
	// resampleCount is how many resamples of the users the intervals of the
	// Markov chain are from.
	resampleCount = 200
	// mostResampled is for how many transitions resamples are kept: 800 bytes
	// for each.
	mostResampled = 150_000
	// mostResampledWork is how many transitions times channels are solved for
	// each resample: together they take a minute.
	mostResampledWork = 4_000_000
)

// weights is how often a user is in each resample: a Poisson number of mean 1,
// drawn from the user's hash, so that it is the same in every reading.
type weights [resampleCount]uint8

// poisson are the cumulative chances of 0, 1, 2, … of a Poisson number of mean
// 1, in 65,536ths.
var poisson = [...]uint32{24109, 48219, 60273, 64292, 65296, 65497, 65531, 65535, 65536}

func (w *weights) draw(hash uint64) {
	var bits uint64
	for b := range w {
		if b%4 == 0 { // four draws from each number of splitmix64
			hash += 0x9e3779b97f4a7c15
			bits = (hash ^ hash>>30) * 0xbf58476d1ce4e5b9
			bits = (bits ^ bits>>27) * 0x94d049bb133111eb
			bits ^= bits >> 31
		}
		at, n := uint32(bits&0xffff), uint8(0)
		bits >>= 16
		for at >= poisson[n] {
			n++
		}
		w[b] = n
	}
}

// resamples are a chain's counts in every resample of the users, and those of
// the conversions apart from it. Index: what is counted × resampleCount + b.
type resamples struct {
	counts          []uint32
	converted, lost []uint32
	value           []float64
	apart           []uint32
	apartValue      []float64
	off             bool // the chain is too large
}

func (r *resamples) add(c *Chain, u *marks, w *weights) {
	if r.off {
		return
	}
	if len(c.moves) > mostResampled {
		*r = resamples{off: true}
		return
	}
	for _, t := range u.moves {
		r.counts = rows(r.counts, t)
		row := r.counts[int(t)*resampleCount:][:resampleCount]
		for b, n := range w {
			row[b] += uint32(n) * u.times[t]
		}
	}
	for _, s := range u.lost {
		r.lost = rows(r.lost, s)
		row := r.lost[int(s)*resampleCount:][:resampleCount]
		for b, n := range w {
			row[b] += uint32(n)
		}
	}
	for _, m := range u.converted {
		r.converted, r.value = rows(r.converted, m.at), rows(r.value, m.at)
		w.count(r.converted, r.value, m)
	}
	for _, m := range u.apart {
		r.apart, r.apartValue = rows(r.apart, m.at), rows(r.apartValue, m.at)
		w.count(r.apart, r.apartValue, m)
	}
}

func (w *weights) count(counts []uint32, values []float64, m mark) {
	row, of := counts[int(m.at)*resampleCount:][:resampleCount], values[int(m.at)*resampleCount:][:resampleCount]
	for b, n := range w {
		row[b] += uint32(n)
		of[b] += float64(n) * m.revenue
	}
}

func rows[E any](list []E, index int32) []E { return grown(list, (int(index)+1)*resampleCount-1) }

// at returns what is counted at an index in resample b.
func at[E uint32 | float64](list []E, index, b int) float64 {
	if i := index*resampleCount + b; i < len(list) {
		return float64(list[i])
	}
	return 0
}

// network returns the chain with the counts of a resample, and its conversions.
func (r *resamples) network(c *Chain, b int) (*network, amount) {
	states := len(c.keys)
	n := &network{chain: c, counts: make([]float64, len(c.moves)), converted: make([]float64, states), lost: make([]float64, states), value: make([]float64, states)}
	var total amount
	for t := range n.counts {
		n.counts[t] = at(r.counts, t, b)
	}
	for s := range states {
		n.converted[s], n.lost[s], n.value[s] = at(r.converted, s, b), at(r.lost, s, b), at(r.value, s, b)
		total.conversions += n.converted[s]
		total.revenue += n.value[s]
	}
	return n, total
}

func (r *resamples) apartOf(channel, b int) amount {
	return amount{at(r.apart, channel, b), at(r.apartValue, channel, b)}
}
