package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/internal/stream"
)

// services measures the memory of each service as a process of its own.
func (b *bench) services() error {
	stages := []string{"extractor", "attributor", "writer", "reporter", "natsserver"}
	small, err := b.separate(oneMillion, stages)
	if err != nil {
		return err
	}
	large, err := b.separate(tenMillion, stages)
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

// separate runs a shop through a stack of processes and returns their memory.
func (b *bench) separate(c shop.Config, stages []string) (_ map[string]float64, err error) {
	path, err := b.shop(c)
	if err == nil {
		path, err = b.fresh(path)
	}
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	running := map[string]*process{}
	for _, s := range stages {
		var args []string
		if s == "natsserver" {
			args = []string{"-dir", filepath.Join(b.dir, "nats"), "-listen", address}
		}
		running[s], err = b.start(nil, []string{"NATS_URL=nats://" + address, "IHC_DB=" + path, "IHC_OUT=" + filepath.Join(b.dir, "report"), "IHC_HTTP=127.0.0.1:0"}, s, args...)
		if err != nil {
			return nil, err
		}
	}
	r, err := b.askFor("nats://"+address, "run", "--max-sessions", "3000")
	mib := map[string]float64{}
	for _, s := range stages { // NATS last
		u, stopped := running[s].stop()
		mib[s] = u.mib
		err = errors.Join(err, stopped)
	}
	b.add("separate processes", float64(r.Touchpoints)/r.seconds, "touchpoints a second", 0, "%.1f s for %d touchpoints", r.seconds, r.Touchpoints)
	return mib, err
}

// askFor waits for the streams of a stack that is starting, and has it run.
func (b *bench) askFor(url string, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return result{}, err
	}
	defer nc.Close()
	if _, err := stream.New(ctx, nc, stream.Options{Stage: "bench"}); err != nil {
		return result{}, err
	}
	return b.ihc([]string{"NATS_URL=" + url}, args...)
}
