//go:build browser

package browser

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// The README's picture of a report is of some of its parts: all of it is longer
// than anybody would look at there. `make screenshots` has it taken.
func TestPictureOfAReportIsTaken(t *testing.T) {
	to := cmp.Or(os.Getenv("PICTURES"), t.TempDir())
	b := open(t, demo.page(), wide)
	fit := func(height int64) {
		b.run(command("Emulation.setDeviceMetricsOverride", map[string]any{"width": 1060, "height": height, "deviceScaleFactor": 0.75, "mobile": false}))
	}
	fit(900)
	b.do(`document.querySelectorAll("nav, .facts, #unattributed, #channel-table, #phases-section, #grid, #paths-section, #models-section, #reading, details, .switch, .panel + .panel, .readout, footer").forEach((e) => e.remove())`)
	fit(eval[int64](b, `Math.ceil(document.querySelector("main").getBoundingClientRect().bottom + scrollY)`))
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(to, "report.png"), png, 0o644))
}
