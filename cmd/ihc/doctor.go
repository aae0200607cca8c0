package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/version"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/store/importer"
	"github.com/ihc-pipeline/ihc/store/open"
)

// doctorFlags are the flags of `ihc doctor`.
type doctorFlags struct {
	natsFlags
	db, out, apiURL string
	json            bool
}

// finding is what was found of one thing.
type finding struct {
	Of string `json:"of"`
	// State is ok, soon (it will be wrong), not used, or wrong.
	State string `json:"state"`
	Says  string `json:"says"`
	err   error
}

const (
	stateOK      = "ok"
	stateSoon    = "soon"
	stateNotUsed = "not used"
	stateWrong   = "wrong"
)

func newDoctorCmd() *cobra.Command {
	f := &doctorFlags{}
	cmd := &cobra.Command{
		Use:   "doctor [FILE]",
		Short: "Look at everything a run needs, and say what is wrong",
		Long: `doctor looks at what a run needs: the database and whether results can be written
to it, room on the disk, a running stack, the API and whether it takes the key,
and the clock. It changes nothing and pays nothing: to try the key it sends the
API a request without journeys, which has nothing to score.

Exit codes: 0 nothing is wrong; 2 or 3 something is, as with "ihc run".`,
		Example: "  ihc doctor shop.db\n  ihc doctor --nats nats://127.0.0.1:4222 --json",
		Args:    databaseArgument(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.db, "db", "", "SQLite database `file`, or postgres://… (IHC_DB)")
	fs.StringVar(&f.out, "out", ".", "`directory` for the report's files")
	fs.StringVar(&f.apiURL, "api-url", "", "base `URL` of the IHC API (IHC_API_URL)")
	fs.BoolVar(&f.json, "json", false, "print the findings as one JSON array on standard output")
	return cmd
}

func (f *doctorFlags) run(ctx context.Context, out io.Writer) error {
	b := version.This()
	findings := []finding{{Of: "version", State: stateOK, Says: fmt.Sprintf("ihc %s, %s", b, b.Go)}}
	findings = append(findings, f.database(ctx), f.disk())
	findings = append(findings, f.nats(ctx)...)
	findings = append(findings, f.api(ctx)...)
	var wrong error
	for _, x := range findings {
		if wrong == nil && x.err != nil {
			wrong = errkind.As(errkind.KindOf(x.err), fmt.Errorf("%s: %w", x.Of, x.err))
		}
	}
	if f.json {
		return errors.Join(wrong, printJSON(out, findings))
	}
	for _, x := range findings {
		state := human.Pad(x.State, len(stateNotUsed))
		switch x.State {
		case stateOK:
			state = paint(out, green, state)
		case stateSoon:
			state = paint(out, yellow, state)
		case stateWrong:
			state = paint(out, red, state)
		}
		const before = 20 // cells
		text := human.Wrap(human.Pad("", before)+human.Printable(x.Says), window(out), before)
		_, _ = fmt.Fprintf(out, "%s  %s%s\n", human.Pad(x.Of, 8), state, text[before-2:])
	}
	return wrong
}

func found(of string, err error, says string) finding {
	if err != nil {
		return finding{of, stateWrong, err.Error(), err}
	}
	return finding{of, stateOK, says, nil}
}

// database looks at the database and rehearses writing results.
func (f *doctorFlags) database(ctx context.Context) finding {
	if f.db == "" {
		return finding{Of: "database", State: stateNotUsed, Says: "none is named; use --db FILE"}
	}
	db := open.Database(f.db)
	defer db.Close() //nolint:errcheck // nothing was written
	err := db.Check(ctx)
	if err == nil {
		err = db.Rehearse(ctx)
	}
	return found("database", err, open.Shown(f.db)+" can be read, and results written to it; `ihc validate` looks at the data")
}

// disk looks for room for the report and the streams.
func (f *doctorFlags) disk() finding {
	dir := f.out
	for _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir); _, err = os.Stat(dir) {
		dir = filepath.Dir(dir) // it would be made
	}
	free, known := importer.Free(dir)
	if !known {
		return finding{Of: "disk", State: stateNotUsed, Says: "how much is free in " + dir + " is not known"}
	}
	const least = 256 << 20
	says := fmt.Sprintf("%s MiB free in %s", human.Thousands(free>>20), dir)
	if free < least {
		return found("disk", errkind.Environmentf("%s: free some", says), "")
	}
	return found("disk", nil, says)
}

// api looks for the API, tries the key, and compares the clocks.
func (f *doctorFlags) api(ctx context.Context) []finding {
	c, err := service.FromEnv[attributor.Config]()
	if err != nil {
		return []finding{found("api", err, "")}
	}
	if f.apiURL != "" {
		c.APIURL = f.apiURL
	}
	if c.APIKey == "" {
		return []finding{{Of: "api", State: stateNotUsed, Says: "IHC_API_KEY is not set: the built-in model scores"}}
	}
	var clock clockOf
	client, err := ihcapi.NewClient(ihcapi.ClientConfig{BaseURL: c.APIURL, Key: string(c.APIKey), Timeout: 10 * time.Second, HTTP: &http.Client{Transport: &clock}})
	if err != nil {
		return []finding{found("api", err, "")}
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return []finding{found("api", errkind.Environmentf("cannot reach the IHC API at %s: %w", c.APIURL, err), "")}
	}
	all := []finding{found("api", nil, c.APIURL+" answers"), tryKey(ctx, client, c.ConvTypeID)}
	return append(all, clock.finding())
}

// tryKey sends a request that has nothing to score.
func tryKey(ctx context.Context, client *ihcapi.Client, convType string) finding {
	_, err := client.Compute(ctx, convType, []byte(`{"customer_journeys":[]}`), 0)
	var refused *ihcapi.Error
	switch {
	case err == nil:
		return found("key", nil, "the API takes it")
	case errors.As(err, &refused) && refused.Kind == ihcapi.Denied:
		return found("key", errkind.Environmentf("the API refuses it: %w", err), "")
	case errors.As(err, &refused) && refused.Kind != ihcapi.Transient:
		return found("key", nil, "the API did not refuse it, only a request without journeys")
	default:
		return finding{Of: "key", State: stateNotUsed, Says: "whether the API takes it is not known: " + err.Error()}
	}
}

// clockOf is a transport that remembers how far the server's clock is from ours.
type clockOf struct {
	ahead time.Duration
	known bool
}

// RoundTrip implements http.RoundTripper.
func (c *clockOf) RoundTrip(r *http.Request) (*http.Response, error) {
	reply, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		if at, e := http.ParseTime(reply.Header.Get("Date")); e == nil {
			c.ahead, c.known = time.Since(at), true
		}
	}
	return reply, err
}

func (c *clockOf) finding() finding {
	const most = 2 * time.Minute
	switch {
	case !c.known:
		return finding{Of: "clock", State: stateNotUsed, Says: "the API does not say what time it is"}
	case c.ahead.Abs() > most:
		return found("clock", errkind.Environmentf("it differs from the API's by %s: set it", human.Duration(c.ahead.Abs())), "")
	default:
		return found("clock", nil, "agrees with the API's")
	}
}
