package intake

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/tabular"
	"github.com/ihc-pipeline/ihc/internal/unit"
)

// Into takes rows that were read: the pipeline's tables as they are going to be.
// Dates and times of day are UTC.
type Into interface {
	Session(id, user, date, clock, channel string, holder, closer, impression bool) error
	Conversion(id, user, date, clock string, revenue float64) error
	Cost(session string, cost float64) error // not a number where it is not known
	// DailyCost takes what a channel cost on a day, which begins and ends at those times.
	DailyCost(date, begins, ends, channel string, cost unit.Cost) error
}

// Counts are what was noticed when rows were read.
type Counts struct {
	Twice   int64 // times that are twice on the night clocks are put back; the first was taken
	Never   int64 // times that are not on the night clocks are put forward; they were taken as much later
	Skipped int64 // rows without what the mapping asks for by skip_blank
	// Converted amounts were in another currency.
	Converted int64
	// Currency is that of the first amount, and so of all, where the mapping names
	// none.
	Currency string
}

// ErrSkipped is the error of a row that the mapping passes over.
var ErrSkipped = errors.New("passed over")

// reader reads the rows of one table of one file.
type reader struct {
	name      string // in [Tables]
	settings  Settings
	columns   []string
	at        map[string]func([]string) string
	shown     map[string]string // by field: the column, for messages
	field     map[string]Field
	skipBlank []func([]string) string
	clock     clock
	channels  *channels
	currency  string
	rates     map[string]decimal.Decimal
	assumed   []string
	counts    *Counts
}

// Reader returns what reads rows of a table of [Tables] with those columns into
// the pipeline's, and what it assumes, a few words each.
func (m *Mapping) Reader(table string, columns []string, counts *Counts) (read func(row []string, into Into) error, assumed []string, err error) {
	t := m.Of(table)
	r := &reader{name: table, settings: t.Or(m.Settings), columns: columns, counts: counts, currency: strings.ToUpper(m.Currency),
		at: map[string]func([]string) string{}, shown: map[string]string{}, field: map[string]Field{}, rates: map[string]decimal.Decimal{}}
	for _, name := range fields[table] {
		if err := r.bind(name, t.Fields); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range t.SkipBlank {
		i, err := r.find("skip_blank", name)
		if err != nil {
			return nil, nil, err
		}
		r.skipBlank = append(r.skipBlank, func(row []string) string { return row[i] })
	}
	if err := first(r.setClock(), r.setMoney(m.Rates)); err != nil {
		return nil, nil, err
	}
	if r.channels, err = newChannels(m.Channels, m.Grouping); err != nil {
		return nil, nil, err
	}
	do, err := r.kind()
	return func(row []string, into Into) error {
		for _, value := range r.skipBlank {
			if strings.TrimSpace(value(row)) == "" {
				counts.Skipped++
				return ErrSkipped
			}
		}
		return do(row, into)
	}, r.assumed, err
}

// bind finds the columns of a field: those of the mapping, or the one of its name.
func (r *reader) bind(name string, mapped map[string]Field) error {
	f, given := mapped[name]
	if !given {
		column := r.called(name)
		if column == "" || (name == "source" || name == "medium" || name == "campaign" || name == "referrer") && r.has(mapped, "channel_name") {
			return nil
		}
		if f = (Field{Column: column}); column != name {
			r.assumed = append(r.assumed, name+" is the column "+column)
		}
	}
	r.field[name] = f
	switch {
	case f.Constant != nil:
		value := *f.Constant
		r.at[name], r.shown[name] = func([]string) string { return value }, "(constant)"
	case len(f.Columns) > 0:
		return r.join(name, f)
	default:
		i, err := r.find(name, f.Column)
		if err != nil {
			return err
		}
		r.at[name], r.shown[name] = func(row []string) string { return row[i] }, r.columns[i]
	}
	return nil
}

func (r *reader) has(mapped map[string]Field, name string) bool {
	_, given := mapped[name]
	return given || r.called(name) != ""
}

// called returns the column that a field has without a mapping, "" for none. What
// platforms say of a day's costs is called as they call it.
func (r *reader) called(name string) string {
	if r.index(name) >= 0 {
		return name
	}
	if other := map[string]string{"channel_name": "channel", "cost": "amount"}[name]; r.name == "daily_costs" && other != "" && r.index(other) >= 0 {
		return other
	}
	return ""
}

// join makes one value of several columns; where one of them is blank it is blank.
func (r *reader) join(name string, f Field) error {
	var at []int
	for _, c := range f.Columns {
		i, err := r.find(name, c)
		if err != nil {
			return err
		}
		at = append(at, i)
	}
	between := f.Join
	if between == "" {
		between = "_"
		if name == "time" {
			between = " "
		}
	}
	r.shown[name] = strings.Join(f.Columns, " + ")
	r.at[name] = func(row []string) string {
		parts := make([]string, len(at))
		for j, i := range at {
			if parts[j] = row[i]; strings.TrimSpace(parts[j]) == "" {
				return ""
			}
		}
		return strings.Join(parts, between)
	}
	return nil
}

// index returns where a column is, by its name or as #1, or -1.
func (r *reader) index(name string) int {
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "#")); err == nil && strings.HasPrefix(name, "#") && n >= 1 && n <= len(r.columns) {
		return n - 1
	}
	if i := slices.Index(r.columns, name); i >= 0 {
		return i
	}
	return slices.IndexFunc(r.columns, func(c string) bool {
		return name != "" && strings.EqualFold(strings.TrimSpace(c), strings.TrimSpace(name))
	})
}

