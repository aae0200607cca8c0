package sqlite

import (
	"os"
	"runtime"
	"syscall"
)

// dropRights takes the superuser's right to ignore file modes from the calling
// goroutine's thread until the function it returns is called.
func dropRights() func() {
	if os.Geteuid() != 0 {
		return func() {}
	}
	const nobody = 65534
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0)
	return func() {
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0)
		runtime.UnlockOSThread()
	}
}
