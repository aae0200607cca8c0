package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
	"github.com/ihc-pipeline/ihc/internal/shop"
)

// api is a running sandbox.
type api struct {
	*process
	b   *bench
	url string
	env []string // of a program that is to ask it
}

func (b *bench) sandbox(plan string, latency time.Duration) (*api, error) {
	address, err := listenAt()
	if err != nil {
		return nil, err
	}
	p, err := b.start(nil, nil, "ihc", "sandbox", "--listen", address, "--plan", plan, "--latency", latency.String())
	if err != nil {
		return nil, err
	}
	a := &api{process: p, b: b, url: "http://" + address}
	a.env = []string{"IHC_API_KEY=bench", "IHC_CONV_TYPE_ID=bench", "IHC_API_URL=" + a.url + "/v1"}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err = a.stats(); err == nil || time.Now().After(deadline) {
			return a, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (a *api) stats() (s sandbox.Stats, err error) {
	req, err := http.NewRequestWithContext(a.b.ctx, http.MethodGet, a.url+"/stats", nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(resp.Body).Decode(&s)
	return s, err
}

// ask runs a shop that no run has touched over the sandbox, as askOver does.
func (a *api) ask(db string, limits ihcapi.Limits, args ...string) (result, int, error) {
	db, err := a.b.fresh(db)
	if err != nil {
		return result{}, 0, err
	}
	return a.askOver(db, limits, args...)
}

// askOver runs a database over the sandbox and returns the run and how many
// requests came, which must all have been as the contract wants them.
func (a *api) askOver(db string, limits ihcapi.Limits, args ...string) (result, int, error) {
	before, err := a.stats()
	if err != nil {
		return result{}, 0, err
	}
	r, err := a.b.ihc(a.env, append([]string{"run", "--db", db, "--out", a.b.dir + "/report", "--model", "api",
		"--max-sessions", strconv.Itoa(limits.Sessions), "--max-journeys", strconv.Itoa(limits.Journeys)}, args...)...)
	if err != nil {
		return r, 0, err
	}
	after, err := a.stats()
	if after.ContractViolations > 0 {
		err = fmt.Errorf("contract violations: %v", after.Violations)
	}
	return r, after.Requests - before.Requests, err
}

// fewest is how many requests journeys need at the least.
func fewest(touchpoints, journeys int, l ihcapi.Limits) int {
	up := func(n, by int) int { return (n + by - 1) / by }
	return max(up(touchpoints, l.Sessions), up(journeys, l.Journeys))
}

// fewest is how many requests a run needs at the least that scores all.
func (r result) fewest(l ihcapi.Limits) int {
	return fewest(r.Touchpoints, r.Conversions.Attributed, l)
}

// requests counts what a run sends, against the least there can be.
func (b *bench) requests() error {
	type named struct{ name, path string }
	var shops []named
	if path, err := b.realShop(); err != nil {
		return err
	} else if path != "" {
		shops = append(shops, named{"real shop", path})
	}
	for _, c := range []struct {
		name string
		shop.Config
	}{
		{"short journeys", shop.Config{Sessions: 60_000, Touchpoints: 30_000, MaxJourney: 150}},
		{"heavy tail", shop.Config{Sessions: 40_000, Touchpoints: 200_000, MaxJourney: 1000}},
		{"very heavy tail", shop.Config{Sessions: 20_000, Touchpoints: 300_000, MaxJourney: 1000}},
	} {
		path, err := b.shop(c.Config)
		if err != nil {
			return err
		}
		shops = append(shops, named{c.name, path})
	}
	for _, plan := range []string{"free", "paid"} {
		limits, err := ihcapi.PlanLimits(plan)
		if err != nil {
			return err
		}
		a, err := b.sandbox(plan, 0)
		if err != nil {
			return err
		}
		size := fmt.Sprintf("%d/%d", limits.Journeys, limits.Sessions)
		for _, s := range shops {
			r, n, err := a.ask(s.path, limits, "--concurrency", "4")
			if err != nil {
				return err
			}
			b.add(s.name+", "+size, float64(n)/float64(r.fewest(limits)), "ratio", 1.01, "%d requests, at least %d, for %d journeys with %d touchpoints",
				n, r.fewest(limits), r.Conversions.Attributed, r.Touchpoints)
		}
		above, runs := 0, 0
		for seed := range uint64(4) {
			for _, sessions := range []int{60, 600, 2400} {
				path, err := b.shop(shop.Config{Seed: seed + 1, Sessions: sessions})
				if err != nil {
					return err
				}
				r, n, err := a.ask(path, limits)
				if err != nil {
					return err
				}
				above = max(above, n-r.fewest(limits))
				runs++
			}
		}
		b.add("small shops, "+size, float64(above), "requests above the least", 1, "the most of %d shops with 60 to 2,400 sessions", runs)
		if _, err := a.stop(); err != nil {
			return err
		}
	}
	return nil
}

// latency compares the time of a run over a slow API with the time the API
// takes.
func (b *bench) latency() error {
	const latency = 200 * time.Millisecond
	a, err := b.sandbox("free", latency)
	if err != nil {
		return err
	}
	for _, c := range []struct{ concurrency, sessions int }{{1, 6_000}, {4, 30_000}, {16, 120_000}} {
		path, err := b.shop(shop.Config{Sessions: c.sessions})
		if err != nil {
			return err
		}
		r, n, err := a.ask(path, ihcapi.FreeLimits, "--concurrency", strconv.Itoa(c.concurrency))
		if err != nil {
			return err
		}
		least := float64(n) * latency.Seconds() / float64(c.concurrency)
		b.add(fmt.Sprintf("concurrency %d", c.concurrency), r.seconds/least, "ratio", 1.10, "%.2f s for %d requests of 200 ms, which take %.2f s", r.seconds, n, least)
	}
	_, err = a.stop()
	return err
}
