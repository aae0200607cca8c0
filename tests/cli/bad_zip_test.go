package cli

import (
	"archive/zip"
	"bytes"
	"hash/crc32"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// member is a file of an archive.
type member struct {
	name string
	data []byte
	edit func(*zip.FileHeader)
}

// badZips are archives as somebody might send them. DB stands for a sound
// database.
var badZips = []struct {
	name    string
	members []member
	spoil   func([]byte) []byte // of the archive's bytes
	args    []string
	before  func(t *testing.T, h *house)
	exit    int
	says    string
}{
	{name: "a database in a folder", members: []member{{name: "challenge/data/shop.db"}}},
	{name: "a database among other files", members: []member{{name: "README.md", data: []byte("hello")}, {name: "__MACOSX/._shop.db", data: []byte("x")}, {name: "shop.db"}}},
	{name: "a name of its own", members: []member{{name: "shop.db"}}, args: []string{"--name", "other.db"}},

	{name: "no archive", spoil: func([]byte) []byte { return []byte("hello, world") }, exit: 2, says: "it is a text file; ihc import takes a zip with a database in it, or a database"},
	{name: "an empty file", spoil: func([]byte) []byte { return nil }, exit: 2, says: "the file is empty"},
	{name: "an archive cut off", members: []member{{name: "shop.db"}}, spoil: func(b []byte) []byte { return b[:len(b)/2] }, exit: 2, says: "a damaged or incomplete zip"},
	{name: "an archive overwritten", members: []member{{name: "shop.db"}}, spoil: func(b []byte) []byte { copy(b[200:], noise(400)); return b }, exit: 2, says: "is damaged or incomplete"},
	{name: "a wrong checksum", members: []member{{name: "shop.db", edit: func(h *zip.FileHeader) { h.CRC32 ^= 1 }}}, exit: 2, says: "is damaged or incomplete"},
	{name: "an empty archive", exit: 2, says: "holds no database (*.db, *.sqlite, *.sqlite3), only nothing"},
	{name: "no database in it", members: []member{{name: "orders.csv", data: []byte("a,b")}}, exit: 2, says: `holds no database (*.db, *.sqlite, *.sqlite3), only "orders.csv"`},
	{name: "an archive in an archive", members: []member{{name: "shop.zip", data: []byte("PK\x03\x04")}}, exit: 2, says: `only "shop.zip"`},
	{name: "two databases", members: []member{{name: "a.db"}, {name: "b/c.sqlite"}}, exit: 2, says: `holds 2 databases: "a.db", "b/c.sqlite"`},
	{name: "a database that is text", members: []member{{name: "shop.db", data: []byte("not a database at all")}}, exit: 2, says: "it is a text file"},
	{name: "a database that is empty", members: []member{{name: "shop.db", data: []byte{}}}, exit: 2, says: "the file is empty"},
	{name: "a database that is noise", members: []member{{name: "shop.db", data: noise(5000)}}, exit: 2, says: "of another kind, or encrypted"},
	{name: "a name that leads out", members: []member{{name: "../../shop.db"}}, exit: 2, says: "leads out of the directory"},
	{name: "a name that leads out in the other slashes", members: []member{{name: `..\..\shop.db`}}, exit: 2, says: "leads out of the directory"},
	{name: "another name that leads out", members: []member{{name: "shop.db"}, {name: "a/../../../.profile", data: []byte("evil")}}, exit: 2, says: "is not safe to unpack"},
	{name: "an absolute name", members: []member{{name: "/etc/shop.db"}}, exit: 2, says: "has an absolute name"},
	{name: "a drive's name", members: []member{{name: `C:\shop.db`}}, exit: 2, says: "has an absolute name"},
	{name: "a link", members: []member{{name: "shop.db", data: []byte("/etc/passwd"), edit: func(h *zip.FileHeader) { h.SetMode(fs.ModeSymlink | 0o777) }}}, exit: 2, says: "is a link"},
	{name: "encrypted", members: []member{{name: "shop.db", edit: func(h *zip.FileHeader) { h.Flags |= 1 }}}, exit: 2, says: "is encrypted; unpack it with its password"},
	{name: "packed by another method", members: []member{{name: "shop.db", edit: func(h *zip.FileHeader) { h.Method = 99 }}}, exit: 2, says: "packed by method 99, which is not supported"},
	{name: "a bomb", members: []member{{name: "shop.db", data: append([]byte("SQLite format 3\x00"), make([]byte, 100<<20)...), edit: func(h *zip.FileHeader) { h.Method = zip.Deflate }}}, exit: 2, says: "as a zip bomb does"},
	{name: "packed with its log", members: []member{{name: "shop.db"}, {name: "shop.db-wal", data: []byte("x")}}, exit: 2, says: "was packed while its database was in use"},
	{name: "a target that is there", members: []member{{name: "shop.db"}}, before: func(t *testing.T, h *house) {
		t.Helper()
		text(t, h.path("data", "shop.db"), "mine")
	}, exit: 2, says: "is already there; choose another name, or --force to replace it"},
	{name: "a target's log that is there", members: []member{{name: "shop.db"}}, before: func(t *testing.T, h *house) {
		t.Helper()
		text(t, h.path("data", "shop.db-wal"), "mine")
	}, exit: 2, says: "is already there"},
	{name: "a target elsewhere", members: []member{{name: "shop.db"}}, args: []string{"--name", "../shop.db"}, exit: 2, says: "cannot be the name of a database file"},
	{name: "a target that is no directory", members: []member{{name: "shop.db"}}, before: func(t *testing.T, h *house) {
		t.Helper()
		text(t, h.path("data"), "mine")
	}, exit: 3, says: "not a directory"},
	{name: "limits of nothing", members: []member{{name: "shop.db"}}, args: []string{"--max-gib", "0"}, exit: 2, says: "--max-gib 0"},
}

func TestBadZips(t *testing.T) {
	t.Parallel()
	var db []byte
	func() {
		path := t.TempDir() + "/shop.db"
		script(t, path, sound)
		db = []byte(read(t, path))
	}()
	for _, c := range badZips {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			archive := pack(t, c.members, db)
			if c.spoil != nil {
				archive = c.spoil(archive)
			}
			require.NoError(t, os.WriteFile(h.path("challenge.zip"), archive, 0o600))
			if c.before != nil {
				c.before(t, h)
			}
			before := stateOf(t, h.path("data", "shop.db"), h.path("data"))
			entries := list(t, h.dir)
			r := h.run(append([]string{"import", "challenge.zip"}, c.args...)...)
			if c.exit == 0 {
				require.Zero(t, r.code, r.stderr)
				name := "shop.db"
				if len(c.args) > 0 {
					name = c.args[1]
				}
				require.Contains(t, r.stdout, "imported data/"+name)
				require.Equal(t, string(db), read(t, h.path("data", name)), "the database is not the one that was packed")
				require.Equal(t, []string{name}, list(t, h.path("data")))
				return
			}
			requireRefused(t, r, c.exit, c.says, before, stateOf(t, h.path("data", "shop.db"), h.path("data")))
			require.Empty(t, unexpected(entries, list(t, h.dir)), "it left something behind")
		})
	}
}

// unexpected returns the names that are new, other than that of an empty data
// directory.
func unexpected(before, after []string) []string {
	var names []string
	for _, name := range after {
		if !strings.Contains(strings.Join(before, "\n"), name) && name != "data" {
			names = append(names, name)
		}
	}
	return names
}

// pack makes an archive; a member without data is the database.
func pack(t *testing.T, members []member, db []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		data := m.data
		if data == nil {
			data = db
		}
		h := &zip.FileHeader{Name: m.name, Method: zip.Store}
		h.CRC32, h.CompressedSize64, h.UncompressedSize64 = crc32.ChecksumIEEE(data), uint64(len(data)), uint64(len(data))
		if m.edit != nil {
			m.edit(h)
		}
		if h.Method == zip.Deflate {
			into, err := w.CreateHeader(h)
			require.NoError(t, err)
			_, err = into.Write(data)
			require.NoError(t, err)
			continue
		}
		into, err := w.CreateRaw(h) // as it says, even where that is a lie
		require.NoError(t, err)
		_, err = into.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}
