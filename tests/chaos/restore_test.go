//go:build chaos

package chaos

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// NATS, or one of its streams, is put back from a backup after a disaster: what
// was acknowledged since then is gone. The ledger and the streams that are left
// tell what is missing, and it is done again.
func TestStreamsArePutBackFromAnOlderBackup(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, of string }{
		{"everything", ""},
		{"the chunks", "IHC_JOURNEYS"},
		{"the results", "IHC_RESULTS"},
		{"the events", "IHC_RUNS"},
	} {
		for _, writes := range []bool{false, true} {
			name := c.name + ", none of them stored"
			if writes {
				name = c.name + ", some of them stored"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				store, backup := filepath.Join(t.TempDir(), "nats"), filepath.Join(t.TempDir(), "nats")
				s, _, ctx := calmStack(t, stackOptions{store: store})
				s.startWithout("writer")
				s.request(ctx, calm.request())
				s.published(ctx, "journeys.attributed", 4)
				s.procs["nats"].kill()
				require.NoError(t, os.CopyFS(backup, os.DirFS(store)))
				require.NoError(t, s.procs["nats"].start())
				if writes {
					s.startNow("writer")
				}
				s.published(ctx, "run.extracted", 1)
				s.published(ctx, "journeys.attributed", 10)
				s.procs["nats"].kill()
				of := ""
				if c.of != "" {
					of = filepath.Join("jetstream", "$G", "streams", c.of)
				}
				require.NoError(t, os.RemoveAll(filepath.Join(store, of)))
				require.NoError(t, os.CopyFS(filepath.Join(store, of), os.DirFS(filepath.Join(backup, of))))
				require.NoError(t, s.procs["nats"].start())
				s.startNow("writer")
				s.ends(ctx)
			})
		}
	}
}
