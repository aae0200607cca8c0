//go:build browser

package browser

import (
	"context"
	"sync"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// tab is one page in the browser, and what went wrong on it.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // of the browser

	mu       sync.Mutex
	requests []string // other than the page itself
	troubles []string // errors, violations of the policy, dialogs
}

// view is how a page is looked at.
type view struct {
	width, height int64
	dark, noMove  bool
	withoutScript bool
	print         bool
	online        bool
}

var wide = view{width: 1200, height: 900}

// patience bounds what is done with a page, and each wait for it half as long.
const patience = 4 * time.Minute

// open opens a page with the network cut, unless the view is online.
func open(t *testing.T, url string, v view) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(browser)
	t.Cleanup(end)
	ctx, cancel := context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, b.hear))
	scheme, motion, media := "light", "no-preference", ""
	if v.dark {
		scheme = "dark"
	}
	if v.noMove {
		motion = "reduce"
	}
	if v.print {
		media = "print"
	}
	type params = map[string]any
	b.run(command("Network.enable", nil), command("Log.enable", nil),
		command("Network.emulateNetworkConditions", params{"offline": !v.online, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}),
		command("Emulation.setDeviceMetricsOverride", params{"width": v.width, "height": v.height, "deviceScaleFactor": 1, "mobile": v.width < 600}),
		command("Emulation.setEmulatedMedia", params{"media": media, "features": []params{{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion}}}),
		command("Page.addScriptToEvaluateOnNewDocument", params{"source": `addEventListener("securitypolicyviolation", (e) => console.error("policy: " + e.violatedDirective + " " + e.blockedURI))`}),
		command("Emulation.setScriptExecutionDisabled", params{"value": v.withoutScript}),
		chromedp.Navigate(url))
	return b
}

// command sends a command of the DevTools protocol.
func command(method string, params any) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error { return t.Call(ctx, method, params, nil) })
}

// hear notes what a page does that it should not.
func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if e.Type != network.ResourceTypeDocument && e.Request.URL != "data:," {
			b.requests = append(b.requests, e.Request.URL)
		}
	case *runtime.EventExceptionThrown:
		b.troubles = append(b.troubles, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		for _, arg := range e.Args {
			b.troubles = append(b.troubles, string(arg.Value))
		}
	case *cdplog.EventEntryAdded:
		b.troubles = append(b.troubles, e.Entry.Text)
	case *page.EventJavascriptDialogOpening:
		b.troubles = append(b.troubles, "dialog: "+e.Message)
	}
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

// eval returns the value of an expression on a page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err, expression)
	return value
}

// do runs a script on a page.
func (b *tab) do(script string) { eval[chromedp.Void](b, script) }

// sound fails the test if the page asked for anything or complained.
func (b *tab) sound() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b.t, b.requests, "nothing is fetched")
	require.Empty(b.t, b.troubles, "nothing is complained of")
}
