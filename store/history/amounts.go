// Package history compares the reports of runs: what a report tells of each
// conversion with what the one before told, and what two reports came to. It is
// the same for every kind of database; what is written where is theirs. See ADR
// 0022.
package history

import (
	"maps"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// Amounts are sums by channel.
type Amounts map[string]store.Amounts

// Sums are what a channel comes to, or a channel and a date: shares in
// [store.ShareDecimals], credit in [store.CreditDecimals], cost in
// [unit.CostDecimals].
type Sums struct{ Share, Credit, Cost unit.Sum }

// Plus returns a + b.
func (a Sums) Plus(b Sums) Sums {
	return Sums{a.Share.Plus(b.Share), a.Credit.Plus(b.Credit), a.Cost.Plus(b.Cost)}
}

// Totals returns the sums by channel as amounts.
func Totals(channels map[string]Sums) Amounts {
	all := Amounts{}
	for channel, s := range channels {
		all[channel] = store.Amounts{IHC: s.Share.Decimal(store.ShareDecimals), Revenue: s.Credit.Decimal(store.CreditDecimals), Cost: s.Cost.Decimal(unit.CostDecimals)}
	}
	return all
}

// Changes are amounts by cause and channel.
type Changes map[store.Cause]Amounts

// Put adds an amount.
func (c Changes) Put(cause store.Cause, channel string, a store.Amounts) {
	if c[cause] == nil {
		c[cause] = Amounts{}
	}
	c[cause][channel] = c[cause][channel].Plus(a)
}

// Add adds all amounts of the other.
func (c Changes) Add(other Changes) {
	for cause, of := range other {
		for channel, a := range of {
			c.Put(cause, channel, a)
		}
	}
}

// Causes returns what led from the totals before to those of now. What the
// comparison does not explain was written by hand, and costs have one cause.
func (c *Comparison) Causes(before, now Amounts) Changes {
	found := Changes{}
	explained := Amounts{}
	for i, cause := range earned {
		for channel, d := range c.deltas[i] {
			name := c.channels.names[channel]
			a := store.Amounts{IHC: decimal.New(d.share, -unit.ShareDecimals), Revenue: d.credit.Decimal(unit.ShareDecimals + unit.MoneyDecimals)}
			found.Put(cause, name, a)
			explained[name] = explained[name].Plus(a)
		}
	}
	channels := maps.Clone(before)
	maps.Copy(channels, now)
	maps.Copy(channels, explained)
	for channel := range channels {
		rest := now[channel].Minus(before[channel]).Minus(explained[channel])
		found.Put(store.ChangedCost, channel, store.Amounts{Cost: rest.Cost})
		rest.Cost = decimal.Decimal{}
		found.Put(store.ByHand, channel, rest)
	}
	return found
}