// find returns where the one column is that a field names.
func (r *reader) find(field, column string) (int, error) {
	i := r.index(column)
	if i < 0 {
		return 0, errkind.Inputf("%s.%s: there is no column %q: the file has %s", r.name, field, column, strings.Join(quoted(r.columns), ", "))
	}
	if another := slices.Index(r.columns[i+1:], r.columns[i]); another >= 0 && !strings.HasPrefix(column, "#") {
		return 0, errkind.Inputf("%s.%s: the file has two columns %q: say in the mapping which is meant, \"#%d\" or \"#%d\"", r.name, field, column, i+1, i+2+another)
	}
	return i, nil
}

// longestQuote is how much of a column's name a message shows.
const longestQuote = 60

func quoted(names []string) []string {
	out := make([]string, 0, len(names))
	for i, n := range names {
		if i == 40 {
			return append(out, "…")
		}
		if len(n) > longestQuote {
			n = strings.ToValidUTF8(n[:longestQuote], "") + "…"
		}
		out = append(out, strconv.Quote(n))
	}
	return out
}

func (r *reader) setClock() error {
	zone := r.settings.Timezone
	if zone == "" {
		zone = "UTC"
	}
	loc, err := time.LoadLocation(zone)
	if err != nil || strings.EqualFold(zone, "local") {
		return errkind.Inputf("--timezone %q is not known: name one like Europe/Berlin or UTC", zone)
	}
	r.clock = clock{zone: loc, layout: layoutOf(r.field["time"].Layout), counts: r.counts}
	if r.settings.Timezone == "" && (r.name == "sessions" || r.name == "conversions") {
		r.assumed = append(r.assumed, "times without a zone are UTC")
	}
	return nil
}

func (r *reader) setMoney(rates map[string]string) error {
	switch r.settings.Decimal {
	case "", ".", ",":
	default:
		return errkind.Inputf("--decimal %q: choose . or ,", r.settings.Decimal)
	}
	for currency, rate := range rates {
		d, err := decimal.NewFromString(rate)
		if err != nil || d.Sign() <= 0 {
			return errkind.Inputf("mapping: rates: %s: %q is no rate: write what one unit is worth, such as \"0.92\"", currency, rate)
		}
		r.rates[strings.ToUpper(currency)] = d
	}
	for _, f := range r.field {
		if !slices.Contains([]string{"", "cents", "micros"}, f.Unit) {
			return errkind.Inputf("mapping: unit %q: choose cents or micros", f.Unit)
		}
	}
	return nil
}

// need returns an input error unless of each of these there is a field.
func (r *reader) need(all ...[]string) error {
	var missing []string
	for _, one := range all {
		if !slices.ContainsFunc(one, func(name string) bool { return r.at[name] != nil }) {
			missing = append(missing, strings.Join(one, " or "))
		}
	}
	if missing == nil {
		return nil
	}
	return errkind.Inputf("%s: no column is known to be %s: name it in a mapping, which --guess proposes; the file has %s",
		r.name, strings.Join(missing, ", "), strings.Join(quoted(r.columns), ", "))
}

func (r *reader) kind() (func([]string, Into) error, error) {
	channel := []string{"channel_name", "source", "medium", "campaign", "referrer"}
	switch r.name {
	case "sessions":
		r.assumeFlags()
		return r.session, r.need([]string{"session_id"}, []string{"user_id"}, []string{"time", "event_date"}, channel)
	case "conversions":
		return r.conversion, r.need([]string{"conv_id"}, []string{"user_id"}, []string{"time", "conv_date"}, []string{"revenue"})
	case "costs":
		return r.cost, r.need([]string{"session_id"}, []string{"cost"})
	default:
		return r.daily, r.need([]string{"date"}, []string{"cost"}, channel)
	}
}

func (r *reader) assumeFlags() {
	for _, name := range []string{"holder_engagement", "closer_engagement", "impression_interaction"} {
		if r.at[name] == nil {
			r.assumed = append(r.assumed, name+" is 0, as no column is mapped to it")
		}
	}
}

// value returns the text of a field, "" where it is not mapped.
func (r *reader) value(row []string, field string) string {
	if at := r.at[field]; at != nil {
		return at(row)
	}
	return ""
}

// wrong says what is wrong with a value.
func (r *reader) wrong(row []string, field string, why error) error {
	return &tabular.RowError{Column: r.shown[field], Value: r.value(row, field), Why: why.Error()}
}
