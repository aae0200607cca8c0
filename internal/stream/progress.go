package stream

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// PutProgress tells watchers how far this process is with a run. It is a
// courtesy: an error is not worth more than a debug line.
func (c *Client) PutProgress(ctx context.Context, run string, p *ihcv1.Progress) {
	_ = c.putProgress(ctx, run, p)
}

func (c *Client) putProgress(ctx context.Context, run string, p *ihcv1.Progress) error {
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(p)
	if err == nil {
		_, err = c.kv.Put(ctx, c.progressKey(run), data)
	}
	if err != nil {
		c.log.Debug("could not tell the progress", "run", run, "error", err)
	}
	return err
}

// progressKey is where this process tells how far it is with a run.
func (c *Client) progressKey(run string) string {
	return "progress." + run + "." + c.stage + "." + c.instance
}

// tellEvery is how often watchers can be told of a run by one process.
const tellEvery = 500 * time.Millisecond

// Meter tells watchers how far this process is with one run, not more often
// than they can look, and always how it ended.
type Meter struct {
	c    *Client
	run  string
	mu   sync.Mutex
	told time.Time
	due  bool // to be told, and a timer set for that
	gone bool // another one has its place
	now  ihcv1.Progress

	before sync.Once // looks what was told before there was this meter
}

// meters are those in use, by run.
type meters struct {
	mu  sync.Mutex
	all map[string]*Meter
}

// Meter returns a new meter for a run, which takes the place of the one there
// was. It is for any number of goroutines.
func (c *Client) Meter(run string) *Meter {
	c.meters.mu.Lock()
	defer c.meters.mu.Unlock()
	if was := c.meters.all[run]; was != nil {
		was.mu.Lock()
		was.gone = true
		was.mu.Unlock()
	}
	m := c.newMeter(run)
	m.before.Do(func() {}) // who begins anew counts anew
	return m
}

// MeterOf returns the meter of a run: the last one made, until the run's end. One
// that is new goes on from what was told before: by the process whose place this
// one takes, or by this one before the run's end.
func (c *Client) MeterOf(run string) *Meter {
	c.meters.mu.Lock()
	defer c.meters.mu.Unlock()
	if m := c.meters.all[run]; m != nil {
		return m
	}
	return c.newMeter(run)
}

func (c *Client) newMeter(run string) *Meter {
	if c.meters.all == nil {
		c.meters.all = map[string]*Meter{}
	}
	m := &Meter{c: c, run: run}
	c.meters.all[run] = m
	return m
}

// forget lets go of what the client keeps of a run that has ended, for which
// nothing waits any more.
func (c *Client) forget(ctx context.Context, run string) {
	c.missing.found(run)
	c.Waiting(ctx, run, "")
	c.meters.mu.Lock()
	m := c.meters.all[run]
	delete(c.meters.all, run)
	c.meters.mu.Unlock()
	if m != nil && m.isDue() { // before another one goes on from it
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		m.Tell(ctx)
	}
}

// Waiting tells watchers for what this process waits with a run, "" when it
// waits no longer. It holds its caller up for a second at the most, since NATS
// itself may be what is waited for.
func (c *Client) Waiting(ctx context.Context, run, why string) {
	c.WaitingUntil(ctx, run, why, time.Time{})
}

// WaitingUntil is Waiting for something that is tried again at a known time.
func (c *Client) WaitingUntil(ctx context.Context, run, why string, next time.Time) {
	at := int64(0)
	if !next.IsZero() {
		at = next.UnixMilli()
	}
	c.meters.mu.Lock()
	m := c.meters.all[run]
	if m == nil && run != "" && why != "" {
		m = c.newMeter(run)
	}
	c.meters.mu.Unlock()
	if m == nil || m.waiting(why, at) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	m.Add(ctx, func(p *ihcv1.Progress) { p.Waiting, p.NextTry = why, at })
}

// waiting says whether that is what was told last.
func (m *Meter) waiting(why string, next int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now.GetWaiting() == why && (why == "" || m.now.GetNextTry() == next)
}

// Add changes the progress and tells it: at once, or half a second after the
// last time.
func (m *Meter) Add(ctx context.Context, change func(*ihcv1.Progress)) {
	m.before.Do(func() { m.goOn(ctx) })
	m.mu.Lock()
	change(&m.now)
	wait := tellEvery - time.Since(m.told)
	m.mu.Unlock()
	if wait <= 0 {
		m.Tell(ctx)
	} else {
		m.later(ctx, wait)
	}
}

