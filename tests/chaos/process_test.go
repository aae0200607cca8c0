//go:build chaos

package chaos

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// process is a program that can be started again and again.
type process struct {
	name    string // of this instance
	program string
	args    []string
	env     []string
	log     string // path of its file, to which every start appends

	mu    sync.Mutex
	cmd   *exec.Cmd // nil while it is not running
	ended chan struct{}
	ours  bool // we ended it
	// Deaths says how it ended when nobody told it to.
	deaths []string
	kills  int
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return nil
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	_, _ = fmt.Fprintf(log, "=== %s started at %s\n", p.name, time.Now().UTC().Format("15:04:05.000"))
	cmd := exec.Command(filepath.Join(bin, p.program), p.args...)
	// Nothing of the environment of whoever runs the tests.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}, p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.ours, p.ended = cmd, false, make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.ours {
			p.deaths = append(p.deaths, fmt.Sprintf("%s ended by itself: %s\n%s", p.name, cmd.ProcessState, tail(p.log, 10)))
		}
		p.cmd = nil
		close(p.ended)
	}()
	return nil
}

// signal sends s and waits until the process has ended. It says whether there
// was one, and its exit code (-1 where a signal ended it).
func (p *process) signal(s syscall.Signal) (code int, ran bool) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	if cmd == nil {
		p.mu.Unlock()
		return 0, false
	}
	p.ours = true
	if s == syscall.SIGKILL {
		p.kills++
	}
	_ = cmd.Process.Signal(s)
	p.mu.Unlock()
	select {
	case <-ended:
	case <-time.After(patience):
		p.mu.Lock()
		p.deaths = append(p.deaths, p.name+" did not end within "+patience.String()+" of "+s.String())
		p.mu.Unlock()
		_ = cmd.Process.Kill()
		<-ended
	}
	return cmd.ProcessState.ExitCode(), true
}

// send sends s, which does not end the process.
func (p *process) send(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

func (p *process) kill() bool {
	_, ran := p.signal(syscall.SIGKILL)
	return ran
}

// tail returns the last lines of a file.
func tail(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(lines[max(len(lines)-n, 0):], []byte("\n")))
}
