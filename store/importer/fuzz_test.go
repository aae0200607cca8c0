package importer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// FuzzImport feeds arbitrary files: each is either imported, as one database
// where it belongs, or refused, and then nothing is left behind.
func FuzzImport(f *testing.F) {
	db := database(f, "")
	f.Add(db)
	f.Add(archive(f, member{"shop.db", db, nil}))
	f.Add(archive(f, member{"a/b.sqlite", db[:2000], nil}, member{"../x", nil, nil}))
	f.Add(archive(f))
	f.Add([]byte("PK\x05\x06"))
	f.Add([]byte("SQLite format 3\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		from := filepath.Join(dir, "input")
		if err := os.WriteFile(from, data, 0o600); err != nil {
			t.Fatal(err)
		}
		opts := Options{Dir: filepath.Join(dir, "data"), Name: "shop.db", MaxBytes: 1 << 20}
		got, err := Import(t.Context(), from, opts)
		left := tree(t, dir)
		if err != nil {
			for _, name := range left {
				if name != "input" && name != "data" {
					t.Fatalf("%v, but it left %q", err, left)
				}
			}
			return
		}
		if len(left) != 3 { // data, data/shop.db, input
			t.Fatalf("it left %q", left)
		}
		if err := sqlite.CheckFile(got.Path); err != nil {
			t.Fatal(err)
		}
	})
}
