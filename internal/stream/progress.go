package stream

import (
	"context"
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
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(p)
	if err == nil {
		_, err = c.kv.Put(ctx, "progress."+run+"."+c.stage+"."+c.instance, data)
	}
	if err != nil {
		c.log.Debug("could not tell the progress", "run", run, "error", err)
	}
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
	now  ihcv1.Progress
}

// Meter returns a meter for a run. It is for any number of goroutines.
func (c *Client) Meter(run string) *Meter { return &Meter{c: c, run: run} }

// Add changes the progress and tells it: at once, or half a second after the
// last time.
func (m *Meter) Add(ctx context.Context, change func(*ihcv1.Progress)) {
	m.mu.Lock()
	change(&m.now)
	wait := tellEvery - time.Since(m.told)
	late := wait > 0 && !m.due
	m.due = m.due || late
	m.mu.Unlock()
	switch {
	case wait <= 0:
		m.Tell(ctx)
	case late:
		time.AfterFunc(wait, func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			m.Tell(ctx)
		})
	}
}

// Tell tells the progress as it is.
func (m *Meter) Tell(ctx context.Context) {
	m.mu.Lock()
	now := proto.CloneOf(&m.now)
	m.told, m.due = time.Now(), false
	m.mu.Unlock()
	m.c.PutProgress(ctx, m.run, now)
}

// Progress adds up, for each stage, what its replicas last told about a run.
func (c *Client) Progress(ctx context.Context, run string) (map[string]*ihcv1.Progress, error) {
	w, err := c.kv.Watch(ctx, "progress."+run+".>", jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Stop() }()
	sums := map[string]*ihcv1.Progress{}
	for {
		select {
		case <-ctx.Done():
			return sums, ctx.Err()
		case e := <-w.Updates():
			if e == nil { // all there was
				return sums, nil
			}
			var p ihcv1.Progress
			if protojson.Unmarshal(e.Value(), &p) != nil {
				continue // of a newer version
			}
			stage := strings.Split(e.Key(), ".")[2]
			s := sums[stage]
			if s == nil {
				s = &ihcv1.Progress{}
				sums[stage] = s
			}
			s.Conversions += p.Conversions
			s.Touchpoints += p.Touchpoints
			s.Chunks += p.Chunks
			s.ConversionsTotal = max(s.ConversionsTotal, p.ConversionsTotal)
			s.Requests += p.Requests
			s.Retries += p.Retries
			if p.Waiting != "" {
				s.Waiting = p.Waiting
			}
		}
	}
}
