package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// stages are the programs of a stack in the order in which they are stopped.
var stages = []string{"extractor", "attributor", "writer", "reporter", "natsserver"}

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
	address, err := freeAddress()
	if err != nil {
		return nil, r, err
	}
	dir, err := os.MkdirTemp(b.dir, "nats-")
	if err != nil {
		return nil, r, err
	}
	running := map[string]*process{}
	for _, s := range slices.Backward(stages) { // NATS first
		var args []string
		if s == "natsserver" {
			args = []string{"-dir", dir, "-listen", address}
		}
		running[s], err = b.start(nil, []string{"NATS_URL=nats://" + address, "IHC_DB=" + path, "IHC_OUT=" + filepath.Join(b.dir, "report"), "IHC_HTTP=127.0.0.1:0"}, s, args...)
		if err == nil && s == "natsserver" {
			err = b.streamsOn("nats://"+address, packed)
		}
		if err != nil {
			return nil, r, err
		}
	}
	r, err = b.askFor("nats://"+address, "run", "--max-sessions", "3000")
	mib := map[string]float64{}
	for _, s := range stages { // NATS last
		u, stopped := running[s].stop()
		mib[s] = u.mib
		err = errors.Join(err, stopped)
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

// streamsOn makes the streams, as a deployment's init step does.
func (b *bench) streamsOn(url string, packed bool) error {
	nc, err := connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	settings := stream.DefaultSettings()
	settings.Packed = packed
	return stream.EnsureOn(b.ctx, nc, settings)
}

// connect waits for a server that is starting.
func connect(url string) (*nats.Conn, error) {
	return nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
}
