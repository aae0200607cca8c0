package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/stream"
)

// stages are the programs of a stack in the order in which they are stopped.
var stages = []string{"extractor", "attributor", "writer", "reporter", "natsserver"}

// stackOptions say what a stack is made of.
type stackOptions struct {
	db       string
	settings stream.Settings
	// services are those that are started; none means all.
	services []string
	// each is how many there are of each service, and servers of NATS; 0 means one.
	each, servers int
	sync          bool // whether NATS forces each message to the disk
	// cores is what each process of a service is held to; 0 means no limit.
	cores float64
}

// stack is the pipeline as processes.
type stack struct {
	url, dir string
	running  []member // in the order in which they are stopped
	env      []string // of its services
	cores    float64  // that each of them is held to
}

// member is one of its processes.
type member struct {
	stage string
	*process
	limit *limit // nil for none
}

// stack starts one, and makes its streams as a deployment's init step does.
func (b *bench) stack(o stackOptions) (*stack, error) {
	s := &stack{cores: o.cores}
	var err error
	if s.dir, err = os.MkdirTemp(b.dir, "nats-"); err != nil {
		return nil, err
	}
	if err := b.servers(s, o); err != nil {
		return nil, err
	}
	nc, err := connect(s.url)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	o.settings.Replicas = max(o.servers, 1)
	if err := stream.EnsureOn(b.ctx, nc, o.settings); err != nil {
		return nil, err
	}
	s.env = []string{"NATS_URL=" + s.url, "IHC_DB=" + o.db, "IHC_OUT=" + filepath.Join(b.dir, "report"), "IHC_HTTP=127.0.0.1:0"}
	for _, stage := range stages[:len(stages)-1] {
		if o.services != nil && !slices.Contains(o.services, stage) {
			continue
		}
		for range cmp.Or(o.each, 1) {
			if err := b.serve(s, stage); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// servers starts the NATS servers of a stack.
func (b *bench) servers(s *stack, o stackOptions) error {
	n := max(o.servers, 1)
	addresses := make([]string, 2*n)
	for i := range addresses {
		var err error
		if addresses[i], err = listenAt(); err != nil {
			return err
		}
	}
	clients, routes := addresses[:n], addresses[n:]
	for i, address := range clients {
		args := []string{"-dir", filepath.Join(s.dir, fmt.Sprint(i+1)), "-listen", address}
		if n > 1 {
			args = append(args, "-name", fmt.Sprint("nats-", i+1), "-cluster", routes[i], "-routes", strings.Join(routes, ","))
		}
		if o.sync {
			args = append(args, "-sync", "0")
		}
		if err := b.join(s, member{stage: "natsserver"}, nil, "natsserver", args...); err != nil {
			return err
		}
	}
	s.url = "nats://" + strings.Join(clients, ",nats://")
	return nil
}

// serve starts one more process of a stack's services.
func (b *bench) serve(s *stack, stage string) error {
	if s.cores == 0 {
		return b.join(s, member{stage: stage}, s.env, stage)
	}
	l, err := newLimit(s.cores)
	if err != nil {
		return err
	}
	within, args := l.around(filepath.Join(b.dir, "bin", stage))
	return b.join(s, member{stage: stage, limit: l}, s.env, within, args...)
}

// join starts one more process of a stack.
func (b *bench) join(s *stack, m member, env []string, program string, args ...string) (err error) {
	if m.process, err = b.start(nil, env, program, args...); err != nil {
		return errors.Join(err, m.limit.remove())
	}
	s.running = append(s.running, m)
	slices.SortStableFunc(s.running, func(x, y member) int { return slices.Index(stages, x.stage) - slices.Index(stages, y.stage) })
	return nil
}

// stop ends a stack in order, and returns what each stage took: the CPU of all its
// processes, the memory of the largest.
func (s *stack) stop() (map[string]usage, error) {
	used := map[string]usage{}
	var failed error
	for _, m := range s.running {
		u, err := m.stop()
		failed = errors.Join(failed, err, m.limit.remove())
		all := used[m.stage]
		all.mib, all.cpu = max(all.mib, u.mib), all.cpu+u.cpu
		used[m.stage] = all
	}
	return used, failed
}
