package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// streams measures what a run leaves in the streams, and how fast chunks go
// through them.
func (b *bench) streams() error {
	var free []*ihcv1.JourneyChunk
	for _, c := range []struct {
		limit string
		shop  shop.Config
	}{{"200", tenMillion}, {"3000", oneMillion}} {
		limit, config := c.limit, c.shop
		dir := filepath.Join(b.dir, "streams-"+limit)
		path, err := b.freshShop(config)
		if err != nil {
			return err
		}
		r, err := b.ihc(nil, "run", "--db", path, "--out", filepath.Join(b.dir, "report"), "--max-sessions", limit, "--data-dir", dir)
		if err != nil {
			return err
		}
		server, err := broker.Start(broker.Config{Dir: dir})
		if err != nil {
			return err
		}
		nc, err := server.Connect("bench")
		if err != nil {
			return err
		}
		if err := b.stored(nc, dir, limit, r); err != nil {
			return err
		}
		if limit == "200" {
			if free, err = b.chunks(nc, r.RunID); err != nil {
				return err
			}
		}
		nc.Close()
		server.Stop(b.ctx)
	}
	return b.throughput(free)
}

// stored tells how large a run's messages are on the disk, packed as they are
// and not.
func (b *bench) stored(nc *nats.Conn, dir, limit string, r result) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	for _, name := range []string{stream.Journeys, stream.Results} {
		packed, err := js.Stream(b.ctx, name)
		if err != nil {
			return err
		}
		state := packed.CachedInfo().State
		plain, err := js.CreateStream(b.ctx, jetstream.StreamConfig{Name: name + "_PLAIN", Sources: []*jetstream.StreamSource{{Name: name}}})
		if err != nil {
			return err
		}
		begun := time.Now()
		for plain.CachedInfo().State.Msgs < state.Msgs {
			if _, err := plain.Info(b.ctx); err != nil {
				return err
			}
			if time.Since(begun) > time.Minute {
				return errors.New("the stream is not copied")
			}
		}
		// The server packs a block of messages some time after it is full.
		size := 0.0
		for was := -1.0; was != size; time.Sleep(time.Second) {
			was = size
			if size, err = onDisk(dir, name); err != nil {
				return err
			}
		}
		unpacked, err := onDisk(dir, name+"_PLAIN")
		if err != nil {
			return err
		}
		b.add(name+" at "+limit+" sessions", size/float64(r.Touchpoints), "MB a million touchpoints", 0, "%d messages of %.1f kB", state.Msgs, float64(state.Bytes)/1e3/float64(state.Msgs))
		b.add(name+" at "+limit+" sessions, not packed", unpacked/float64(r.Touchpoints), "MB a million touchpoints", 0, "copied by the server")
	}
	return nil
}

// onDisk returns how many bytes the files of a stream have.
func onDisk(dir, name string) (size float64, err error) {
	root := filepath.Join(dir, "jetstream", "$G", "streams", name)
	return size, filepath.WalkDir(root, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				size += float64(info.Size())
			}
		}
		return err
	})
}

// chunks reads a run's chunks back.
func (b *bench) chunks(nc *nats.Conn, run string) ([]*ihcv1.JourneyChunk, error) {
	c, err := stream.New(b.ctx, nc, stream.Options{Stage: "bench"})
	if err != nil {
		return nil, err
	}
	var all []*ihcv1.JourneyChunk
	return all, c.EachChunk(b.ctx, run, func(chunk *ihcv1.JourneyChunk) error {
		all = append(all, chunk)
		return nil
	})
}

// throughput publishes chunks and consumes them, as the services do.
func (b *bench) throughput(chunks []*ihcv1.JourneyChunk) error {
	server, err := broker.Start(broker.Config{Dir: filepath.Join(b.dir, "embedded")})
	if err != nil {
		return err
	}
	embedded, err := server.Connect("bench")
	if err != nil {
		return err
	}
	if err := b.pass(embedded, "an embedded server", chunks); err != nil {
		return err
	}
	embedded.Close()
	server.Stop(b.ctx)

	address, err := listenAt()
	if err != nil {
		return err
	}
	p, err := b.start(nil, nil, "natsserver", "-dir", filepath.Join(b.dir, "separate"), "-listen", address)
	if err != nil {
		return err
	}
	nc, err := connect("nats://" + address)
	if err != nil {
		return err
	}
	if err := b.pass(nc, "a separate server", chunks); err != nil {
		return err
	}
	nc.Close()
	_, err = p.stop()
	return err
}

func (b *bench) pass(nc *nats.Conn, where string, chunks []*ihcv1.JourneyChunk) error {
	if err := stream.EnsureOn(b.ctx, nc, stream.DefaultSettings()); err != nil {
		return err
	}
	c, err := stream.New(b.ctx, nc, stream.Options{Stage: "bench"})
	if err != nil {
		return err
	}
	publisher, err := c.NewChunkPublisher(b.ctx, chunks[0].GetRunId(), true)
	if err != nil {
		return err
	}
	begun := time.Now()
	for _, chunk := range chunks {
		if err := publisher.Publish(b.ctx, chunk); err != nil {
			return err
		}
	}
	if err := publisher.Flush(b.ctx); err != nil {
		return err
	}
	took := time.Since(begun).Seconds()
	b.add("published to "+where, float64(len(chunks))/took, "chunks a second", 0, "%d chunks of about 200 sessions in %.2f s, each acknowledged", len(chunks), took)

	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	left := atomic.Int64{}
	left.Store(int64(len(chunks)))
	begun = time.Now()
	var ended time.Time
	decode := stream.Proto(func() *ihcv1.JourneyChunk { return &ihcv1.JourneyChunk{} })
	err = stream.Consume(ctx, c, stream.Chunks, 4, nil, decode, func(context.Context, stream.Message[*ihcv1.JourneyChunk]) error {
		if left.Add(-1) == 0 {
			ended = time.Now()
			cancel()
		}
		return nil
	})
	took = ended.Sub(begun).Seconds()
	b.add("consumed from "+where, float64(len(chunks))/took, "chunks a second", 0, "4 workers in %.2f s, each acknowledged", took)
	return err
}
