package importer

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"database/sql"
	"encoding/binary"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// database returns the bytes of a sound, empty database.
func database(tb testing.TB, script string) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "made.db")
	db, err := sql.Open("sqlite3", "file:"+path)
	require.NoError(tb, err)
	_, err = db.Exec(sqlite.InputSchema + script)
	require.NoError(tb, err)
	require.NoError(tb, db.Close())
	data, err := os.ReadFile(path)
	require.NoError(tb, err)
	return data
}

// member is a file of an archive to be made.
type member struct {
	name string
	data []byte
	edit func(*zip.FileHeader)
}

// archive makes a zip, without checking whether it makes sense.
func archive(tb testing.TB, members ...member) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		if m.edit != nil {
			m.edit(h)
		}
		f, err := w.CreateHeader(h)
		require.NoError(tb, err)
		_, err = f.Write(m.data)
		require.NoError(tb, err)
	}
	require.NoError(tb, w.Close())
	return b.Bytes()
}

func file(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

// tree lists all files below dir.
func tree(tb testing.TB, dir string) (names []string) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir && err == nil {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return nil
	})
	require.NoError(tb, err)
	return names
}

func TestImports(t *testing.T) {
	t.Parallel()
	db := database(t, "")
	for name, c := range map[string]struct {
		file         string
		data         []byte
		opts         Options
		want, member string
	}{
		"zip":             {"x.zip", archive(t, member{"shop.db", db, nil}), Options{}, "shop.db", "shop.db"},
		"stored":          {"x.zip", archive(t, member{"shop.sqlite", db, func(h *zip.FileHeader) { h.Method = zip.Store }}), Options{}, "shop.sqlite", "shop.sqlite"},
		"in folders":      {"x.zip", archive(t, member{"a/", nil, nil}, member{"a/b/Shop.SQLite3", db, nil}, member{"a/readme.txt", []byte("hello"), nil}), Options{}, "Shop.SQLite3", "a/b/Shop.SQLite3"},
		"from windows":    {"x.zip", archive(t, member{`a\shop.db`, db, nil}), Options{}, "shop.db", `a\shop.db`},
		"dot":             {"x.zip", archive(t, member{"./shop.db", db, nil}), Options{}, "shop.db", "./shop.db"},
		"beside junk":     {"x.zip", archive(t, member{"shop.db", db, nil}, member{"__MACOSX/._shop.db", []byte("x"), nil}, member{"Thumbs.db", []byte("x"), nil}, member{".DS_Store", nil, nil}), Options{}, "shop.db", "shop.db"},
		"empty log":       {"x.zip", archive(t, member{"shop.db", db, nil}, member{"shop.db-wal", nil, nil}), Options{}, "shop.db", "shop.db"},
		"not named a zip": {"challenge", archive(t, member{"shop.db", db, nil}), Options{}, "shop.db", "shop.db"},
		"renamed":         {"x.zip", archive(t, member{"shop.db", db, nil}), Options{Name: "mine"}, "mine.db", "shop.db"},
		"plain":           {"shop.db", db, Options{}, "shop.db", ""},
		"plain, renamed":  {"shop", db, Options{Name: "b.sqlite"}, "b.sqlite", ""},
		"wal mode":        {"x.zip", archive(t, member{"shop.db", database(t, "; PRAGMA journal_mode=WAL"), nil}), Options{}, "shop.db", "shop.db"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.opts.Dir = filepath.Join(t.TempDir(), "new", "data")
			from := file(t, c.file, c.data)
			got, err := Import(t.Context(), from, c.opts)
			require.NoError(t, err)
			require.Equal(t, Result{Path: filepath.Join(c.opts.Dir, c.want), Member: c.member, Bytes: int64(len(db))}, got)
			require.Equal(t, []string{c.want}, tree(t, c.opts.Dir))
			opened, err := sqlite.Open(t.Context(), got.Path, sqlite.Read)
			require.NoError(t, err)
			require.NoError(t, opened.Close())
			left, err := os.ReadFile(from)
			require.NoError(t, err)
			require.Equal(t, c.data, left, "what is imported stays as it is")
		})
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	db := database(t, "")
	sound := archive(t, member{"shop.db", db, nil})
	zipped := func(members ...member) []byte { return archive(t, members...) }
	flipped := bytes.Clone(sound) // within the packed data
	flipped[60] ^= 0xff
	random := make([]byte, 4096)
	for i := range random {
		random[i] = byte(rand.NewPCG(1, uint64(i)).Uint64())
	}
	for name, c := range map[string]struct {
		data []byte
		opts Options
		says string
	}{
		"climbs out":           {zipped(member{"../shop.db", db, nil}), Options{}, "leads out"},
		"climbs out deeper":    {zipped(member{"a/../../shop.db", db, nil}), Options{}, "leads out"},
		"climbs out backwards": {zipped(member{`a\..\..\shop.db`, db, nil}), Options{}, "leads out"},
		"climbs out beside":    {zipped(member{"shop.db", db, nil}, member{"../../etc/cron.d/x", []byte("x"), nil}), Options{}, "leads out"},
		"absolute":             {zipped(member{"/tmp/shop.db", db, nil}), Options{}, "absolute"},
		"drive":                {zipped(member{`C:\shop.db`, db, nil}), Options{}, "absolute"},
		"nul":                  {zipped(member{"shop.db\x00.txt", db, nil}), Options{}, "ends early"},
		"link":                 {zipped(member{"shop.db", []byte("/etc/passwd"), func(h *zip.FileHeader) { h.SetMode(fs.ModeSymlink | 0o777) }}), Options{}, "is a link"},
		"device":               {zipped(member{"shop.db", nil, func(h *zip.FileHeader) { h.SetMode(fs.ModeDevice | 0o666) }}), Options{}, "no regular file"},
		"none":                 {zipped(member{"a.csv", nil, nil}, member{"b.csv", nil, nil}), Options{}, `only "a.csv", "b.csv"`},
		"no members":           {zipped(), Options{}, "only nothing"},
		"several":              {zipped(member{"a.db", db, nil}, member{"b/c.sqlite", db, nil}), Options{}, `2 databases: "a.db", "b/c.sqlite"`},
		"log":                  {zipped(member{"shop.db", db, nil}, member{"shop.db-wal", []byte("x"), nil}), Options{}, "in use"},
		"encrypted":            {zipped(member{"shop.db", db, func(h *zip.FileHeader) { h.Flags |= 1 }}), Options{}, "is encrypted"},
		"unknown method":       {withMethod(sound, 14), Options{}, "method 14"},
		"cut short":            {sound[:len(sound)/2], Options{}, "damaged or incomplete"},
		"only a start":         {[]byte("PK"), Options{}, "damaged or incomplete"},
		"flipped bit":          {flipped, Options{}, "damaged or incomplete"},
		"text in it":           {zipped(member{"shop.db", []byte("hello"), nil}), Options{}, "a text file"},
		"empty in it":          {zipped(member{"shop.db", nil, nil}), Options{}, "is empty"},
		"half in it":           {zipped(member{"shop.db", db[:len(db)/2], nil}), Options{}, "cut short"},
		"nonsense in it":       {zipped(member{"shop.db", append(bytes.Clone(db[:100]), random...), nil}), Options{}, "shop.db"},
		"too large":            {sound, Options{MaxBytes: int64(len(db)) - 1}, "at most"},
		"bomb":                 {packedZeros(t, anyRatioBytes+1), Options{}, "zip bomb"},
		"huge bomb":            {packedZeros(t, 1<<62), Options{}, "at most"},
		"boundless bomb":       {packedZeros(t, 1<<64-1), Options{}, "at most"},
		"lying bomb":           {packedZeros(t, 4096), Options{}, "damaged"},
		"name with folder":     {sound, Options{Name: "../x.db"}, "cannot be the name"},
		"name is a folder":     {sound, Options{Name: ".."}, "cannot be the name"},
		"name with line break": {sound, Options{Name: "a\nb.db"}, "cannot be the name"},
		"text":                 {[]byte("a,b\n"), Options{}, "a text file"},
		"empty":                {nil, Options{}, "is empty"},
		"random":               {random, Options{}, "no SQLite database"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c.opts.Dir = filepath.Join(dir, "data")
			from := file(t, "x.zip", c.data)
			_, err := Import(t.Context(), from, c.opts)
			require.Error(t, err)
			require.Equal(t, errkind.Input, errkind.KindOf(err), err)
			require.Contains(t, err.Error(), c.says)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "incomplete-", "no temporary names")
			for _, left := range tree(t, dir) {
				require.Equal(t, "data", left, "nothing is left")
			}
		})
	}
}

