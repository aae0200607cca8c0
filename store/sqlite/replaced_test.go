package sqlite

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/shop"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
)

// What is in use may be written over; the log of what was there must not come
// into what is there now.
func TestDatabaseThatIsWrittenOverInUse(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]func(by, path string) error{
		"by a new name": os.Rename,
		"byte by byte": func(by, path string) error {
			data, err := os.ReadFile(by)
			require.NoError(t, err)
			return os.WriteFile(path, data, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path, by := filepath.Join(dir, "shop.db"), filepath.Join(dir, "other.db")
			for seed, p := range map[uint64]string{1: path, 2: by} {
				_, err := GenerateShop(t.Context(), p, shop.Config{Sessions: 500, Seed: seed}, false)
				require.NoError(t, err)
			}
			want, err := os.ReadFile(by)
			require.NoError(t, err)
			extractor, writer := New(path), New(path)
			a := &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run"}, Asked: "now"}
			a.Database, _, err = extractor.Enter(t.Context(), a)
			require.NoError(t, err)
			require.NoError(t, writer.Accept(t.Context(), a))
			store1 := func() error {
				return writer.Store(t.Context(), []*ihcv1.AttributionResult{{RunId: "run", Chunk: 1, Attributions: []*ihcv1.Attribution{{ConvId: "c", SessionIds: []string{"s"}, Ihc: []uint32{10000}}}}})
			}
			require.NoError(t, store1())
			require.NoError(t, extractor.Confirm(t.Context(), a))

			require.NoError(t, how(by, path))
			require.ErrorIs(t, extractor.Confirm(t.Context(), a), store.ErrRefused)
			require.ErrorIs(t, store1(), store.ErrRefused)
			require.NoError(t, writer.Close())
			require.NoError(t, extractor.Close())
			is, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, is), "the file is another than was put there")
			for _, side := range sideFiles {
				require.NoFileExists(t, path+side)
			}
		})
	}
}

// A writer may hear of a run when its database was replaced already: what is there
// now is left as it is, to the byte, whatever the run is.
func TestDatabaseOfAnotherRunIsNotTouched(t *testing.T) {
	t.Parallel()
	for _, of := range []string{"", "run-before"} {
		path := filepath.Join(t.TempDir(), "shop.db")
		_, err := GenerateShop(t.Context(), path, shop.Config{Sessions: 500, Seed: 1}, false)
		require.NoError(t, err)
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		writer := New(path)
		a := &ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: "run", ReplayOf: of}, Asked: "now", Database: "another"}
		require.ErrorIs(t, writer.Accept(t.Context(), a), store.ErrRefused)
		require.NoError(t, writer.Close())
		is, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, is))
		for _, side := range sideFiles {
			require.NoFileExists(t, path+side)
		}
	}
}
