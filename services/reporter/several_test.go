package reporter

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/stream/streamtest"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// twoReporters has two reporters of a database that is written take the same run
// at the same time, as happens when the first is thought to be dead: with files in
// one directory, or in one each.
func twoReporters(t *testing.T, database string) {
	dir := t.TempDir()
	for name, out := range map[string][2]string{"one directory": {"out", "out"}, "one each": {"first", "second"}} {
		b := streamtest.New(t)
		written(b, 0)
		again, err := proto.Marshal(&ihcv1.RunEvent{RunId: "run", Event: &ihcv1.RunEvent_Written{Written: &ihcv1.RunWritten{Counts: counts, Requests: 3, Model: "api"}}})
		require.NoError(t, err)
		for range 5 {
			_, err := b.JS.Publish(b.Ctx, "ihc.v1.run.written.run", again)
			require.NoError(t, err)
		}
		for _, to := range out {
			serve(b, Config{Database: database, Out: filepath.Join(dir, to)}, nil)
		}
		csv := b.Await("run", isReported).GetReported().GetReport().GetCsv()
		b.Idle(stream.Written)
		events, err := b.Events(b.Ctx, "run")
		require.NoError(t, err)
		reports := 0
		for _, e := range events {
			if isReported(e.Event) {
				reports++
			}
			require.Nil(t, e.Event.GetFailed(), name)
		}
		require.Equal(t, 1, reports, name)
		require.Empty(t, b.Dead(0))
		text, err := os.ReadFile(csv)
		require.NoError(t, err)
		require.Equal(t, wantCSV, string(text), name)
		for _, file := range Files() { // whoever came second has written the same, or nothing
			first, err := os.ReadFile(filepath.Join(filepath.Dir(csv), file))
			require.NoError(t, err)
			for _, to := range out {
				second, err := os.ReadFile(filepath.Join(dir, to, file))
				if os.IsNotExist(err) {
					continue
				}
				require.NoError(t, err)
				if file != ReconciliationFile { // which names the place of the CSV
					require.Equal(t, string(first), string(second), "%s of %s", file, name)
				}
			}
		}
	}
}

func TestTwoReportersMakeOneReport(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	newDB(t, path)
	twoReporters(t, path)
}
