package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ihc-pipeline/ihc/internal/freeport"
	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/store/importer"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

const module = "github.com/ihc-pipeline/ihc/"

// build makes the programs that are measured.
func (b *bench) build() error {
	bin := filepath.Join(b.dir, "bin") + string(filepath.Separator)
	err := goBuild(b.ctx, nil, "-o", bin, module+"cmd/ihc", module+"tests/natsserver",
		module+"services/extractor/cmd/extractor", module+"services/attributor/cmd/attributor",
		module+"services/writer/cmd/writer", module+"services/reporter/cmd/reporter")
	if err == nil && b.wants("peer") {
		err = goBuild(b.ctx, []string{"GOWORK=off"}, "-C", "tests/peer", "-o", bin, ".")
	}
	return err
}

func goBuild(ctx context.Context, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// clean removes all but the results.
func (b *bench) clean() error {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(b.dir, e.Name())))
	}
	return err
}

// process is a running program.
type process struct {
	cmd   *exec.Cmd
	begun time.Time
	errs  bytes.Buffer
}

// usage is what a program took, as the operating system has it.
type usage struct {
	seconds float64
	mib     float64 // most resident memory
	cpu     float64 // seconds of processors
}

// start runs a program of bin, or one at a path, with nothing in its
// environment that the caller does not name.
func (b *bench) start(out io.Writer, env []string, program string, args ...string) (*process, error) {
	if !filepath.IsAbs(program) {
		program = filepath.Join(b.dir, "bin", program)
	}
	p := &process{cmd: exec.CommandContext(b.ctx, program, args...)}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + b.dir}, env...)
	p.cmd.Stdout, p.cmd.Stderr = out, &p.errs
	p.begun = time.Now()
	return p, p.cmd.Start()
}

func (p *process) wait() (usage, error) {
	err := p.cmd.Wait()
	u := usage{seconds: time.Since(p.begun).Seconds()}
	if r, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.mib = float64(r.Maxrss) / 1024
		u.cpu = (p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()).Seconds()
	}
	if err != nil {
		return u, fmt.Errorf("%s: %w\n%s", strings.Join(p.cmd.Args, " "), err, p.errs.String())
	}
	return u, nil
}

// stop ends a program in order.
func (p *process) stop() (usage, error) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait()
}

// itself runs this program as a process of its own.
func (b *bench) itself(args ...string) (usage, error) {
	path, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	p, err := b.start(os.Stderr, nil, path, args...)
	if err != nil {
		return usage{}, err
	}
	return p.wait()
}

// result is what `ihc run --json` says.
type result struct {
	RunID       string `json:"run_id"`
	Status      string
	Conversions struct{ Attributed int }
	Touchpoints int
	Requests    int
	usage       `json:"-"`
	log         string // what it said on the side
}

// ihc runs an ihc command that ends with a run's result.
func (b *bench) ihc(env []string, args ...string) (result, error) {
	var out bytes.Buffer
	var r result
	p, err := b.start(&out, env, "ihc", append(args, "--json")...)
	if err != nil {
		return r, err
	}
	u, err := p.wait()
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &r)
	}
	if err == nil && r.Status != "completed" {
		err = fmt.Errorf("the run is %s", r.Status)
	}
	r.usage, r.log = u, p.errs.String()
	return r, err
}

// shop returns the path of a shop's database, made at first use.
func (b *bench) shop(c shop.Config) (string, error) {
	name := fmt.Sprintf("shop-%d-%d-%d-%d-%d.db", c.Seed, c.Sessions, c.Conversions, c.Touchpoints, c.MaxJourney)
	if b.shops[name] != "" {
		return b.shops[name], nil
	}
	b.shops[name] = filepath.Join(b.dir, name)
	order, err := json.Marshal(shopOrder{b.shops[name], c})
	if err != nil {
		return "", err
	}
	// By a process of its own: what a program had before it became another
	// counts, for the operating system, as that one's memory.
	_, err = b.itself("shop", string(order))
	return b.shops[name], err
}

type shopOrder struct {
	Path   string
	Config shop.Config
}

func makeShop(ctx context.Context, order string) error {
	var o shopOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		return err
	}
	_, err := sqlite.GenerateShop(ctx, o.Path, o.Config, false)
	return err
}

// realShop returns the path of the real shop's database, "" where there is none.
func (b *bench) realShop() (string, error) {
	if _, err := os.Stat(b.shopZip); err != nil {
		return "", nil //nolint:nilerr // it is not part of the project
	}
	if b.shops["real"] == "" {
		r, err := importer.Import(b.ctx, b.shopZip, importer.Options{Dir: b.dir, Name: "real.db"})
		if err != nil {
			return "", err
		}
		b.shops["real"] = r.Path
	}
	return b.shops["real"], nil
}

// fresh returns a copy of a database as no run has touched it.
func (b *bench) fresh(path string) (string, error) {
	to := filepath.Join(b.dir, "work.db")
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		_ = os.Remove(to + suffix)
	}
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close() //nolint:errcheck // only read
	out, err := os.Create(to)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	// What was written before is not to be written while something is measured.
	return to, errors.Join(err, out.Sync(), out.Close())
}

// freshShop returns a fresh copy of a shop.
func (b *bench) freshShop(c shop.Config) (string, error) {
	path, err := b.shop(c)
	if err != nil {
		return "", err
	}
	return b.fresh(path)
}

// listenAt returns an address for a process to listen at, which is held for as long
// as the bench goes on.
func listenAt() (string, error) {
	address, _, err := freeport.Reserve()
	return address.String(), err
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[len(x)/2] + x[(len(x)-1)/2]) / 2
}
