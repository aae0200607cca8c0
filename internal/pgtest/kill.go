package pgtest

import (
	"strings"
	"syscall"
	"time"
)

// Kill ends the server, with all its processes and without a warning, as a
// machine that fails does. It says whether it ran.
func (s *Server) Kill() (ran bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return false
	}
	_ = s.process.Signal(syscall.SIGSTOP) // it starts no more
	for _, pid := range children(s.process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	s.wait(syscall.SIGKILL)
	return true
}

// Restart starts a server that was killed, and returns when it takes connections
// again: it has put right by then what the death left behind. One that runs goes
// on.
func (s *Server) Restart() error {
	s.restart.Lock()
	defer s.restart.Unlock()
	s.mu.Lock()
	runs := s.process != nil
	s.mu.Unlock()
	for tries := 0; !runs; tries++ {
		err := s.serve()
		// What the dead had in common lasts for a moment longer than they.
		if err == nil || tries > 100 || !strings.Contains(err.Error(), "shared memory") {
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
	return nil
}

// Suspend stops all processes of the server where they are; Resume lets them go
// on.
func (s *Server) Suspend() { s.signal(syscall.SIGSTOP) }

// Resume ends what Suspend began.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(which syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	_ = s.process.Signal(which)
	for _, pid := range children(s.process.Pid) {
		_ = syscall.Kill(pid, which)
	}
}

// end ends the server, if it runs, by a signal.
func (s *Server) end(by syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.wait(by)
	}
}

// wait sends the signal and returns when the server has ended. Whoever calls it
// holds the lock.
func (s *Server) wait(by syscall.Signal) {
	_ = s.process.Signal(by)
	<-s.ended
	s.process = nil
}
