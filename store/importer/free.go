package importer

import "syscall"

// Free returns how many bytes can be written to the file system of dir; it is not
// known where that cannot be asked.
func Free(dir string) (int64, bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return saturating(int64(st.Bavail), int64(st.Bsize)), true //nolint:unconvert // of another type on other systems
}