// withMethod changes how the members say they are packed.
func withMethod(data []byte, method uint16) []byte {
	data = bytes.Clone(data)
	for _, h := range []struct {
		magic  string
		offset int
	}{{"PK\x03\x04", 8}, {"PK\x01\x02", 10}} {
		binary.LittleEndian.PutUint16(data[bytes.Index(data, []byte(h.magic))+h.offset:], method)
	}
	return data
}

// packedZeros packs many zeros, and says that they unpack to size.
func packedZeros(t *testing.T, size uint64) []byte {
	t.Helper()
	var packed, b bytes.Buffer
	d, err := flate.NewWriter(&packed, flate.BestCompression)
	require.NoError(t, err)
	_, err = d.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, d.Close())
	w := zip.NewWriter(&b)
	raw, err := w.CreateRaw(&zip.FileHeader{Name: "shop.db", Method: zip.Deflate,
		UncompressedSize64: size, CompressedSize64: uint64(packed.Len())})
	require.NoError(t, err)
	_, err = raw.Write(packed.Bytes())
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	sound := file(t, "x.zip", archive(t, member{"shop.db", database(t, ""), nil}))
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	for name, c := range map[string]struct{ file, dir string }{
		"missing":         {filepath.Join(dir, "none.zip"), dir},
		"directory":       {dir, dir},
		"pipe":            {pipe, dir},
		"file in the way": {sound, filepath.Join(sound, "data")},
	} {
		_, err := Import(t.Context(), c.file, Options{Dir: c.dir})
		require.Equal(t, errkind.Environment, errkind.KindOf(err), name)
	}
	require.Equal(t, []string{"pipe"}, tree(t, dir))
}

func TestReplaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := archive(t, member{"shop.db", database(t, ""), nil})
	second := archive(t, member{"shop.db", database(t, "; INSERT INTO session_costs VALUES ('s', 1)"), nil})
	got, err := Import(t.Context(), file(t, "x.zip", first), Options{Dir: dir})
	require.NoError(t, err)

	_, err = Import(t.Context(), file(t, "x.zip", second), Options{Dir: dir})
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.Contains(t, err.Error(), "--force")
	require.Equal(t, 0, costs(t, got.Path))

	_, err = Import(t.Context(), file(t, "x.zip", second[:len(second)-30]), Options{Dir: dir, Replace: true})
	require.Error(t, err)
	require.Equal(t, 0, costs(t, got.Path), "what cannot be imported replaces nothing")

	_, err = Import(t.Context(), file(t, "x.zip", second), Options{Dir: dir, Replace: true})
	require.NoError(t, err)
	require.Equal(t, 1, costs(t, got.Path))
	require.Equal(t, []string{"shop.db"}, tree(t, dir))
}

func costs(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path, sqlite.Read)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM session_costs`).Scan(&n))
	return n
}

func TestPlainInUse(t *testing.T) {
	t.Parallel()
	path := file(t, "shop.db", database(t, ""))
	require.NoError(t, os.WriteFile(path+"-wal", []byte("log"), 0o600))
	_, err := Import(t.Context(), path, Options{Dir: t.TempDir()})
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.Contains(t, err.Error(), "in use")
}

func TestOntoItself(t *testing.T) {
	t.Parallel()
	path := file(t, "shop.db", database(t, ""))
	_, err := Import(t.Context(), path, Options{Dir: filepath.Dir(path), Replace: true})
	require.NoError(t, err)
	require.Equal(t, 0, costs(t, path))
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	_, err := Import(ctx, file(t, "x.zip", archive(t, member{"shop.db", database(t, ""), nil})), Options{Dir: dir})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, tree(t, dir))
}

// The shop published with the challenge, if it is at hand.
func TestSharedShop(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("IHC_SHARED_DATA")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared", "data")
	}
	zipped := filepath.Join(shared, "shop.zip")
	if _, err := os.Stat(zipped); err != nil {
		t.Skip("no shop.zip in $IHC_SHARED_DATA")
	}
	got, err := Import(t.Context(), zipped, Options{Dir: t.TempDir()})
	require.NoError(t, err)
	db, err := sqlite.Open(t.Context(), got.Path, sqlite.Read)
	require.NoError(t, err)
	defer db.Close()
	r, err := sqlite.Validate(t.Context(), db, findings.Options{StartDate: "2021-06-01", EndDate: "2021-06-30"})
	require.NoError(t, err)
	require.NoError(t, r.Err())
	require.Equal(t, []int64{29_269, 2_488, 24_694}, []int64{r.Sessions, r.Conversions, r.Costs})
	require.Zero(t, r.Count(findings.Warning))
}
