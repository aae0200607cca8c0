package attributor

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/services/attributor/internal/scoring"
)

// inSandbox returns the settings for runs that are scored by the API sandbox
// at url. It gets neither the key nor a conversion type that must be set.
func (c Config) inSandbox(url string) Config {
	c.APIURL, c.APIKey = url, "sandbox"
	if c.ConvTypeID == "" {
		c.ConvTypeID = "sandbox"
	}
	return c
}

// api returns what a run that begins now is scored with: the settings as they
// are and the API they name, nil without a key; or, while a sandbox is
// announced, that.
func (a *attributor) api() (Config, *scoring.Calls, error) {
	if a.cfg.Sandbox == "" {
		return a.cfg, a.calls, nil
	}
	data, err := os.ReadFile(a.cfg.Sandbox)
	if errors.Is(err, fs.ErrNotExist) {
		return a.cfg, a.calls, nil
	}
	if err != nil {
		return a.cfg, nil, errkind.Environmentf("IHC_SANDBOX_URL_FILE: %w", err)
	}
	url := strings.TrimSpace(string(data))
	cfg := a.cfg.inSandbox(url)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sandboxes[url] == nil {
		calls, err := a.newCalls(cfg)
		if err != nil {
			return cfg, nil, err
		}
		if a.sandboxes == nil {
			a.sandboxes = map[string]*scoring.Calls{}
		}
		a.sandboxes[url] = calls
		a.Log.Info("the API sandbox takes the API's place", "url", url)
	}
	return cfg, a.sandboxes[url], nil
}

// breakers returns those of all APIs runs are scored over.
func (a *attributor) breakers() []*scoring.Breaker {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []*scoring.Breaker
	if a.calls != nil {
		all = append(all, a.calls.Breaker)
	}
	for _, c := range a.sandboxes {
		all = append(all, c.Breaker)
	}
	return all
}
