package report

import (
	"fmt"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
)

// CellSheet is what one row of channel_reporting is made from.
func CellSheet(c *store.Cell) *sheet.Sheet {
	s := &sheet.Sheet{Name: "cell", Title: fmt.Sprintf("%s on %s: who bought after these sessions", c.Channel, c.Date), Columns: []sheet.Column{
		{Name: "conv_id", Title: "conversion"}, {Name: "conversion_time", Title: "bought"},
		{Name: "revenue", Title: "its revenue", Kind: sheet.Amount}, {Name: "ihc", Title: "ihc", Kind: sheet.Amount}, {Name: "ihc_revenue", Title: "revenue (ihc)", Kind: sheet.Amount},
		{Name: "session_time", Title: "visited"}, {Name: "session_id", Title: "session"}}}
	for _, one := range c.Credits {
		share := decimal.New(one.Share, -store.ShareDecimals)
		s.Rows = append(s.Rows, []sheet.Cell{sheet.T(one.Conversion), sheet.T(one.ConversionTime),
			sheet.N(one.Revenue.Decimal()), sheet.N(share), sheet.N(share.Mul(one.Revenue.Decimal())), sheet.T(one.SessionTime), sheet.T(one.Session)})
	}
	share, credit, cost := c.Share.Decimal(store.ShareDecimals), c.Credit.Decimal(store.CreditDecimals), c.Cost.Decimal(unit.CostDecimals)
	s.Total = []sheet.Cell{sheet.T("total"), sheet.T(""), sheet.None(""), sheet.N(share), sheet.N(credit), sheet.T(""), sheet.T("")}
	sum := &channelSum{cost: cost, ihc: share, revenue: credit}
	ratios := sum.cells()
	s.Notes = []string{fmt.Sprintf("%s cost %s; CPO %s, ROAS %s", human.Count(c.Sessions, "session"), human.Decimal(cost, 2), sheet.Amount.People(ratios[3]), sheet.Amount.People(ratios[4]))}
	if n := c.Count - int64(len(c.Credits)); n > 0 {
		s.Notes = append(s.Notes, human.Thousands(n)+" smaller credits are in the total and not in the list")
	}
	return s
}
