package importer

import "syscall"

// freeBytes returns how much can be written to the file system of dir.
func freeBytes(dir string) (int64, bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return saturating(int64(st.Bavail), int64(st.Bsize)), true //nolint:unconvert // of another type on other systems
}
