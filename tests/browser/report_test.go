//go:build browser

package browser

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

var shops = map[string]*shop{"demo": &demo, "hostile": &hostile, "empty": &empty}

var views = map[string]view{
	"wide": wide, "dark": {width: 1200, height: 900, dark: true}, "phone": {width: 320, height: 640}, "phone in the dark": {width: 320, height: 640, dark: true},
	"still": {width: 1200, height: 900, noMove: true}, "paper": {width: 700, height: 1000, print: true},
}

const openAll = `document.querySelectorAll("details").forEach((d) => { d.open = true; })`

func TestNothingIsFetchedAndNothingOverflowsInAnyView(t *testing.T) {
	for name, s := range shops {
		for how, v := range views {
			b := open(t, s.page(), v)
			require.LessOrEqual(t, eval[int64](b, `document.documentElement.scrollWidth`), v.width, "%s, %s", name, how)
			b.do(openAll)
			require.LessOrEqual(t, eval[int64](b, `document.documentElement.scrollWidth`), v.width, "%s, %s, everything open", name, how)
			if v.noMove {
				require.Zero(t, eval[int](b, `document.getAnimations().length`))
				require.Equal(t, "auto", eval[string](b, `getComputedStyle(document.documentElement).scrollBehavior`))
			}
			if v.dark {
				require.Equal(t, "rgb(20, 24, 30)", eval[string](b, `getComputedStyle(document.body).backgroundColor`))
			}
			b.sound()
		}
	}
}

// axe returns the script of the checker.
func axe(t *testing.T) string {
	t.Helper()
	script, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	require.NoError(t, err, "npm install first: `make browser` does")
	return string(script)
}

func TestCheckerOfAccessibilityFindsNothingSerious(t *testing.T) {
	script := axe(t)
	for name, s := range shops {
		for how, v := range views {
			if v.print {
				continue
			}
			b := open(t, s.page(), v)
			b.do(openAll)
			b.do(script)
			found := eval[[]string](b, `axe.run().then((r) => r.violations.filter((v) => ["serious", "critical"].includes(v.impact)).flatMap((v) => v.nodes.slice(0, 3).map((n) => v.id + ": " + n.html.slice(0, 200) + " " + n.failureSummary)))`)
			require.Empty(t, found, "%s, %s", name, how)
		}
	}
}

func TestPageIsCompleteWithoutItsScript(t *testing.T) {
	with := open(t, demo.page(), wide)
	without := open(t, demo.page(), view{width: 1200, height: 900, withoutScript: true})
	html := eval[string](without, `document.documentElement.outerHTML`) // which is not of the page
	require.NotContains(t, html, "<button")
	require.Equal(t, eval[int](with, `document.querySelectorAll("td").length`), strings.Count(html, "<td"))
	require.Positive(t, strings.Count(html, "<details"))
	without.sound()
}

func TestPageIsPrinted(t *testing.T) {
	for name, s := range shops {
		b := open(t, s.page(), wide)
		pdf, err := chromedp.Run(b.ctx, chromedp.PrintToPDF(chromedp.PDFPaper(chromedp.PaperA4), chromedp.PDFPrintBackground()))
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(pdf, []byte("%PDF")), name)
		require.Contains(t, string(pdf), "/MediaBox [0 0 59", "%s: on A4", name)
		b.sound()
	}
}

// Whatever can be reached is reached in the order in which it is read, and shows
// that it is.
func TestTabGoesThroughThePageInItsOrder(t *testing.T) {
	b := open(t, demo.page(), wide)
	b.do(`window.seen = []; document.addEventListener("focusin", (e) => seen.push(e.target))`)
	for range 60 {
		b.run(chromedp.KeyEvent(kb.Tab))
	}
	require.Equal(t, "Skip to the content", eval[string](b, `seen[0].textContent`))
	require.Greater(t, eval[int](b, `seen.length`), 40)
	b.do(`window.end = seen.findIndex((e, i) => i > 0 && e === seen[0]); if (end > 0) seen.length = end`) // and so on from the beginning
	require.Empty(t, eval[[]string](b, `seen.filter((e, i) => i > 0 && !(seen[i - 1].compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING)).map((e) => e.outerHTML.slice(0, 200))`))
	require.NotEqual(t, "none", eval[string](b, `getComputedStyle(document.activeElement).outlineStyle`))
}

