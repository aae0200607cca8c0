package attribution

import (
	"errors"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

const (
	// exact and near are how much of the journeys may be left under way when
	// the pushing of them ends: far below what a double tells, and far below what
	// resamples differ by.
	exact, near = 1e-17, 1e-4
	// mostDense is how many states have their equations solved as a matrix.
	mostDense = 128
	// mostSweeps ends what does not end: no chain that was counted comes near.
	mostSweeps = 1_000_000
)

// network is a chain with weights: its own counts, or those of a resample.
type network struct {
	chain                          *Chain
	counts, converted, lost, value []float64
}

// effects returns the removal effects by the closed form
//
//	RE(i) = N[start,i] ÷ N[i,i] × b(i) ÷ b(start), N = (I-Q)⁻¹, b = N r
//
// whose first factor is the chance of coming to i at all and whose second is
// that of converting from there. Where a state is more than a channel, or there
// are many, the first is had by pushing journeys on until they come to i, and b
// by iteration. Neither subtracts, so that the effects of rare channels are as
// exact as others.
func (n *network) effects(channels int, left float64) (*Effects, error) {
	e := &Effects{Removal: make([]float64, channels), RemovalValue: make([]float64, channels)}
	out := n.outflow()
	if out[0] == 0 {
		return e, nil
	}
	var r, rv []float64
	for s := range out {
		scale := 1 / max(out[s], 1)
		if out[s] == 0 {
			scale = 0
		}
		r, rv = append(r, n.converted[s]*scale), append(rv, n.value[s]*scale)
	}
	if n.chain.order == 1 && len(out) <= mostDense {
		return e, n.dense(e, out, r, rv)
	}
	g := n.graph(out)
	b, err := g.ahead(r, left/100)
	if err != nil {
		return nil, err
	}
	bv, err := g.ahead(rv, left/100)
	if err != nil {
		return nil, err
	}
	e.Base = b[0]
	for first := 0; first < channels; first += side {
		if err := g.arrivals(n.chain.keys, first, left, func(i int, s int32, mass float64) {
			if i < channels {
				e.Removal[i] += mass * b[s]
				e.RemovalValue[i] += mass * bv[s]
			}
		}); err != nil {
			return nil, err
		}
	}
	e.scale(b[0], bv[0])
	return e, nil
}

// scale divides what converts by way of each channel by what converts.
func (e *Effects) scale(base, value float64) {
	for i := range e.Removal {
		e.Removal[i], e.RemovalValue[i] = ratio(e.Removal[i], base), ratio(e.RemovalValue[i], value)
	}
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// outflow returns the weight that leaves each state.
func (n *network) outflow() []float64 {
	out := make([]float64, len(n.converted))
	for s := range out {
		out[s] = n.converted[s] + n.lost[s]
	}
	for t, m := range n.chain.moves {
		out[m.from] += n.counts[t]
	}
	return out
}

// dense solves a chain of order 1 as one matrix. The state of channel i is
// wherever it was first met.
func (n *network) dense(e *Effects, out, r, rv []float64) error {
	size := len(out)
	a := mat.NewDense(size, size, nil)
	for s := range size {
		a.Set(s, s, 1)
	}
	for t, m := range n.chain.moves {
		if out[m.from] > 0 {
			a.Set(int(m.from), int(m.to), a.At(int(m.from), int(m.to))-n.counts[t]/out[m.from])
		}
	}
	var inverse mat.Dense
	var condition mat.Condition
	if err := inverse.Inverse(a); err != nil && (!errors.As(err, &condition) || math.IsInf(float64(condition), 0)) {
		return err
	}
	var b, bv mat.VecDense
	b.MulVec(&inverse, mat.NewVecDense(size, r))
	bv.MulVec(&inverse, mat.NewVecDense(size, rv))
	e.Base = b.AtVec(0)
	for s := 1; s < size; s++ {
		if i := int(n.chain.keys[s]) - 1; i < len(e.Removal) {
			comes := inverse.At(0, s) / inverse.At(s, s)
			e.Removal[i], e.RemovalValue[i] = comes*b.AtVec(s), comes*bv.AtVec(s)
		}
	}
	e.scale(b.AtVec(0), bv.AtVec(0))
	return nil
}

// graph is a network's chances of moving, state by state, with those of staying
// worked out: who stays leaves in the end, in the same proportions.
type graph struct {
	start []int32 // of each state's edges, and the end of the last
	to    []int32
	p     []float64
	stay  []float64 // by state: how often it is left to, on average: 1/(1-p(stay))
}

func (n *network) graph(out []float64) *graph {
	size := len(out)
	g := &graph{start: make([]int32, size+1), stay: make([]float64, size)}
	for t, m := range n.chain.moves {
		if m.from != m.to && n.counts[t] > 0 {
			g.start[m.from+1]++
		}
	}
	for s := range size {
		g.start[s+1] += g.start[s]
		g.stay[s] = 1
	}
	g.to, g.p = make([]int32, g.start[size]), make([]float64, g.start[size])
	at := append([]int32(nil), g.start...)
	for t, m := range n.chain.moves {
		switch p := n.counts[t] / max(out[m.from], 1); {
		case n.counts[t] == 0:
		case m.from == m.to:
			g.stay[m.from] = out[m.from] / (out[m.from] - n.counts[t])
		default:
			g.to[at[m.from]], g.p[at[m.from]] = m.to, p
			at[m.from]++
		}
	}
	return g
}

var errEndless = errors.New("the chain does not come to an end; please report this")

// ahead returns, by state, what is had in the end from there on, where r is had
// at once: the solution of b = Qb + r.
func (g *graph) ahead(r []float64, left float64) ([]float64, error) {
	b := make([]float64, len(r))
	for range mostSweeps {
		change, most := 0.0, 0.0
		for s := len(b) - 1; s >= 0; s-- {
			sum := r[s]
			for k := g.start[s]; k < g.start[s+1]; k++ {
				sum += g.p[k] * b[g.to[k]]
			}
			sum *= g.stay[s]
			change, most = max(change, math.Abs(sum-b[s])), max(most, math.Abs(sum))
			b[s] = sum
		}
		if change <= max(left, 2.5e-16)*most { // no nearer can a double be told
			return b, nil
		}
	}
	return nil, errEndless
}

// side is how many channels have their journeys pushed side by side.
const side = 16

// arrivals pushes, for each of the channels from first on, one journey from the
// start until it ends or comes to a state that holds the channel, and tells of
// each arrival and its chance. A state's key says which channels it holds.
func (g *graph) arrivals(keys []uint64, first int, left float64, arrive func(channel int, s int32, mass float64)) error {
	mass := make([][side]float64, len(keys))
	live := make([]bool, len(keys)) // whether there is any mass
	for i := range side {
		mass[0][i] = 1
	}
	live[0] = true
	for range mostSweeps {
		for s := range mass {
			if !live[s] {
				continue
			}
			live[s] = false
			m := mass[s]
			mass[s] = [side]float64{}
			for key := keys[s]; key != 0; key >>= 16 {
				if i := int(key&0xffff) - 1 - first; i >= 0 && i < side && m[i] > 0 {
					arrive(first+i, int32(s), m[i])
					m[i] = 0 // also where the state holds it twice
				}
			}
			stay := g.stay[s]
			for i := range m {
				m[i] *= stay
			}
			for k := g.start[s]; k < g.start[s+1]; k++ {
				to, p := &mass[g.to[k]], g.p[k]
				live[g.to[k]] = true
				for i := range m {
					to[i] += m[i] * p
				}
			}
		}
		if most(mass) <= left {
			return nil
		}
	}
	return errEndless
}

// most returns the mass under way of the channel that has most of it.
func most(mass [][side]float64) float64 {
	var under [side]float64
	for s := range mass {
		for i := range under {
			under[i] += mass[s][i]
		}
	}
	return slices.Max(under[:])
}
