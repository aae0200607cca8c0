package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A log that has the number of one that is gone is another: somebody uses it, and
// it stays where it is.
func TestALogWithANumberThatWasUsedBeforeStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	log := path + "-wal"
	made := func(path string) FileID {
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
		id, err := Identity(path)
		require.NoError(t, err)
		return id
	}
	file := made(path)
	was := made(log)
	note(path, file)
	made(path + ".new")
	require.NoError(t, os.Rename(path+".new", path))
	require.NoError(t, os.Remove(log))
	tick := path + ".tick" // births are told by a clock that ticks some hundred times a second
	require.Eventually(t, func() bool { return made(tick).Born != was.Born || os.Remove(tick) != nil }, 10*time.Second, time.Millisecond)
	require.NoError(t, os.Remove(tick))
	is := made(log)
	for i := 0; i < 100 && is.Inode != was.Inode; i++ { // some file systems give a number to one of the next files, others never again
		file := fmt.Sprint(path, i)
		if is = made(file); is.Inode == was.Inode {
			require.NoError(t, os.Rename(file, log))
		}
	}
	t.Logf("the number of the log was used before: %v", is.Inode == was.Inode)
	arrive(path)
	require.FileExists(t, log)
}
