package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/ihc-pipeline/ihc/internal/stream"
)

// pastRuns is how many runs a NATS server is given, one after the other.
const pastRuns = 100

// server measures how much memory past runs cost the NATS server: where their
// messages are older than what can be replayed, and where they are not.
func (b *bench) server() error {
	for _, keep := range []time.Duration{20 * time.Second, stream.DefaultSettings().KeepMessages} {
		mib, chunks, err := b.runsInARow(keep)
		if err != nil {
			return err
		}
		early, late := median(mib[20:40]), median(mib[pastRuns-20:])
		if keep < time.Hour {
			b.add("memory of natsserver, runs 81 to 100 ÷ 21 to 40", late/early, "ratio", 1.2, "%.0f MiB and %.0f MiB; messages of runs are gone after %s, %d chunks a run", late, early, keep, chunks)
			continue
		}
		b.add("memory of natsserver for a past chunk that can be replayed", (late-early)*(1<<20)/float64(60*chunks), "bytes", 0, "%.0f MiB after 30 runs and %.0f MiB after 90, of %d chunks each", early, late, chunks)
	}
	return nil
}

// runsInARow has a shop run again and again, all of it each time, and returns the
// server's memory after each run, and of how many chunks a run is.
func (b *bench) runsInARow(keep time.Duration) (mib []float64, chunks int, err error) {
	path, err := b.freshShop(sized(20_000))
	if err != nil {
		return nil, 0, err
	}
	settings := stream.DefaultSettings()
	settings.KeepMessages = keep
	s, err := b.stack(stackOptions{db: path, settings: settings})
	if err != nil {
		return nil, 0, err
	}
	server := s.running[len(s.running)-1].cmd.Process.Pid
	for range pastRuns {
		r, failed := b.askFor(s.url, "run", "--full", "--max-sessions", "200")
		is, unread := resident(server)
		if err = errors.Join(failed, unread); err != nil {
			break
		}
		mib = append(mib, is)
		if chunks == 0 {
			chunks, err = b.chunksOf(s.url, r.RunID)
		}
	}
	_, _ = fmt.Fprintf(os.Stderr, "MiB after each run, kept for %s: %.0f\n", keep, mib)
	_, stopped := s.stop()
	return mib, chunks, errors.Join(err, stopped)
}

// chunksOf returns how many chunks a run has.
func (b *bench) chunksOf(url, run string) (int, error) {
	nc, err := connect(url)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	c, err := stream.New(b.ctx, nc, stream.Options{Stage: "bench"})
	if err != nil {
		return 0, err
	}
	e, err := c.Extracted(b.ctx, run)
	return int(e.GetChunks()), err
}

// resident returns how many MiB of a process are in memory now.
func resident(pid int) (float64, error) {
	return memory(pid, "status", "VmRSS:")
}

// memory returns a line of what the system says of a process' memory, in MiB.
func memory(pid int, file, name string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == name {
			kib, err := strconv.ParseFloat(string(fields[1]), 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("the system does not tell %s of process %d", name, pid)
}
