//go:build !linux

package pgtest

import "syscall"

func attributes(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as}
}

// children returns none: where it cannot be known, processes of a server that was
// killed end by themselves.
func children(int) []int { return nil }
