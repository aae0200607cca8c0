package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// What scores a run is settled once. The extractor asks the attributors when it
// accepts the run ([Client.AskScoring]), and the event accepted tells everybody.
// Where no attributor was there to answer, the first one that is to score a
// chunk settles it for all ([Client.Settle]).

// askWait is how long an attributor may take to say what it would score with.
const askWait = 2 * time.Second

// AskScoring asks the attributors what they would score a run with. A nil error
// and no answer mean that none of them is there.
func (c *Client) AskScoring(ctx context.Context, req *ihcv1.RunRequest) (*ihcv1.ScoringAnswer, error) {
	data, err := proto.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encode the question what scores run %s: %w", req.GetRunId(), err)
	}
	once, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	m, err := c.nc.RequestWithContext(once, SubjectScoring, data)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return nil, nil //nolint:nilnil // nobody is a usual answer
	case err != nil:
		return nil, fmt.Errorf("ask what scores run %s: %w", req.GetRunId(), err)
	}
	var a ihcv1.ScoringAnswer
	if err := proto.Unmarshal(m.Data, &a); err != nil {
		return nil, fmt.Errorf("decode what scores run %s: %w", req.GetRunId(), err)
	}
	return &a, nil
}

// AnswerScoring answers with what answer returns, one of all attributors to each
// question, until stop is called.
func (c *Client) AnswerScoring(answer func(*ihcv1.RunRequest) *ihcv1.ScoringAnswer) (stop func(), err error) {
	s, err := c.nc.QueueSubscribe(SubjectScoring, StageAttributor, func(m *nats.Msg) {
		var req ihcv1.RunRequest
		if err := proto.Unmarshal(m.Data, &req); err != nil {
			c.log.Warn("skipped a question what scores a run", "error", err)
			return
		}
		data, err := proto.Marshal(answer(&req))
		if err == nil {
			err = m.Respond(data)
		}
		if err != nil {
			c.log.Warn("could not say what scores a run", "run", req.GetRunId(), "error", err)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listen for questions what scores a run: %w", err)
	}
	return func() { _ = s.Unsubscribe() }, nil // fails where the connection is gone, and it with it
}

// Settled returns what [Client.Settle] settled for a run, nil for nothing.
func (c *Client) Settled(ctx context.Context, run, asked string) (*ihcv1.Scoring, error) {
	explain := func(err error) error { return fmt.Errorf("read what scores run %s: %w", run, err) }
	entry, err := valueOf(ctx, c.kv, scoringKey(run, asked))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil //nolint:nilnil // nothing is a usual answer
	}
	if err != nil {
		return nil, explain(err)
	}
	var s ihcv1.Scoring
	if err := protojson.Unmarshal(entry.Value(), &s); err != nil {
		return nil, explain(err)
	}
	return &s, nil
}

// Settle returns what scores a run that was accepted without anybody saying: what
// somebody has settled before, else what mine returns, whose error it returns as
// it is. asked is that of the event accepted.
func (c *Client) Settle(ctx context.Context, run, asked string, mine func() (*ihcv1.Scoring, error)) (*ihcv1.Scoring, error) {
	explain := func(err error) error { return fmt.Errorf("settle what scores run %s: %w", run, err) }
	for {
		s, err := c.Settled(ctx, run, asked)
		if s != nil || err != nil {
			return s, err
		}
		s, err = mine()
		if err != nil {
			return nil, err
		}
		data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(s)
		if err != nil {
			return nil, explain(err)
		}
		if _, err = c.kv.Create(ctx, scoringKey(run, asked), data); err == nil {
			return s, nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return nil, explain(err)
		}
	}
}
