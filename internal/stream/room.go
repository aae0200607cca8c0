package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
)

// bounded are the streams that hold what runs leave, and may be given a bound.
var bounded = []string{Journeys, Results}

// roomFor is how long an answer to [Client.Room] is good.
const roomFor = 2 * time.Second

// room is the last answer.
type room struct {
	mu sync.Mutex
	at time.Time
	is error
}

// Room returns nil if NATS takes messages, and otherwise an environment fault
// that says what is full, and the way out. Whoever publishes nothing itself
// would not notice. It asks the server every two seconds at the most.
func (c *Client) Room(ctx context.Context) error {
	c.room.mu.Lock()
	defer c.room.mu.Unlock()
	if time.Since(c.room.at) < roomFor {
		return c.room.is
	}
	err := c.look(ctx)
	if ctx.Err() == nil {
		c.room.at, c.room.is = time.Now(), err
	}
	return err
}

// wayOut ends what is said of a full stream or disk.
const wayOut = "`ihc forget RUN` frees what a run that is over left in the streams"

func (c *Client) look(ctx context.Context) error {
	for _, name := range bounded {
		s, err := c.stream(ctx, name)
		if err != nil {
			return errkind.Environmentf("JetStream does not answer: %w", err)
		}
		// Another message like those that are there would not fit.
		is, most := s.CachedInfo().State, s.CachedInfo().Config.MaxBytes
		if most > 0 && is.Msgs > 0 && is.Bytes+is.Bytes/is.Msgs > uint64(most) {
			return errkind.Environmentf("stream %s is full (%s of %s): %s, a larger IHC_STREAM_MAX_BYTES gives more", name, human.Bytes(is.Bytes), human.Bytes(uint64(most)), wayOut)
		}
	}
	if c.stage == UserInit {
		return nil // it stores nothing, and may not
	}
	// What the disk says only a message can find out.
	if _, err := c.kv.PutString(ctx, "probe."+c.stage, ""); err != nil {
		var api *jetstream.APIError
		if errors.As(err, &api) {
			return errkind.Environmentf("NATS has no room for messages (%s): free some on its disk, or %s", api.Description, wayOut)
		}
		return errkind.Environmentf("NATS does not take messages: %w", err)
	}
	return nil
}

// Passing says whether the server drops chunks and results as soon as they are
// acknowledged: see [Settings].
func (c *Client) Passing(ctx context.Context) (bool, error) {
	s, err := c.stream(ctx, Journeys)
	if err != nil {
		return false, fmt.Errorf("stream %s: %w", Journeys, err)
	}
	return s.CachedInfo().Config.Retention == jetstream.InterestPolicy, nil
}

// Free removes a run's chunks and results from the streams, and returns how many
// messages that were and how many bytes they had. Events and dead letters stay.
func (c *Client) Free(ctx context.Context, run string) (messages, size uint64, err error) {
	for name, subject := range map[string]string{Journeys: chunksOf(run), Results: scoredOf(run)} {
		err := c.each(ctx, name, subject, true, func(m jetstream.Msg) error {
			n, err := strconv.ParseUint(m.Headers().Get(nats.MsgSize), 10, 64)
			messages++
			size += n
			return err
		})
		if err != nil {
			return 0, 0, err
		}
		s, err := c.stream(ctx, name)
		if err == nil {
			err = s.Purge(ctx, jetstream.WithPurgeSubject(subject))
		}
		if err != nil {
			return 0, 0, fmt.Errorf("free the messages of run %s in stream %s: %w", run, name, err)
		}
	}
	return messages, size, nil
}

// space tells the metrics how full the streams are.
type space struct {
	c          *Client
	bytes, max *prometheus.Desc
}

func showSpace(c *Client, reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"stream"}, nil)
	}
	// Of several clients in one process the first one tells it.
	_ = reg.Register(&space{c: c,
		bytes: desc("ihc_stream_bytes", "Bytes that the messages in a stream take."+alike),
		max:   desc("ihc_stream_max_bytes", "Most bytes that a stream may take, where it has a bound (IHC_STREAM_MAX_BYTES)."+alike),
	})
	_ = reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "ihc", Name: "messages_refused",
		Help:        "Messages of this process that NATS does not take at the moment: a stream or its disk is full, or it is away.",
		ConstLabels: prometheus.Labels{"stage": c.stage}}, func() float64 { return float64(c.refused.number()) }))
}

// Describe implements prometheus.Collector.
func (s *space) Describe(to chan<- *prometheus.Desc) { to <- s.bytes; to <- s.max }

// Collect implements prometheus.Collector. It gives nothing while NATS is away.
func (s *space) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.c.Healthy() != nil {
		return
	}
	for _, name := range bounded {
		is, err := s.c.stream(ctx, name)
		if err != nil {
			return
		}
		to <- prometheus.MustNewConstMetric(s.bytes, prometheus.GaugeValue, float64(is.CachedInfo().State.Bytes), name)
		if most := is.CachedInfo().Config.MaxBytes; most > 0 {
			to <- prometheus.MustNewConstMetric(s.max, prometheus.GaugeValue, float64(most), name)
		}
	}
}
