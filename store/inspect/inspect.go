// Package inspect looks at the rows of a source table, whatever kind of database
// they come from: what is odd about each value, which dates and channels there
// are, and a digest of it all.
package inspect

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/findings"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/tables"
)

// MaxChannels is how many channel names are told apart, which bounds the memory
// for them.
const MaxChannels = 100_000

// Column is a column of a table that is read, and what its values are held to.
type Column struct {
	Name string
	Is   findings.Check
}

// Columns are those of the tables that are read, by table. Their first column
// names a row in messages.
var Columns = map[string][]Column{
	tables.SessionSources: {{"session_id", findings.CheckID}, {"user_id", findings.CheckID}, {"event_date", findings.CheckDate}, {"event_time", findings.CheckTime},
		{"channel_name", findings.CheckChannel}, {"holder_engagement", findings.CheckFlag}, {"closer_engagement", findings.CheckFlag}, {"impression_interaction", findings.CheckFlag}},
	tables.Conversions:  {{"conv_id", findings.CheckID}, {"user_id", findings.CheckID}, {"conv_date", findings.CheckDate}, {"conv_time", findings.CheckTime}, {"revenue", findings.CheckRevenue}},
	tables.SessionCosts: {{"session_id", findings.CheckID}, {"cost", findings.CheckCost}},
}

// Scan is one pass over a table of [Columns], or over a part of it.
type Scan struct {
	table   string
	columns []Column
	row     []any
	reports []func(findings.Rule) // by column, about the row at hand
	// Their columns, -1 for none.
	user, date, time, channel int

	rows    int64
	digest  uint64              // the sum of those of the rows
	buffer  []byte              // a row, to be digested
	tallies []map[string]*tally // by column, then code
	dates   map[string]int64    // rows by date, readable ones; few in any shop

	sample sample // see [PerConversion]

	channels map[string]int64 // rows by channel name
	crowded  bool             // there are more than MaxChannels
}

// tally counts the rows that break a rule.
type tally struct {
	rule    findings.Rule
	count   int64
	example string
}

// New returns a scan of a table that has seen no row.
func New(table string) *Scan {
	s := &Scan{table: table, columns: Columns[table], dates: map[string]int64{}, user: -1, date: -1, time: -1, channel: -1}
	s.tallies = make([]map[string]*tally, len(s.columns))
	for i, c := range s.columns {
		s.reports = append(s.reports, func(r findings.Rule) { s.Report(i, r) })
		switch c.Name {
		case "user_id":
			s.user = i
		case "event_date", "conv_date":
			s.date = i
		case "event_time", "conv_time":
			s.time = i
		case "channel_name":
			s.channel = i
			s.channels = map[string]int64{}
		}
	}
	return s
}

// Row looks at a row: the values of the columns, which are kept until the next.
// Texts are strings, numbers int64 or float64, and nil is NULL; what else there is
// is of the wrong type.
func (s *Scan) Row(row []any) {
	s.row = row
	s.rows++
	s.digestRow()
	for i, c := range s.columns {
		c.Is(row[i], s.reports[i])
	}
	if s.date >= 0 {
		s.countDate(row[s.date])
		s.sample.add(row[s.user], row[s.date], row[s.time])
	}
	if s.channel >= 0 {
		if name, ok := row[s.channel].(string); ok {
			s.countChannel(name, 1)
		}
	}
}

// Take adds what the next span's pass found.
func (s *Scan) Take(next *Scan) {
	s.rows += next.rows
	s.digest += next.digest
	for col, byCode := range next.tallies {
		for code, t := range byCode {
			if s.tallies[col] == nil {
				s.tallies[col] = map[string]*tally{}
			}
			if was := s.tallies[col][code]; was != nil {
				was.count += t.count
			} else {
				s.tallies[col][code] = t
			}
		}
	}
	for date, n := range next.dates {
		s.dates[date] += n
	}
	s.sample.take(&next.sample)
	s.crowded = s.crowded || next.crowded
	for _, name := range slices.Sorted(maps.Keys(next.channels)) {
		s.countChannel(name, next.channels[name])
	}
}

