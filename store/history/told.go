package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/journeysum"
	"github.com/ihc-pipeline/ihc/store/sessionindex"
)

// Told is what a report tells of one conversion.
type Told struct {
	Journey     int64 // the row of the journal
	Conv        string
	Run         int64 // that scored it
	Fingerprint []byte
	Sessions    int64 // hash of its sessions
	Revenue     unit.Money
	Credit      []byte // its shares by channel: see [Channels.Credit]
}

// Same says whether channels earned the same by both.
func (t *Told) Same(o *Told) bool {
	return t.Revenue == o.Revenue && bytes.Equal(t.Credit, o.Credit)
}

// Channels are the numbers by which the history calls channels: 0, 1 and so on.
type Channels struct {
	numbers map[string]int64
	names   []string
	known   int // of names, in the database

	// Of the journey at hand.
	of        []int64 // what a report's channels are called, by its own numbers
	byChannel []int64
	earned    []int64
	blob      []byte
}

// Enter enters a channel that the database knows, by its number.
func (c *Channels) Enter(n int64, name string) error {
	if n != int64(len(c.names)) {
		return fmt.Errorf("pipeline_channels has no channel %d", len(c.names))
	}
	c.number(name)
	c.known = len(c.names)
	return nil
}

// New calls do with those that the database does not know yet.
func (c *Channels) New(do func(n int64, name string) error) error {
	for ; c.known < len(c.names); c.known++ {
		if err := do(int64(c.known), c.names[c.known]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Channels) number(name string) int64 {
	n, known := c.numbers[name]
	if !known {
		if c.numbers == nil {
			c.numbers = map[string]int64{}
		}
		n = int64(len(c.names))
		c.numbers[name], c.names = n, append(c.names, name)
	}
	return n
}

// Restart is called where a report begins to number its channels anew.
func (c *Channels) Restart() { c.of = nil }

// Credit returns the shares of a journey, which was added to the sums, by
// channel, in the order of their numbers: the number and the share, in
// ten-thousandths, of each that has any. It is used again.
func (c *Channels) Credit(sums *journeysum.Sums, j *journeysum.Journey) []byte {
	for _, name := range sums.Channels()[len(c.of):] {
		c.of = append(c.of, c.number(name))
	}
	c.byChannel = append(c.byChannel, make([]int64, len(c.names)-len(c.byChannel))...)
	c.earned = c.earned[:0]
	for i, g := range j.Groups {
		share := j.Shares[i].IHC
		if g == sessionindex.NoGroup || share == 0 {
			continue
		}
		n := c.of[sums.Channel(g)]
		if c.byChannel[n] == 0 {
			c.earned = append(c.earned, n)
		}
		c.byChannel[n] += share
	}
	slices.Sort(c.earned)
	c.blob = c.blob[:0]
	for _, n := range c.earned {
		c.blob = binary.AppendUvarint(binary.AppendUvarint(c.blob, uint64(n)), uint64(c.byChannel[n]))
		c.byChannel[n] = 0
	}
	return c.blob
}

// mostChannels is more than any shop has; a number beyond it is damage.
const mostChannels = 1 << 24

// nextCredit takes one channel's share off.
func nextCredit(credit []byte) (channel, share int64, rest []byte, ok bool) {
	c, n := binary.Uvarint(credit)
	if n <= 0 || c > mostChannels {
		return 0, 0, nil, false
	}
	s, m := binary.Uvarint(credit[n:])
	if m <= 0 || s > 1<<40 {
		return 0, 0, nil, false
	}
	return int64(c), int64(s), credit[n+m:], true
}

// delta is a change of what a channel earned.
type delta struct {
	share  int64    // in ten-thousandths
	credit unit.Sum // in hundred-millionths
}

// earned are the causes that concern a channel's earnings by the journal.
var earned = [...]store.Cause{store.NewConversions, store.ChangedJourneys, store.RemovedConversions, store.ChangedRevenue, store.OtherSettings}

// Comparison adds up what conversions earn and earned, by cause and channel.
type Comparison struct {
	channels *Channels
	deltas   [len(earned)][]delta // by channel
}

// Compare returns a comparison in which nothing changed.
func Compare(channels *Channels) *Comparison { return &Comparison{channels: channels} }

// New adds what a conversion earns that was not told before.
func (c *Comparison) New(now *Told) error { return c.add(store.NewConversions, now, 1, now.Revenue) }

// NotNew takes back what New added.
func (c *Comparison) NotNew(now *Told) error {
	return c.add(store.NewConversions, now, -1, now.Revenue)
}

// Removed adds what a conversion earned that is told no more.
func (c *Comparison) Removed(was *Told) error {
	return c.add(store.RemovedConversions, was, -1, was.Revenue)
}

// Changed adds what is different of a conversion that has an attribution before
// and now: the shares, at today's revenue, by their cause, and the revenue at the
// shares before.
func (c *Comparison) Changed(cause store.Cause, was, now *Told) error {
	err := errors.Join(c.add(cause, now, 1, now.Revenue), c.add(cause, was, -1, now.Revenue))
	if err != nil || was.Revenue == now.Revenue {
		return err
	}
	// Twice the same shares, so that conversions come to nothing.
	return errors.Join(c.add(store.ChangedRevenue, was, 1, now.Revenue), c.add(store.ChangedRevenue, was, -1, was.Revenue))
}

// add adds what a conversion gives, or with a sign of -1 gave, to its channels,
// at some revenue.
func (c *Comparison) add(cause store.Cause, t *Told, sign int64, revenue unit.Money) error {
	deltas := &c.deltas[slices.Index(earned[:], cause)]
	for credit := t.Credit; len(credit) > 0; {
		channel, share, rest, ok := nextCredit(credit)
		if !ok || channel >= int64(len(c.channels.names)) {
			return errors.New("a row of pipeline_told is damaged")
		}
		credit = rest
		for int64(len(*deltas)) <= channel {
			*deltas = append(*deltas, delta{})
		}
		d := &(*deltas)[channel]
		d.share += sign * share
		d.credit.AddProduct(sign*share, int64(revenue))
	}
	return nil
}

// Settings are what decided, beside the sessions, which attributions runs gave,
// by the runs' numbers.
type Settings map[int64]setting

type setting struct {
	scoring []byte // digest of what scored it
	shape   string // how journeys were cut
}

// Enter enters a run, with the digest of what scored it and its request as JSON.
func (s Settings) Enter(number int64, scoring []byte, request string) {
	s[number] = setting{scoring, run.Shape([]byte(request))}
}

// Cause tells why a conversion's attribution is another one. Where its sessions
// are the same, what scored them decides; where nothing else is different at all,
// they were scored anew.
func (s Settings) Cause(was, now *Told) store.Cause {
	before, after := s[was.Run], s[now.Run]
	sameScoring := bytes.Equal(before.scoring, after.scoring)
	switch {
	case was.Sessions != now.Sessions && before.shape != after.shape,
		was.Sessions == now.Sessions && !sameScoring,
		was.Sessions == now.Sessions && bytes.Equal(was.Fingerprint, now.Fingerprint):
		return store.OtherSettings
	default:
		return store.ChangedJourneys
	}
}