// later tells the progress after a while, if nobody has by then. Nothing becomes of
// ctx but its values.
func (m *Meter) later(ctx context.Context, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.due {
		return
	}
	m.due = true
	time.AfterFunc(wait, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if m.isDue() {
			m.Tell(ctx)
		}
	})
}

// goOn takes up what was told before. It is a courtesy, as telling is.
func (m *Meter) goOn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var was ihcv1.Progress
	e, err := valueOf(ctx, m.c.kv, m.c.progressKey(m.run))
	if err != nil || reading.Unmarshal(e.Value(), &was) != nil {
		return
	}
	TakeOver(&was)
	if m.c.stage == StageAttributor {
		was.Chunks += m.c.untold(ctx, m.run)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	proto.Merge(&m.now, &was)
}

// untold returns how many results of a run are stored of which no attributor told:
// of those right before one was killed.
func (c *Client) untold(ctx context.Context, run string) uint64 {
	stored, err := c.ScoredChunks(ctx, run)
	if err != nil {
		return 0
	}
	all, err := c.Progress(ctx, run)
	if err != nil {
		return 0
	}
	return stored - min(stored, all[StageAttributor].GetChunks())
}

// isDue says whether there is something to tell that was not.
func (m *Meter) isDue() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.due && !m.gone
}

// Now returns the progress as it is.
func (m *Meter) Now() *ihcv1.Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return proto.CloneOf(&m.now)
}

// Tell tells the progress as it is, and once more a moment later where that fails:
// nothing else may come that would be told.
func (m *Meter) Tell(ctx context.Context) {
	m.mu.Lock()
	now := proto.CloneOf(&m.now)
	m.told, m.due = time.Now(), false
	m.mu.Unlock()
	if m.c.putProgress(ctx, m.run, now) != nil && m.c.uses(m) && !m.c.nc.IsClosed() {
		m.later(ctx, tellEvery)
	}
}

// uses says whether the meter is the one of its run, and no other in its place.
func (c *Client) uses(m *Meter) bool {
	c.meters.mu.Lock()
	defer c.meters.mu.Unlock()
	return c.meters.all[m.run] == m
}

// tellDue tells what was to be told a moment later, since this process ends.
func (c *Client) tellDue(ctx context.Context) {
	c.meters.mu.Lock()
	all := slices.Collect(maps.Values(c.meters.all))
	c.meters.mu.Unlock()
	for _, m := range all {
		if m.isDue() && c.nc.IsConnected() {
			m.Tell(ctx)
		}
	}
}

// Progress adds up, for each stage, what its replicas last told about a run.
func (c *Client) Progress(ctx context.Context, run string) (map[string]*ihcv1.Progress, error) {
	all := map[string][]told{}
	err := c.eachTold(ctx, run, func(e jetstream.KeyValueEntry) {
		p := &ihcv1.Progress{}
		if reading.Unmarshal(e.Value(), p) != nil {
			return // of another version
		}
		stage := strings.Split(e.Key(), ".")[2]
		all[stage] = append(all[stage], told{p, e.Created()})
	})
	sums := map[string]*ihcv1.Progress{}
	for stage, replicas := range all {
		sums[stage] = join(replicas)
	}
	return sums, err
}

// reading leaves out what a newer version tells besides.
var reading = protojson.UnmarshalOptions{DiscardUnknown: true}

// ToldAt returns when something was last told of the progress of a run, UTC; the
// zero time if nothing was.
func (c *Client) ToldAt(ctx context.Context, run string) (last time.Time, err error) {
	err = c.eachTold(ctx, run, func(e jetstream.KeyValueEntry) {
		if t := e.Created().UTC(); t.After(last) {
			last = t
		}
	})
	return last, err
}

// eachTold reads what every process last told of the progress of a run.
func (c *Client) eachTold(ctx context.Context, run string, do func(jetstream.KeyValueEntry)) error {
	w, err := c.kv.Watch(ctx, "progress."+run+".>", jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-w.Updates():
			if e == nil { // all there was
				return nil
			}
			do(e)
		}
	}
}
