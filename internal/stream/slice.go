package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// PublishSlice hands a slice of a run to the extractors. Each call is a message of
// its own: to read a slice twice does no harm.
func (c *Client) PublishSlice(ctx context.Context, s *ihcv1.Slice) error {
	data, err := proto.Marshal(s)
	if err == nil {
		err = c.publish(ctx, &nats.Msg{Subject: fmt.Sprintf(subjectSlice, s.GetRunId(), s.GetSlice()), Data: data}, "")
	}
	if err != nil {
		return fmt.Errorf("hand out slice %d of run %s: %w", s.GetSlice(), s.GetRunId(), err)
	}
	return nil
}

// LastSlice returns the last message of a slice of a run and its place in the
// stream: nil and 0 for none.
func (c *Client) LastSlice(ctx context.Context, run string, slice uint32) (*ihcv1.Slice, uint64, error) {
	raw, err := c.lastOn(ctx, Runs, fmt.Sprintf(subjectSlice, run, slice))
	if errors.Is(err, ErrNotFound) {
		return nil, 0, nil
	}
	var s ihcv1.Slice
	if err == nil {
		err = proto.Unmarshal(raw.Data, &s)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("look for slice %d of run %s: %w", slice, run, err)
	}
	return &s, raw.Sequence, nil
}

// PutSlice records how far a slice is, and returns when that is on disk.
func (c *Client) PutSlice(ctx context.Context, s *ihcv1.Slice, read *ihcv1.SliceRead) error {
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(read)
	if err == nil {
		err = c.keep(ctx, sliceKey(s.GetRunId(), s.GetReading(), s.GetSlice()), s.GetRunId(), data)
	}
	if err != nil {
		return fmt.Errorf("record slice %d of run %s: %w", s.GetSlice(), s.GetRunId(), err)
	}
	return nil
}

// SliceRead returns how far a slice of a reading is: nil where nobody has
// recorded anything.
func (c *Client) SliceRead(ctx context.Context, run, reading string, slice uint32) (*ihcv1.SliceRead, error) {
	entry, err := valueOf(ctx, c.kv, sliceKey(run, reading, slice))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil //nolint:nilnil // nothing is a usual answer
	}
	var read ihcv1.SliceRead
	if err == nil {
		err = protojson.Unmarshal(entry.Value(), &read)
	}
	if err != nil {
		return nil, fmt.Errorf("look how far slice %d of run %s is: %w", slice, run, err)
	}
	return &read, nil
}