// table is a sheet as `ihc report --format json` writes it.
type table struct {
	Name string
	Rows []map[string]any
}

func tables(t *testing.T, s shop) map[string]table {
	t.Helper()
	all := map[string]table{}
	for _, by := range []string{"channel", "day"} {
		var report struct{ Tables []table }
		d := json.NewDecoder(strings.NewReader(ihc(t, "report", "--db", s.db, "--by", by, "--phases", "--paths", "--unattributed", "--format", "json")))
		d.UseNumber()
		require.NoError(t, d.Decode(&report))
		for _, sheet := range report.Tables {
			all[sheet.Name] = sheet
		}
	}
	return all
}

// Every table of the page has the rows of the command's table: exactly in its
// CSV, and to the cent in what is shown.
func TestEveryNumberOfThePageIsThatOfTheTables(t *testing.T) {
	for _, s := range []shop{demo, hostile} {
		b := open(t, s.page(), wide)
		b.do(openAll)
		want := tables(t, s)
		for _, name := range []string{"channel", "day", "phases", "paths", "lengths", "waits", "unattributed"} {
			shown := eval[string](b, `document.querySelector('table[data-name="`+name+`"]').closest("details").querySelector("pre").textContent`)
			rows, err := csv.NewReader(strings.NewReader(shown)).ReadAll()
			require.NoError(t, err)
			require.Len(t, rows, 1+len(want[name].Rows), name)
			for i, row := range rows[1:] {
				for k, column := range rows[0] {
					switch value := want[name].Rows[i][column].(type) {
					case nil:
						require.Empty(t, row[k], "%s, %s", name, column)
					case json.Number:
						require.Equal(t, value.String(), row[k], "%s, %s", name, column)
					case string:
						require.Equal(t, lines(value), lines(strings.TrimPrefix(row[k], "'")), "%s, %s", name, column)
					}
				}
			}
			require.Equal(t, len(rows)-1, eval[int](b, `document.querySelector('table[data-name="`+name+`"]').tBodies[0].rows.length`))
		}
		for _, by := range []string{"channel", "day"} {
			text := ihc(t, "report", "--db", s.db, "--by", by)
			total := eval[[]string](b, `[...document.querySelector('table[data-name="`+by+`"]').tFoot.rows[0].cells].map((c) => c.textContent)`)
			require.Contains(t, strings.Join(strings.Fields(text), " "), strings.Join(total, " "), "what is shown")
			require.Equal(t, strings.TrimRight(ihc(t, "report", "--db", s.db, "--by", by, "--format", "csv"), "\n"),
				strings.TrimRight(eval[string](b, `document.querySelector('table[data-name="`+by+`"]').closest("details").querySelector("pre").textContent`), "\n"))
		}
		weights := map[string]json.Number{}
		for _, row := range want["pairs"].Rows {
			weights[row["initializer"].(string)+"\x00"+row["closer"].(string)] = row["conversions"].(json.Number)
		}
		grid, err := csv.NewReader(strings.NewReader(eval[string](b, `document.querySelector('table[data-name="pairs"]').closest("details").querySelector("pre").textContent`))).ReadAll()
		require.NoError(t, err)
		compared := 0
		for _, row := range grid[1:] {
			for k := 1; k < len(row); k++ {
				if w, there := weights[row[0]+"\x00"+grid[0][k]]; there {
					compared++
					require.Equal(t, w.String(), row[k])
				}
			}
		}
		require.Positive(t, compared)
	}
}

// lines takes the ways to end a line for one.
func lines(s string) string { return strings.NewReplacer("\r\n", "\n", "'", "").Replace(s) }

