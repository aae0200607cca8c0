//go:build browser

package browser

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/store/sqlite" // also registers the driver
)

// What the tests look at, made once: the program, a browser, and the shops that
// the program made reports of.
var (
	program string
	browser context.Context
	demo    shop
	hostile shop
	empty   shop
)

// shop is a database and the directory with its report.
type shop struct{ db, out string }

func (s shop) page() string { return "file://" + filepath.Join(s.out, "report.html") }

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		log.Fatal(err)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "browser")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what stays is the system's to clean
	program = filepath.Join(dir, "ihc")
	demo = shop{filepath.Join(dir, "demo", "shop.db"), filepath.Join(dir, "demo")}
	hostile = shop{filepath.Join(dir, "hostile", "shop.db"), filepath.Join(dir, "hostile")}
	empty = shop{filepath.Join(dir, "empty", "shop.db"), filepath.Join(dir, "empty")}
	if err := errors.Join(fill(hostile, hostileRows), fill(empty, func(*sql.Tx) error { return nil })); err != nil {
		return 0, err
	}
	for _, command := range [][]string{
		{"go", "build", "-C", "../../cmd/ihc", "-o", program, "."},
		{program, "demo", "--out", demo.out},
		{program, "run", "--db", hostile.db, "--out", hostile.out, "--model", "builtin"},
		{program, "run", "--db", empty.db, "--out", empty.out, "--model", "builtin"},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
		}
	}
	chromium, err := findChromium()
	if err != nil {
		return 0, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU)
	all, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	ctx, end := chromedp.NewContext(all)
	defer end()
	if err := chromedp.Do(ctx); err != nil {
		return 0, fmt.Errorf("start %s: %w", chromium, err)
	}
	browser = ctx
	stop1, err := up(demo, &demoSite)
	if err != nil {
		return 0, err
	}
	defer stop1()
	stop2, err := up(hostile, &hostileSite)
	if err != nil {
		return 0, err
	}
	defer stop2()
	return m.Run(), nil
}

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("the browser tests need Chromium: apt-get install chromium")
}

// fill makes a shop with these rows.
func fill(s shop, rows func(*sql.Tx) error) error {
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	db, err := sql.Open("sqlite3", s.db)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(sqlite.InputSchema); err != nil {
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	if err := rows(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// hostileNames are channels that a page, a spreadsheet or a terminal might obey.
var hostileNames = []string{"</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "=cmd|' /C calc'!A0", "\u202eطرق الدفع", "עברית ערוץ",
	strings.Repeat("x", 2000), "", "two\nlines", "</style><style>body{display:none}", `]]>&amp;"'`, "😀 👩‍👩‍👧", "{{.Page}}", "javascript:alert(1)", "\x1b[31mred"}

func hostileRows(tx *sql.Tx) error {
	n := 0
	for i := range 60 {
		for k, channel := range hostileNames {
			n++
			id := fmt.Sprintf("<b>s%d", n)
			if _, err := tx.Exec(`INSERT INTO session_sources VALUES (?, ?, ?, ?, ?, ?, ?, 0)`, id, fmt.Sprint("u", n%89), fmt.Sprintf("2023-07-%02d", 1+i/2), fmt.Sprintf("%02d:00:00", k), channel, k%2, k/2%2); err != nil {
				return err
			}
			if _, err := tx.Exec(`INSERT INTO session_costs VALUES (?, ?)`, id, float64(k)*0.37); err != nil {
				return err
			}
		}
	}
	for i := range 89 {
		id := fmt.Sprintf("<script>alert(2)</script>%d", i)
		if _, err := tx.Exec(`INSERT INTO conversions VALUES (?, ?, ?, '23:00:00', ?)`, id, fmt.Sprint("u", i), fmt.Sprintf("2023-07-%02d", 10+i%20), 10+float64(i)*1.5); err != nil {
			return err
		}
	}
	return nil
}

// ihc runs the program and returns what it prints.
func ihc(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).Output()
	require.NoError(t, err)
	return string(out)
}
