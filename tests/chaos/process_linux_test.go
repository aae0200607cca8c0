//go:build chaos

package chaos

import "syscall"

// childAttributes lets no child outlive the tests.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