// digestRow adds the digest of the row at hand.
func (s *Scan) digestRow() {
	b := s.buffer[:0]
	for _, value := range s.row {
		switch value := value.(type) {
		case string:
			b = append(binary.AppendUvarint(append(b, 't'), uint64(len(value))), value...)
		case []byte:
			b = append(binary.AppendUvarint(append(b, 'b'), uint64(len(value))), value...)
		case int64:
			b = binary.LittleEndian.AppendUint64(append(b, 'i'), uint64(value))
		case float64:
			b = binary.LittleEndian.AppendUint64(append(b, 'r'), math.Float64bits(value))
		default:
			b = append(b, 'n')
		}
	}
	s.buffer = b
	s.digest += xxhash.Sum64(b)
}

// Report notes that a column of the row at hand breaks a rule.
func (s *Scan) Report(col int, r findings.Rule) {
	if s.tallies[col] == nil {
		s.tallies[col] = map[string]*tally{}
	}
	t := s.tallies[col][r.Code]
	if t == nil {
		t = &tally{rule: r, example: s.example(col)}
		s.tallies[col][r.Code] = t
	}
	t.count++
}

// example shows the value of a column in the row at hand, and which row it is.
func (s *Scan) example(col int) string {
	value := human.Quote(s.row[col])
	if col == 0 {
		return value
	}
	return fmt.Sprintf("%s where %s is %s", value, s.columns[0].Name, human.Quote(s.row[0]))
}

func (s *Scan) countDate(value any) {
	if d, ok := value.(string); ok && civil.IsDate(d) {
		s.dates[d]++
	}
}

func (s *Scan) countChannel(name string, rows int64) {
	if _, known := s.channels[name]; !known && len(s.channels) == MaxChannels {
		s.crowded = true
		return
	}
	s.channels[name] += rows
}

// Conclude puts what a pass over all of the table found into the findings, for the
// range of the options, and returns the digest of the rows.
func (s *Scan) Conclude(found *findings.Findings, o findings.Options) string {
	for i, byCode := range s.tallies {
		for _, code := range slices.Sorted(maps.Keys(byCode)) {
			t := byCode[code]
			found.Add(t.rule, s.table, s.columns[i].Name, t.count, "rows", t.example)
		}
	}
	dates := slices.Sorted(maps.Keys(s.dates))
	var first, last string
	if len(dates) > 0 {
		first, last = dates[0], dates[len(dates)-1]
	}
	switch s.table {
	case tables.SessionSources:
		found.Sessions, found.FirstSession, found.LastSession = s.rows, first, last
		found.Channels = int64(len(s.channels))
		s.concludeChannels(found)
	case tables.Conversions:
		found.Conversions, found.FirstConversion, found.LastConversion = s.rows, first, last
		for _, d := range dates {
			if d >= o.StartDate && (o.EndDate == "" || d <= o.EndDate) {
				found.ConversionsInRange += s.dates[d]
			}
		}
		if len(dates) > 0 && found.ConversionsInRange == 0 {
			found.Add(findings.NothingInRange.With(first, last), tables.Conversions, "conv_date", 0, "", "")
		}
	case tables.SessionCosts:
		found.Costs = s.rows
	}
	if s.rows == 0 && s.table != tables.SessionCosts { // no cost at all is a note about the sessions
		found.Add(findings.EmptyTable, s.table, "", 0, "", "")
	}
	return fmt.Sprintf("%d-%x", s.rows, s.digest)
}

// concludeChannels reports on the channel names as a whole.
func (s *Scan) concludeChannels(found *findings.Findings) {
	add := func(r findings.Rule, count int64, unit, example string) {
		found.Add(r, tables.SessionSources, "channel_name", count, unit, example)
	}
	if s.crowded {
		add(findings.ManyChannels, 0, "", "")
	}
	names := slices.Sorted(maps.Keys(s.channels))
	var blanks int64
	var blankName string
	var formulas []string
	var seen []string
	for _, name := range names {
		if findings.Blank(name) {
			if blanks == 0 {
				blankName = name
			}
			blanks += s.channels[name]
			continue
		}
		if strings.IndexAny(name, "=+-@\t\r\n＝＋－＠") == 0 {
			formulas = append(formulas, name)
		}
		seen = append(seen, name)
	}
	if blanks > 0 {
		add(findings.BlankChannel, blanks, "rows", human.Quote(blankName))
	}
	if len(formulas) > 0 {
		add(findings.FormulaChannel, int64(len(formulas)), "channels", human.Quote(formulas[0]))
	}
	similar, example := alike(seen)
	if len(similar) > 0 {
		add(findings.SimilarChannels, int64(len(similar)), "channels", example)
	}
}
