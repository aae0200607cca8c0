//go:build browser

package browser

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// The consoles of the shops, by their addresses without a slash at the end.
var demoSite, hostileSite string

// up runs the stack of a shop with its console until stop is called.
func up(s shop, site *string) (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "up", "--db", s.db, "--out", s.out, "--data-dir", filepath.Join(s.out, "streams"), "--listen", "127.0.0.1:0", "--console", address)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() }
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "console: ") {
			*site = "http://" + address // which is held since before it was told
			return stop, nil
		}
	}
	stop()
	return nil, errors.New("`ihc up` has no console")
}

var online = view{width: 1200, height: 900, online: true}

// calm fails the test if a page of a site asked another, or complained.
func (b *tab) calm(site string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		require.True(b.t, strings.HasPrefix(r, site+"/") || strings.HasPrefix(r, "data:"), r)
	}
	require.Empty(b.t, b.troubles)
}

// until waits for an expression to hold on a page.
func (b *tab) until(expression string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](`(() => { try { return !!(`+expression+`) } catch { return false } })()`))
		return err == nil && is
	}, patience/2, 50*time.Millisecond, expression)
}

// click clicks what a selector finds, by its text where there are several.
func (b *tab) click(selector, text string) {
	b.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll(%q)].find((e) => e.textContent.trim().startsWith(%q))`, selector, text)
	b.until(find)
	b.do(find + `.click()`)
}

// A run is started, watched to its end, replayed and explained, by clicks alone.
func TestRunIsStartedWatchedReplayedAndExplainedByClicks(t *testing.T) {
	b := open(t, demoSite+"/", online)
	b.click("nav a", "Start")
	b.click("button", "Show what it would do")
	b.until(`document.querySelector("#plan-title")`)
	b.click("button", "Start the run")
	b.until(`location.pathname.startsWith("/runs/") && document.querySelector("#live[data-ended]")`)
	b.until(`document.querySelector("#live .status").textContent === "completed"`)
	require.Equal(t, 4, eval[int](b, `document.querySelectorAll(".stages > li.w-done").length`))
	first := eval[string](b, `location.pathname`)
	b.click("a", "Replay")
	b.until(`document.querySelector("form fieldset")`)
	b.click("button", "Replay the run")
	b.until(`location.pathname !== "` + first + `" && location.pathname.split("/").length === 3 && document.querySelector("#live[data-ended]")`)
	require.Contains(t, eval[string](b, `document.querySelector("main").textContent`), "replay of "+strings.TrimPrefix(first, "/runs/"))
	require.Equal(t, "completed", eval[string](b, `document.querySelector("#live .status").textContent`))
	b.click("a", "The report")
	b.until(`document.querySelector("#proof, .proof")`)
	b.click("nav a", "Explain")
	b.until(`document.querySelector("input[name=conversion]")`)
	conversion := conversionOf(t, demo)
	b.run(chromedp.SendKeys("input[name=conversion]", conversion))
	b.click("button", "Explain")
	b.until(`document.querySelectorAll(".journey > li").length > 0`)
	require.Contains(t, eval[string](b, `document.querySelector("h2").textContent`), conversion)
	b.calm(demoSite)
}

// conversionOf returns a conversion that is attributed.
func conversionOf(t *testing.T, s shop) string {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+s.db+"?mode=ro")
	require.NoError(t, err)
	defer db.Close()
	var id string
	require.NoError(t, db.QueryRow(`SELECT min(conv_id) FROM attribution_customer_journey`).Scan(&id))
	return id
}

// cellOf names a channel and a day of which there is something to explain.
func cellOf(t *testing.T, s shop) string {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+s.db+"?mode=ro")
	require.NoError(t, err)
	defer db.Close()
	var channel, date string
	require.NoError(t, db.QueryRow(`SELECT channel_name, date FROM channel_reporting ORDER BY ihc DESC, 1, 2 LIMIT 1`).Scan(&channel, &date))
	return url.Values{"channel": {channel}, "date": {date}}.Encode()
}

// sites are the pages of a console, with a run that there is.
func pagesOf(t *testing.T, site string, s shop) []string {
	t.Helper()
	b := open(t, site+"/", online)
	if eval[int](b, `document.querySelectorAll("table.runs tbody tr").length`) == 0 {
		b.click("nav a", "Start")
		b.click("button", "Show what it would do")
		b.click("button", "Start the run")
		b.until(`document.querySelector("#live[data-ended]")`)
		b.run(chromedp.Navigate(site + "/"))
	}
	b.until(`document.querySelector("table.runs tbody a")`)
	run := eval[string](b, `document.querySelector("table.runs tbody a").getAttribute("href")`)
	return []string{"/", "/?state=failed", run, run + "/replay", run + "/cancel", "/start", "/start?plan=1", "/report", "/report?compare=previous",
		"/explain", "/explain?conversion=" + url.QueryEscape(conversionOf(t, s)), "/explain?" + cellOf(t, s), "/data", "/data?check=1", "/login"}
}

func TestConsoleIsFitForPhonesTheDarkAndReadersOfScreens(t *testing.T) {
	script := axe(t)
	for _, one := range []struct {
		site string
		shop shop
	}{{demoSite, demo}, {hostileSite, hostile}} {
		for _, path := range pagesOf(t, one.site, one.shop) {
			for how, v := range map[string]view{"wide": online, "phone in the dark": {width: 320, height: 640, dark: true, online: true}} {
				b := open(t, one.site+path, v)
				b.do(openAll)
				require.LessOrEqual(t, eval[int64](b, `document.documentElement.scrollWidth`), v.width, "%s, %s", path, how)
				require.Equal(t, 2, eval[int](b, `document.querySelectorAll("script").length`), path)
				require.Zero(t, eval[int](b, `document.querySelectorAll("img, iframe, object, style").length`), path)
				b.calm(one.site) // the checker makes styles of its own
				b.do(script)
				require.Empty(t, eval[[]string](b, `axe.run().then((r) => r.violations.filter((v) => ["serious", "critical"].includes(v.impact)).flatMap((v) => v.nodes.slice(0, 3).map((n) => v.id + ": " + n.html.slice(0, 200) + " " + n.failureSummary)))`), "%s, %s", path, how)
			}
		}
	}
}

func TestConsoleWorksWithoutItsScript(t *testing.T) {
	v := online
	v.withoutScript = true
	for _, path := range pagesOf(t, demoSite, demo) {
		b := open(t, demoSite+path, v)
		html := eval[string](b, `document.querySelector("main").textContent`)
		require.NotEmpty(t, strings.TrimSpace(html), path)
		b.calm(demoSite)
	}
}
