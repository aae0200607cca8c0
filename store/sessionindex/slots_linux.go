package sessionindex

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// newSlots returns so many free slots, and what gives them back. They are asked
// of the system and not of Go: a heap that is full of them would be searched for
// garbage again and again, since it is near its limit. And they are asked for in
// large pages: nearly each look at an index is at another page, and to find out
// where a small one lies takes as long as the look itself.
func newSlots(n int) (slots []slot, free func()) {
	memory, err := unix.Mmap(-1, 0, n*SlotBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]slot, n), func() {}
	}
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // where there are none, small ones do
	// Zeroed, aligned to a page, and as long as the slots; without pointers.
	slots = unsafe.Slice((*slot)(unsafe.Pointer(&memory[0])), n) //nolint:gosec // see above
	return slots, func() { _ = unix.Munmap(memory) }
}
