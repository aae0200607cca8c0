package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/journey"
	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/open"
)

// newModelLintCmd is "ihc model lint": a redistribution looked at before it is used.
func newModelLintCmd() *cobra.Command {
	var f requestFlags
	var db string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "lint --redistribution FILE --db FILE",
		Short: "See what a redistribution would move, before anything is sent",
		Long: `Scores the journeys of a database with the built-in model, without and with a
redistribution, and says what it moves by channel, which labels match no channel,
and which rules never fire. It sends nothing and changes nothing. With the API's
own parameters the amounts differ somewhat; labels and rules do not.`,
		Example: `  ihc model lint --redistribution rules.json --db shop.db
  ihc run --db shop.db --redistribution rules.json --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.complete()
			if err != nil {
				return err
			}
			l, err := movement(cmd.Context(), db, req)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), l.json())
			}
			_, err = io.WriteString(cmd.OutOrStdout(), l.text())
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&db, "db", "", "SQLite database `file`, or postgres://… (IHC_DB)")
	fs.StringVar(&f.redistribution, "redistribution", "", "JSON `file` with the API's redistribution_parameter")
	fs.StringVar(&f.modelParams, "model-params", "", "JSON `file` with parameters of the built-in model")
	fs.StringVar(&f.request.StartDate, "start-date", "", "first `date` of the conversions, YYYY-MM-DD, UTC")
	fs.StringVar(&f.request.EndDate, "end-date", "", "last `date` of the conversions, included")
	fs.Uint32Var(&f.request.LookbackDays, "lookback-days", 0, "how many `days` before the conversion a session still counts (0: any)")
	fs.BoolVar(&f.request.IncludeSimultaneous, "include-simultaneous", false, "let sessions at the very second of the conversion count")
	fs.BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

// movement reckons what the redistribution of a request would move.
func movement(ctx context.Context, path string, req *ihcv1.RunRequest) (*lint, error) {
	rules := run.Redistribution(req.GetRedistributionParameter())
	switch {
	case rules == nil:
		return nil, errkind.Inputf("say which redistribution: --redistribution FILE")
	case path == "":
		return nil, errkind.Inputf("name a database with --db FILE")
	}
	model, err := modelOf(req)
	if err != nil {
		return nil, err
	}
	db := open.Database(path)
	defer db.Close() //nolint:errcheck // only read
	found, err := db.Validate(ctx, findings.Options{StartDate: req.GetStartDate(), EndDate: req.GetEndDate()})
	if err != nil {
		return nil, err
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	start, end := run.Range(req)
	v := ihcmodel.NewMovement(model, rules)
	var sessions []ihcmodel.Session
	err = db.Histories(ctx, journey.Options{Start: start, End: end, LookbackDays: int(req.GetLookbackDays()), IncludeSimultaneous: req.GetIncludeSimultaneous()},
		func(h *journey.History) error {
			for _, c := range h.Conversions {
				if c.From < c.To {
					sessions = modelSessions(h.Sessions[c.From:c.To], sessions)
					v.Add(sessions, c.Revenue)
				}
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	unknown, err := db.UnknownChannels(ctx, rules.Labels())
	if err != nil {
		return nil, err
	}
	return &lint{v, model.Name(), unknown}, nil
}

func modelOf(req *ihcv1.RunRequest) (*ihcmodel.Model, error) {
	p := ihcmodel.DefaultParams()
	if text := req.GetModelParams(); text != "" {
		var err error
		if p, err = ihcmodel.ParseParams([]byte(text)); err != nil {
			return nil, errkind.As(errkind.Input, err)
		}
	}
	return ihcmodel.New(p)
}

// lint is what is to be said about a redistribution.
type lint struct {
	*ihcmodel.Movement
	model   string
	unknown []string
}

type jsonLint struct {
	Model    string         `json:"model"`
	Journeys int            `json:"journeys"`
	Changed  int            `json:"journeys_changed"`
	Rules    []jsonLintRule `json:"rules"`
	Channels []jsonMoved    `json:"channels"`
	Unknown  []string       `json:"labels_that_match_nothing"`
	Never    []string       `json:"rules_that_never_fire"`
}

type jsonLintRule struct {
	Phase    string             `json:"phase"`
	Journeys int                `json:"journeys"`
	Gave     map[string]float64 `json:"gave"`
}

type jsonMoved struct {
	Channel       string  `json:"channel"`
	Before        float64 `json:"before"`
	After         float64 `json:"after"`
	RevenueBefore float64 `json:"revenue_before"`
	RevenueAfter  float64 `json:"revenue_after"`
}

func (l *lint) json() *jsonLint {
	j := &jsonLint{Model: "builtin " + l.model, Journeys: l.Journeys, Changed: l.Changed, Rules: []jsonLintRule{}, Channels: []jsonMoved{}, Unknown: append([]string{}, l.unknown...), Never: []string{}}
	for _, r := range l.Rules {
		j.Rules = append(j.Rules, jsonLintRule{r.Phase, r.Journeys, r.Gave})
		if r.Journeys == 0 {
			j.Never = append(j.Never, r.Phase)
		}
	}
	for _, c := range l.Channels() {
		j.Channels = append(j.Channels, jsonMoved{c.Channel, c.Before, c.After, c.RevenueBefore, c.RevenueAfter})
	}
	return j
}

func (l *lint) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s by the built-in model %s: the redistribution changes %s\n\n",
		human.Count(l.Journeys, "journey"), human.Printable(l.model), human.Thousands(l.Changed))
	table := [][]string{{"channel", "before", "after", "moved", "revenue moved"}}
	all := l.Channels()
	slices.SortStableFunc(all, func(a, b ihcmodel.ChannelMovement) int {
		switch x, y := math.Abs(a.After-a.Before), math.Abs(b.After-b.Before); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	channels := make([]string, len(all))
	for i, c := range all {
		channels[i] = c.Channel
	}
	for i, name := range human.Names(channels, nameWidth) {
		c := all[i]
		table = append(table, []string{name, amount(c.Before), amount(c.After),
			signed(c.After - c.Before), signed(c.RevenueAfter - c.RevenueBefore)})
	}
	_ = human.Table(&b, table) // a strings.Builder takes it all
	b.WriteByte('\n')
	for _, r := range l.Rules {
		if r.Journeys == 0 {
			fmt.Fprintf(&b, "warning: the rule of %s never fires\n", r.Phase)
			continue
		}
		fmt.Fprintf(&b, "%s: fires in %s and moves %s of the phase\n", r.Phase, human.Count(r.Journeys, "journey"), amount(r.Total()))
		for _, label := range r.Never() {
			if !slices.Contains(l.unknown, label) {
				fmt.Fprintf(&b, "warning: %s: %s gives nothing\n", r.Phase, human.QuoteText(label))
			}
		}
	}
	if len(l.Rules) == 0 {
		b.WriteString("warning: it has no rule that names a channel, and moves nothing\n")
	}
	for _, label := range l.unknown {
		fmt.Fprintf(&b, "warning: the label %s matches no channel\n", human.QuoteText(label))
	}
	return b.String()
}
