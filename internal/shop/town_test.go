package shop

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Rows do not depend on the stretches of time they are worked out in.
func TestStretches(t *testing.T) {
	t.Parallel()
	town := &town{seed: 3, sizes: []int{0, 50, 20, 10, 5, 2}, guests: 5, start: 19_500 * day, days: 20, odds: .2}
	visits, orders := town.between(town.start, town.end(), nil, nil)
	require.Len(t, visits, 50+40+30+20+10)
	require.Greater(t, len(orders), 5)
	var piecewise []visit
	var ordersPiecewise []order
	for from := town.start; from < town.end(); from += day {
		v, o := town.between(from, from+day, nil, nil)
		piecewise, ordersPiecewise = append(piecewise, v...), append(ordersPiecewise, o...)
	}
	require.Equal(t, visits, piecewise)
	require.Equal(t, orders, ordersPiecewise)
}
