package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/internal/unit"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
	"github.com/ihc-pipeline/ihc/store/report"
)

func newExplainCmd() *cobra.Command {
	var db, payloads string
	var cell, asJSON bool
	cmd := &cobra.Command{
		Use:   "explain --db FILE CONV_ID | --cell CHANNEL DATE",
		Short: "Say of one conversion, or of one number of the report, where it comes from",
		Long: `explain prints a conversion's journey session by session: when, which channel,
how the visitor was engaged, the share of each phase, the ihc, the revenue and
what the session cost, and why the share is what it is. Reasons are known of the
built-in model.

With --cell it takes a channel and a date, and prints what that row of
channel_reporting is made from.`,
		Example: `  ihc explain --db shop.db o_000013812
  ihc explain --db shop.db --cell "Paid Search" 2023-09-14
  ihc explain --db shop.db --json o_000013812 | jq '.sessions[] | {channel, ihc}'`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case cell && len(args) != 2:
				return errkind.Inputf("--cell takes a channel and a date: ihc explain --db FILE --cell CHANNEL DATE")
			case !cell && len(args) != 1:
				return errkind.Inputf("name one conversion: ihc explain --db FILE CONV_ID")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if db == "" {
				return errNoDatabase
			}
			store := open.Database(db)
			defer store.Close() //nolint:errcheck // only read
			if cell {
				return explainCell(cmd, store, args[0], args[1], asJSON)
			}
			c, err := store.Conversion(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			e := report.Explain(c)
			e.Payload = payloadOf(payloads, e)
			if asJSON {
				return printJSON(cmd.OutOrStdout(), e)
			}
			printExplanation(cmd.OutOrStdout(), e)
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&db, "db", "", "SQLite database `file`, or postgres://… (IHC_DB)")
	fs.BoolVar(&cell, "cell", false, "explain a number of the report: a channel and a session date")
	fs.StringVar(&payloads, "payloads", os.Getenv("IHC_PAYLOADS"), "`directory` that requests' bodies were saved in (IHC_PAYLOADS)")
	fs.BoolVar(&asJSON, "json", false, "print one JSON object on standard output")
	return cmd
}

// payloadOf returns the file with the request that carried the conversion, ""
// where none was kept. A request that was divided has several.
func payloadOf(dir string, e *report.Explanation) string {
	if dir == "" || e.RunID == "" || e.Chunk == 0 {
		return ""
	}
	var id bytes.Buffer // as requests are written, whatever is in it
	out := json.NewEncoder(&id)
	out.SetEscapeHTML(false)
	if err := out.Encode(e.ConvID); err != nil {
		return ""
	}
	sent := append([]byte(`"conversion_id":`), bytes.TrimSpace(id.Bytes())...)
	base := filepath.Join(dir, e.RunID, fmt.Sprintf("chunk-%06d", e.Chunk))
	for _, pattern := range []string{base + ".json", base + "-part-*.json"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		for _, file := range found {
			body, err := os.ReadFile(file)
			if err == nil && bytes.Contains(body, sent) {
				return file
			}
		}
	}
	return ""
}

func printExplanation(w io.Writer, e *report.Explanation) {
	out := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
	wrapped(w, "conversion %s, %s, revenue %s, user %s", human.Printable(e.ConvID), human.Printable(e.Time), human.Decimal(e.Revenue.Decimal, 2), human.Printable(e.UserID))
	what := strings.ReplaceAll(e.Outcome, "_", " ")
	if e.Reason != "" {
		what += ": " + human.Printable(e.Reason)
	}
	if e.RunID != "" {
		what += ", by run " + e.RunID
		if e.Model != "" {
			what += ", model " + human.Printable(e.Model)
		}
		if e.Chunk > 0 {
			what += fmt.Sprintf(", chunk %d", e.Chunk)
		}
	}
	wrapped(w, "%s", what)
	if e.Payload != "" {
		out("request: %s\n", human.Printable(e.Payload))
	}
	sum := unit.Sum{}
	channels := make([]string, len(e.Sessions))
	for i, s := range e.Sessions {
		channels[i] = s.Channel
	}
	channel := human.Named(channels, maxName)
	for i, s := range e.Sessions {
		sum.Add(s.IHC.Shift(store.ShareDecimals).IntPart())
		out("\n%3d  %s  %s", i+1, human.Printable(s.Time), channel(s.Channel))
		if len(s.Engagement) > 0 {
			out("  (%s)", strings.Join(s.Engagement, ", "))
		}
		out("\n     ihc %s = %s of the revenue", s.IHC.StringFixed(4), human.Decimal(s.IHCRevenue.Decimal, 2))
		if s.Phases != nil {
			out("; starts %s, holds %s, closes %s", s.Phases.Initializer.StringFixed(4), s.Phases.Holder.StringFixed(4), s.Phases.Closer.StringFixed(4))
		}
		if !s.Cost.IsZero() {
			out("; cost %s", s.Cost)
		}
		out("\n")
		for _, why := range s.Why {
			out("     - %s\n", why)
		}
		out("     session %s\n", human.Printable(s.SessionID))
	}
	if len(e.Sessions) > 0 {
		out("\n     ihc %s in all\n", sum.Decimal(store.ShareDecimals).StringFixed(4))
	}
	for _, n := range e.Notes {
		out("\nnote: %s\n", human.Printable(n))
	}
}

// explainCell prints what one row of channel_reporting is made from.
func explainCell(cmd *cobra.Command, db store.Database, channel, date string, asJSON bool) error {
	if !civil.IsDate(date) {
		return errkind.Inputf("%.40q is no date: write it as YYYY-MM-DD, for example 2023-09-01", date)
	}
	c, err := db.Cell(cmd.Context(), channel, date)
	if err != nil {
		return err
	}
	s := report.CellSheet(c)
	if asJSON {
		return printJSON(cmd.OutOrStdout(), s)
	}
	cells := window(cmd.OutOrStdout())
	if cells > 0 && cells < wideCell && len(s.Rows) > 0 {
		withoutSessions(s)
	}
	return s.TextIn(cmd.OutOrStdout(), cells)
}

// wideCell is how wide a window has to be for sessions beside their conversions.
const wideCell = 140

// withoutSessions leaves the last two columns out, so that ids of conversions are
// whole: they are what is explained next.
func withoutSessions(s *sheet.Sheet) {
	kept := len(s.Columns) - 2
	s.Columns, s.Total = s.Columns[:kept], s.Total[:kept]
	for i, row := range s.Rows {
		s.Rows[i] = row[:kept]
	}
	s.Notes = append(s.Notes, "the sessions themselves have no room in this window: --json has them")
}
