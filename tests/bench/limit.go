package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// limit is a control group of Linux, whose processes together get a share of a core
// and no more, as those of a container with a limit. They get it before other programs
// that compete for the cores.
type limit struct{ dir string }

// limitPeriod is how often the share is given out: often, so that a worker that has
// had its own is not waited for long.
const limitPeriod = 20 * time.Millisecond

// newLimit makes a group for so many cores. Its error says why this machine has none.
func newLimit(cores float64) (l *limit, err error) {
	const groups = "/sys/fs/cgroup"
	period := strconv.FormatInt(limitPeriod.Microseconds(), 10)
	quota := strconv.Itoa(int(cores * float64(limitPeriod.Microseconds())))
	in, settings := filepath.Join(groups, "cpu"), [][2]string{{"cpu.cfs_period_us", period}, {"cpu.cfs_quota_us", quota}, {"cpu.shares", "262144"}}
	if _, err := os.Stat(filepath.Join(groups, "cgroup.controllers")); err == nil { // the second version of control groups
		in, settings = groups, [][2]string{{"../cgroup.subtree_control", "+cpu"}, {"cpu.max", quota + " " + period}, {"cpu.weight", "10000"}}
	}
	dir, err := os.MkdirTemp(in, "ihc-bench-")
	if err != nil {
		return nil, fmt.Errorf("no control group can be made, which takes Linux and its root: %w", err)
	}
	for _, s := range settings {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, s[0]), []byte(s[1]), 0o644))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a control group cannot be held to a share of a core: %w", err), os.Remove(dir))
	}
	return &limit{dir}, nil
}

// around returns what runs a program in the group from its beginning. It is made an
// ordinary process first: one that has real-time priority, as all has under `chrt`,
// is not limited.
func (l *limit) around(program string, args ...string) (string, []string) {
	const within = `chrt --other --pid 0 $$ 2>/dev/null; echo $$ >"$0/cgroup.procs" && exec "$@"`
	return "/bin/sh", append([]string{"-c", within, l.dir, program}, args...)
}

// remove removes the group, whose processes have ended; of no limit it does nothing.
func (l *limit) remove() error {
	if l == nil {
		return nil
	}
	return os.Remove(l.dir)
}
