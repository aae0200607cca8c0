package unit

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What a decimal's double is read as gives the decimal, and the same double, back.
func TestDecimalsSurviveTheirDoubles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(-900_000_000_000_000, 900_000_000_000_000).Draw(t, "n")
		double := func(decimals int32) float64 {
			f, err := strconv.ParseFloat(decimal.New(n, -decimals).String(), 64)
			require.NoError(t, err)
			return f
		}
		share, ok := ShareOf(double(ShareDecimals))
		require.True(t, ok)
		require.Equal(t, Share(n), share)
		require.Equal(t, double(ShareDecimals), share.Float())
		require.Equal(t, decimal.New(n, -4).String(), share.Decimal().String())

		money, ok := MoneyOf(double(MoneyDecimals))
		require.True(t, ok)
		require.Equal(t, Money(n), money)
		require.Equal(t, double(MoneyDecimals), money.Float())
		require.Equal(t, decimal.New(n, -4).String(), money.Decimal().String())

		cost, ok := CostOf(double(CostDecimals))
		require.True(t, ok)
		require.Equal(t, Cost(n), cost)
		require.Equal(t, double(CostDecimals), cost.Float())
		require.Equal(t, decimal.New(n, -6).String(), cost.Decimal().String())
	})
}

func TestFloatIsTheNearestDoubleOfAnyAmount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		want, _ := big.NewRat(n, 1_000_000).Float64()
		require.Equal(t, want, Cost(n).Float())
	})
}

func TestWhatIsNoAmountIsNotOK(t *testing.T) {
	t.Parallel()
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300, -1e300, math.MaxInt64, math.MinInt64} {
		_, ok := ShareOf(f)
		require.False(t, ok, f)
		_, ok = MoneyOf(f)
		require.False(t, ok, f)
		_, ok = CostOf(f)
		require.False(t, ok, f)
	}
	least, ok := nearest(math.MinInt64, 1)
	require.True(t, ok)
	require.EqualValues(t, math.MinInt64, least)
	_, ok = nearest(math.MaxInt64, 1) // its double is one more
	require.False(t, ok)
}

func TestSharesAreWrittenAsTheAPIWritesThem(t *testing.T) {
	t.Parallel()
	for share, want := range map[Share]string{
		0: "0.0", 1: "0.0001", 20: "0.002", 500: "0.05", 4161: "0.4161", 5000: "0.5", Whole: "1.0", 20_300: "2.03", -1: "-0.0001", -5000: "-0.5",
		math.MaxInt64: "922337203685477.5807", math.MinInt64: "-922337203685477.5808",
	} {
		require.Equal(t, want, share.String())
		data, err := json.Marshal(share)
		require.NoError(t, err)
		require.Equal(t, want, string(data))
	}
	for share := range Whole + 1 {
		f, err := strconv.ParseFloat(share.String(), 64)
		require.NoError(t, err)
		require.Equal(t, f, share.Float())
	}
}

// A Sum does what big.Int does.
func TestSumAgreesWithBigIntegers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		draw := func() (Sum, *big.Int) {
			var s Sum
			b := new(big.Int)
			for range rapid.IntRange(0, 20).Draw(t, "terms") {
				x, y := rapid.Int64().Draw(t, "x"), rapid.Int64().Draw(t, "y")/64 // twice twenty products of these fit
				if rapid.Bool().Draw(t, "product") {
					s.AddProduct(x, y)
					b.Add(b, new(big.Int).Mul(big.NewInt(x), big.NewInt(y)))
				} else {
					s.Add(x)
					b.Add(b, big.NewInt(x))
				}
			}
			return s, b
		}
		s, bigS := draw()
		u, bigU := draw()
		require.Equal(t, bigS.String(), s.integer().String())
		require.Equal(t, new(big.Int).Add(bigS, bigU).String(), s.Plus(u).integer().String())
		require.Equal(t, new(big.Int).Sub(bigS, bigU).String(), s.Sub(u).integer().String())
		require.Equal(t, new(big.Int).Abs(bigS).String(), s.Abs().integer().String())
		require.Equal(t, bigS.Sign(), s.Sign())
		require.Equal(t, bigS.Cmp(bigU), s.Cmp(u))
		require.Equal(t, bigS.Cmp(bigU) == 0, s == u)

		scale := rapid.Int32Range(0, 10).Draw(t, "scale")
		exact := new(big.Rat).SetFrac(bigS, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
		require.Equal(t, exact.FloatString(int(scale)), s.Decimal(scale).StringFixed(scale))
		want, _ := exact.Float64()
		require.Equal(t, want, s.Float(scale))
	})
}

func TestSumHasRoomForTheLargestProducts(t *testing.T) {
	t.Parallel()
	for _, x := range [][2]int64{
		{math.MinInt64, math.MinInt64}, {math.MinInt64, math.MaxInt64}, {math.MaxInt64, math.MinInt64}, {math.MaxInt64, math.MaxInt64},
		{math.MinInt64, 1}, {-1, math.MinInt64}, {-1, -1}, {0, math.MinInt64},
	} {
		var s Sum
		s.AddProduct(x[0], x[1])
		require.Equal(t, new(big.Int).Mul(big.NewInt(x[0]), big.NewInt(x[1])).String(), s.integer().String())
	}
}

func TestEngagementIsTheSumOfItsBits(t *testing.T) {
	t.Parallel()
	for bits := range Engagement(8) {
		e := EngagementOf(bits.Holder(), bits.Closer(), bits.Impression())
		require.Equal(t, bits, e)
	}
	require.EqualValues(t, 5, EngagementOf(true, false, true))
}
