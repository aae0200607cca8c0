package main

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// services measures the memory of each service as a process of its own.
func (b *bench) services() error {
	small, _, err := b.separate(oneMillion, true)
	if err != nil {
		return err
	}
	large, _, err := b.separate(tenMillion, true)
	if err != nil {
		return err
	}
	for _, s := range stages {
		most, ratio := 200.0, 1.2
		if s == "natsserver" { // not ours, and given the memory it likes
			most, ratio = 0, 0
		}
		b.add("memory of "+s+", 10 million", large[s], "MiB", most, "most resident memory")
		b.add("memory of "+s+", ten million ÷ one million", large[s]/small[s], "ratio", ratio, "%.0f MiB and %.0f MiB", large[s], small[s])
	}
	return nil
}

// packing measures what it costs a run that the streams are packed.
func (b *bench) packing() error {
	_, packed, err := b.separate(tenMillion, true)
	if err != nil {
		return err
	}
	_, plain, err := b.separate(tenMillion, false)
	if err != nil {
		return err
	}
	b.add("streams packed ÷ not packed", packed.seconds/plain.seconds, "ratio", 0, "%.1f s and %.1f s for %d touchpoints", packed.seconds, plain.seconds, packed.Touchpoints)
	return nil
}

// separate runs a shop through a stack of processes, with its streams packed, as
// they are, or not, and returns their memory.
func (b *bench) separate(c shop.Config, packed bool) (_ map[string]float64, r result, err error) {
	path, err := b.freshShop(c)
	if err != nil {
		return nil, r, err
	}
	settings := stream.DefaultSettings()
	settings.Packed = packed
	s, err := b.stack(stackOptions{db: path, settings: settings})
	if err != nil {
		return nil, r, err
	}
	r, err = b.askFor(s.url, "run", "--max-sessions", "3000")
	used, stopped := s.stop()
	err = errors.Join(err, stopped)
	mib := map[string]float64{}
	for stage, u := range used {
		mib[stage] = u.mib
	}
	name := "separate processes"
	if !packed {
		name += ", streams not packed"
	}
	b.add(name, float64(r.Touchpoints)/r.seconds, "touchpoints a second", 0, "%.1f s for %d touchpoints", r.seconds, r.Touchpoints)
	return mib, r, err
}

// askFor waits for the streams of a stack that is starting, and has it run.
func (b *bench) askFor(url string, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	nc, err := connect(url)
	if err != nil {
		return result{}, err
	}
	defer nc.Close()
	if _, err := stream.New(ctx, nc, stream.Options{Stage: "bench"}); err != nil {
		return result{}, err
	}
	return b.ihc([]string{"NATS_URL=" + url}, args...)
}

// connect waits for a server that is starting.
func connect(url string) (*nats.Conn, error) {
	return nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
}
