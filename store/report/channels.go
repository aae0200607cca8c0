package report

import (
	"github.com/shopspring/decimal"
	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// mostChannels is how many bytes the channels of a report may have, so that it
// fits in a message of 1 MB however many channels there are.
const mostChannels = 256 << 10

// channelSum is what some rows of channel_reporting cost and earned.
type channelSum struct {
	channel            string
	cost, ihc, revenue decimal.Decimal
}

func (s *channelSum) add(r store.Row) {
	// The shortest decimal that reads back the same double is what the CSV has.
	s.cost = s.cost.Add(decimal.NewFromFloat(r.Cost))
	s.ihc = s.ihc.Add(decimal.NewFromFloat(r.IHC))
	s.revenue = s.revenue.Add(decimal.NewFromFloat(r.IHCRevenue))
}

// message returns the sums with their ratios, which are empty where the divisor
// is 0.
func (s *channelSum) message() *ihcv1.ChannelTotal {
	ratio := func(a, b decimal.Decimal) string {
		if b.IsZero() {
			return ""
		}
		return a.Div(b).String()
	}
	return &ihcv1.ChannelTotal{Channel: s.channel, Cost: s.cost.String(), Ihc: s.ihc.String(), IhcRevenue: s.revenue.String(),
		Cpo: ratio(s.cost, s.ihc), Roas: ratio(s.revenue, s.cost)}
}

// SumChannels adds up the rows of channel_reporting, which are in the order of
// their dates, by channel and as a whole into a report: its channels, total,
// channel_count, first_date and last_date.
func SumChannels(into *ihcv1.Report, rows []store.Row) {
	channels := byKey(rows, func(row store.Row) string { return row.Channel })
	total := sumOf(rows)
	if len(rows) > 0 {
		into.FirstDate, into.LastDate = rows[0].Date, rows[len(rows)-1].Date
	}
	into.ChannelCount, into.Total = uint64(len(channels)), total.message()
	room := mostChannels
	for _, s := range ordered(channels) {
		m := s.message()
		if room -= proto.Size(m); room < 0 {
			return
		}
		into.Channels = append(into.Channels, m)
	}
}