func TestScriptSortsFiltersAndReadsOut(t *testing.T) {
	b := open(t, demo.page(), wide)
	first := func() string {
		return eval[string](b, `document.querySelector('table[data-name="channel"]').tBodies[0].rows[0].cells[0].textContent`)
	}
	before := first()
	click := func(selector string) { b.do(`document.querySelector('` + selector + `').click()`) }
	click(`table[data-name="channel"] th:nth-child(2) button`)
	require.Equal(t, "descending", eval[string](b, `document.querySelector('table[data-name="channel"] th:nth-child(2)').getAttribute("aria-sort")`))
	require.NotEqual(t, before, first())
	costs := eval[[]float64](b, `[...document.querySelector('table[data-name="channel"]').tBodies[0].rows].map((r) => parseFloat(r.cells[1].textContent.replaceAll(",", "")))`)
	for i := range costs[1:] {
		require.GreaterOrEqual(t, costs[i], costs[i+1])
	}
	b.run(chromedp.SendKeys("#channel-table input", "social"))
	require.Positive(t, eval[int](b, `document.querySelectorAll('table[data-name="channel"] tbody tr[hidden]').length`))
	b.run(chromedp.Focus("#time svg[data-column]"), chromedp.KeyEvent(kb.End))
	last := eval[string](b, `(() => { const r = [...document.querySelector('table[data-name="day"]').tBodies[0].rows].at(-1); return r.cells[0].textContent + ": revenue (ihc) " + r.cells[3].textContent })()`)
	require.Contains(t, eval[string](b, `document.querySelector("#time .readout").textContent`), last)
	b.sound()
}

func TestHostileNamesAreText(t *testing.T) {
	b := open(t, hostile.page(), wide)
	b.do(openAll)
	require.Equal(t, []int{1, 0, 1}, eval[[]int](b, `["script", "img, iframe, object", "style"].map((s) => document.querySelectorAll(s).length)`))
	require.NotEqual(t, "none", eval[string](b, `getComputedStyle(document.body).display`))
	text := eval[string](b, `document.body.textContent`)
	for _, name := range hostileNames {
		if len(name) < 100 {
			require.Contains(t, text, strings.TrimPrefix(name, "\x1b"))
		}
	}
	b.sound()
}

func TestPageIsSmall(t *testing.T) {
	info, err := os.Stat(filepath.Join(demo.out, "report.html"))
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(250_000))
}

// A number that is cut at the edge of the screen is read as another one.
func TestNumbersOfChannelsAreNotCut(t *testing.T) {
	for name, s := range shops {
		for _, width := range []int64{320, 768, 1280} {
			if name == "hostile" && width == 768 {
				continue // names of such length push them aside; the table scrolls
			}
			b := open(t, s.page(), view{width: width, height: 800})
			require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("#channel-table td, .cards strong, .equation b")].filter((e) => { const r = e.getBoundingClientRect(); return r.right > innerWidth || e.scrollWidth > e.clientWidth + 1 && e.tagName !== "B" }).map((e) => e.textContent)`), "%s, %d", name, width)
			require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("#channel-table .scroll")].filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.scrollWidth + " in " + e.clientWidth)`), "%s, %d", name, width)
		}
	}
}

// Words in the pictures do not lie on one another.
func TestWordsOfPicturesDoNotOverlap(t *testing.T) {
	for name, s := range shops {
		for _, width := range []int64{320, 768, 1280} {
			b := open(t, s.page(), view{width: width, height: 800})
			require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("svg.line")].flatMap((svg) => {
				const words = [...svg.querySelectorAll("text")].filter((e) => getComputedStyle(e).display !== "none").map((e) => [e.textContent, e.getBoundingClientRect()]);
				return words.flatMap(([a, p], i) => words.slice(i + 1).filter(([, q]) => p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 2 && q.top < p.bottom - 2).map(([b]) => a + " on " + b)); })`), "%s, %d", name, width)
			require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("svg.line text")].filter((e) => getComputedStyle(e).display !== "none" && (e.getBoundingClientRect().left < 0 || e.getBoundingClientRect().right > innerWidth)).map((e) => e.textContent)`), "%s, %d", name, width)
		}
	}
}
