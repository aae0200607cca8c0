package cli

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// disk mounts a small file system in the house.
func disk(h *house, name, size string) string {
	h.t.Helper()
	dir := h.path(name)
	require.NoError(h.t, os.Mkdir(dir, 0o755))
	switch err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENODEV):
		h.t.Skipf("a small file system cannot be mounted here (%v): run as root, outside of a container without rights", err)
	default:
		require.NoError(h.t, err)
	}
	h.t.Cleanup(func() { require.NoError(h.t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// A disk with too little room for the report, or for the streams, is told before
// anything is scored, wherever the directory is from.
func TestDiskWithoutRoomIsToldAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	db := smallShop(h)
	full := disk(h, "full", "128k")
	for _, test := range []struct {
		says string
		args []string
	}{
		{"--data-dir: cannot write to the data directory " + full, []string{"run", "--db", db, "--out", h.path("out"), "--data-dir", full}},
		{"--out: cannot write to the output directory " + full, []string{"run", "--db", db, "--out", full}},
		{"--data-dir: cannot write to the data directory " + full, []string{"up", "--db", db, "--out", h.path("out"), "--data-dir", full, "--listen", "127.0.0.1:0"}},
	} {
		r := h.run(test.args...)
		require.Equal(t, 3, r.code, test.args)
		require.Equal(t, "ihc: "+test.says+": no space left on device; 1.0 MB must be free there", r.complaint(t))
	}
	narrow := h.with("TMPDIR="+full).run("run", "--db", db, "--out", h.path("out"))
	require.Equal(t, 3, narrow.code)
	require.Regexp(t, "^ihc: cannot write to the temporary directory "+full+`/ihc-run-\d+: no space left on device; 1.0 MB must be free there$`, narrow.complaint(t))
	left, err := os.ReadDir(full)
	require.NoError(t, err)
	require.Empty(t, left, "what was tried is gone")
}
