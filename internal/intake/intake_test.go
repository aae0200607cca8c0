package intake

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/unit"
)

// kept keeps rows as texts.
type kept []string

func (k *kept) put(values ...any) error {
	*k = append(*k, strings.Trim(fmt.Sprintln(values...), "\n"))
	return nil
}

func (k *kept) Session(id, user, date, clock, channel string, holder, closer, impression bool) error {
	return k.put(id, user, date, clock, channel, holder, closer, impression)
}

func (k *kept) Conversion(id, user, date, clock string, revenue float64) error {
	return k.put(id, user, date, clock, revenue)
}
func (k *kept) Cost(session string, cost float64) error { return k.put(session, cost) }
func (k *kept) DailyCost(date, begins, ends, channel string, cost unit.Cost) error {
	return k.put(date, begins, ends, channel, cost.Decimal())
}

func berlin(t require.TestingT) *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	return zone
}

func TestTimesAreReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	c := clock{zone: berlin(t), counts: &Counts{}}
	for text, want := range map[string]string{
		"2024-03-25 08:29:01":        "2024-03-25 07:29:01",
		"2024-03-25T08:29":           "2024-03-25 07:29:00",
		"2024-03-25 8:29:01.25":      "2024-03-25 07:29:01.25",
		"25.03.2024 08:29":           "2024-03-25 07:29:00",
		"5.3.2024 8:29":              "2024-03-05 07:29:00",
		"2024-03-25T08:29:01Z":       "2024-03-25 08:29:01",
		"2024-03-25 10:00:00 +0100":  "2024-03-25 09:00:00",
		"2024-03-25T10:00:00+05:30":  "2024-03-25 04:30:00",
		"2024-03-25 10:00:00 UTC":    "2024-03-25 10:00:00",
		"2024-03-25T08:29:01.1234Z":  "2024-03-25 08:29:01.1234",
		"1711324800":                 "2024-03-25 00:00:00",
		"1711324800.5":               "2024-03-25 00:00:00.5",
		"1711324800123":              "2024-03-25 00:00:00.123",
		"1711324800123456":           "2024-03-25 00:00:00.123456",
		"1711324800123456789":        "2024-03-25 00:00:00.123456",
		" 2024-07-01 00:30:00 ":      "2024-06-30 22:30:00",
		"20240325 23:30:00":          "2024-03-25 22:30:00",
		"2024-03-25 08:29:01.999999": "2024-03-25 07:29:01.999999",
		"2024-03-25T10:00:00+01":     "2024-03-25 09:00:00",
		"2024-03-25T10:00+0100":      "2024-03-25 09:00:00",
		"2024-03-25T10:00-03":        "2024-03-25 13:00:00",
		"20240325T100000Z":           "2024-03-25 10:00:00",
		"20240325T100000.5+0530":     "2024-03-25 04:30:00.5",
		"20240325T100000+01:00":      "2024-03-25 09:00:00",
		"20240325T082901":            "2024-03-25 07:29:01",
		"20240325T0829":              "2024-03-25 07:29:00",
		"2024-03-25T08:29:01,25":     "2024-03-25 07:29:01.25",
	} {
		date, at, err := c.read(text)
		require.NoError(t, err, text)
		require.Equal(t, want, date+" "+at, text)
	}
	for text, why := range map[string]error{"": errNoTime, "2024-03-25": errNoHour, "gestern": errTime, "2024-02-30 10:00:00": errTime,
		"25/03/2024 10:00": errTime, "2024-03-25 10:00:00 CEST": errTime, "12": errTime} {
		_, _, err := c.read(text)
		require.ErrorIs(t, err, why, text)
	}
	c.layout = layoutOf("%m/%d/%Y %I:%M %p")
	date, at, err := c.read("03/25/2024 01:05 PM")
	require.NoError(t, err)
	require.Equal(t, "2024-03-25 12:05:00", date+" "+at)
}

func TestNightsWhenClocksChangeAreCounted(t *testing.T) {
	t.Parallel()
	counts := Counts{}
	c := clock{zone: berlin(t), counts: &counts}
	for _, s := range []struct {
		text, want   string
		twice, never int64
	}{
		{"2024-03-31 01:59:59", "2024-03-31 00:59:59", 0, 0},
		{"2024-03-31 02:30:00", "2024-03-31 01:30:00", 0, 1}, // is 03:30 in summer
		{"2024-03-31 03:00:00", "2024-03-31 01:00:00", 0, 1},
		{"2024-10-27 01:59:59", "2024-10-26 23:59:59", 0, 1},
		{"2024-10-27 02:30:00", "2024-10-27 00:30:00", 1, 1}, // the first, in summer
		{"2024-10-27 03:00:00", "2024-10-27 02:00:00", 1, 1},
	} {
		date, at, err := c.read(s.text)
		require.NoError(t, err)
		require.Equal(t, s.want, date+" "+at, s.text)
		require.Equal(t, []int64{s.twice, s.never}, []int64{counts.Twice, counts.Never}, s.text)
	}
}

// A time that is written in a zone is read back as what it was, but for the
// second of two alike.
func TestTimesOfAZoneAreReadBack(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"} {
		zone, err := time.LoadLocation(name)
		require.NoError(t, err)
		rapid.Check(t, func(t *rapid.T) {
			at := time.Unix(rapid.Int64Range(1_500_000_000, 1_900_000_000).Draw(t, "at"), 0).In(zone)
			counts := Counts{}
			c := clock{zone: zone, counts: &counts}
			date, hour, err := c.read(at.Format(time.DateTime))
			require.NoError(t, err)
			require.Zero(t, counts.Never)
			if counts.Twice == 0 {
				require.Equal(t, civil.Format(at.UnixMicro()), date+" "+hour)
			}
		})
	}
}

func TestAmountsAreExact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, mark, want string }{
		{"1234.56", "", "1234.56"}, {"1.234,56", "", "1234.56"}, {"1,234.56", "", "1234.56"}, {"465,61 €", ",", "465.61"}, {"€ 1.000", ",", "1000"},
		{"1.000", ".", "1"}, {"-0,5", ",", "-0.5"}, {"−12", "", "-12"}, {"1'234.50", ".", "1234.5"}, {"1 234,50", ",", "1234.5"},
		{"$12", "", "12"}, {"-€5", "", "-5"}, {".5", "", "0.5"}, {"1e3", "", "1000"}, {"1.5e-3", "", "0.0015"}, {"12,", ",", "12"}, {"0", ",", "0"},
	} {
		got, err := amount(c.text, c.mark)
		require.NoError(t, err, c.text)
		require.Equal(t, c.want, got.String(), c.text)
	}
	for _, c := range []struct {
		text, mark string
		why        error
	}{{"", "", errNoAmount}, {"1,234", "", errAmbiguous}, {"12,5", "", errAmbiguous}, {"12.50", ",", errAmount}, {"1,2,3", ".", errAmount},
		{"abc", "", errAmount}, {"1.2.3", ".", errAmount}, {"-", "", errAmount}, {".", ".", errAmount}, {"NaN", "", errAmount}, {"1e99999999", "", errAmount}} {
		_, err := amount(c.text, c.mark)
		require.ErrorIs(t, err, c.why, c.text)
	}
}

func TestAmountsAreReadBackInEitherSpelling(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := decimal.New(rapid.Int64Range(-1e14, 1e14).Draw(t, "n"), -rapid.Int32Range(0, 6).Draw(t, "decimals"))
		got, err := amount(d.String(), ".")
		require.NoError(t, err)
		require.True(t, d.Equal(got), d)
		got, err = amount(strings.ReplaceAll(d.String(), ".", ","), ",")
		require.NoError(t, err)
		require.True(t, d.Equal(got), d)
	})
}

func TestTheDefaultGroupingFindsChannels(t *testing.T) {
	t.Parallel()
	c, err := newChannels([]Rule{{Channel: "Brand", Source: "google | bing", Campaign: "*brand*"}}, "")
	require.NoError(t, err)
	for o, want := range map[origin]string{
		{}: "Direct", {source: "(direct)", medium: "(none)"}: "Direct",
		{source: "google", medium: "cpc", campaign: "My Brand 2"}:     "Brand",
		{source: "google", medium: "cpc"}:                             "Paid Search",
		{source: "google", medium: "cpc", campaign: "shopping_shoes"}: "Paid Shopping",
		{source: "google", medium: "organic"}:                         "Organic Search",
		{referrer: "https://www.google.com/"}:                         "Organic Search",
		{source: "facebook.com", medium: "paid_social"}:               "Paid Social",
		{source: "l.instagram.com", medium: "referral"}:               "Organic Social",
		{source: "newsletter", medium: "email"}:                       "Email",
		{source: "x", medium: "affiliate"}:                            "Affiliates",
		{source: "x", medium: "banner"}:                               "Display",
		{source: "blog.example", medium: "referral"}:                  "Referral",
		{referrer: "https://blog.example/"}:                           "Referral",
		{source: "x", medium: "y"}:                                    "Unassigned",
	} {
		got, ok := c.of(o)
		require.True(t, ok)
		require.Equal(t, want, got, o)
	}
	c, err = newChannels(nil, "none")
	require.NoError(t, err)
	_, ok := c.of(origin{})
	require.False(t, ok)
}

func rows(t *testing.T, mapping, table, columns string, lines ...string) (kept, Counts, []error) {
	t.Helper()
	m, err := Parse([]byte(mapping))
	require.NoError(t, err)
	var got kept
	var errs []error
	counts := Counts{}
	read, _, err := m.Reader(table, strings.Split(columns, ","), &counts)
	require.NoError(t, err)
	for _, l := range lines {
		if err := read(strings.Split(l, ","), &got); err != nil {
			errs = append(errs, err)
		}
	}
	return got, counts, errs
}

func TestTablesOfOurOwnNamesNeedNoMapping(t *testing.T) {
	t.Parallel()
	got, _, errs := rows(t, "", "sessions", "session_id,user_id,event_date,event_time,channel_name,holder_engagement,closer_engagement,impression_interaction", "s1,u1,2023-09-01,10:00:00,SEO,1,0,0")
	require.Empty(t, errs)
	require.Equal(t, kept{"s1 u1 2023-09-01 10:00:00 SEO true false false"}, got)
	got, _, _ = rows(t, "", "costs", "session_id,cost", "s1,0.25", "s2,")
	require.Equal(t, kept{"s1 0.25", "s2 " + fmt.Sprint(math.NaN())}, got)

	// As views have it whose moments serve as both.
	moment := "2024-01-14 00:49:01.48+02"
	again, _, errs := rows(t, "", "sessions", "session_id,user_id,event_date,event_time,channel_name,holder_engagement,closer_engagement,impression_interaction", "s1,u1,"+moment+","+moment+",SEO,1,0,0")
	require.Empty(t, errs)
	require.Contains(t, again[0], "2024-01-13")
	require.Contains(t, again[0], "22:49:01.48")
}

func TestOneCurrencyIsInADatabase(t *testing.T) {
	t.Parallel()
	got, counts, errs := rows(t, "{currency: EUR, rates: {USD: '0.92'}, conversions: {revenue: {column: amount, unit: cents}}}", "conversions", "conv_id,user_id,time,amount,currency",
		"c1,u1,2024-01-01T10:00:00Z,1050,eur", "c2,u1,2024-01-01T10:00:00Z,1000,USD", "c3,u1,2024-01-01T10:00:00Z,1000,GBP")
	require.Equal(t, kept{"c1 u1 2024-01-01 10:00:00 10.5", "c2 u1 2024-01-01 10:00:00 9.2"}, got)
	require.Equal(t, int64(1), counts.Converted)
	require.Len(t, errs, 1)
	require.ErrorContains(t, errs[0], `column "currency", value "GBP": another currency`)
}

// What no file says of its currency the first amount does, for all files.
func TestCurrencyOfTheFirstAmountIsThatOfAllFiles(t *testing.T) {
	t.Parallel()
	m, counts, got := &Mapping{}, &Counts{}, &kept{}
	for i, currency := range []string{"eur", "USD"} {
		read, _, err := m.Reader("conversions", []string{"conv_id", "user_id", "time", "revenue", "currency"}, counts)
		require.NoError(t, err)
		err = read([]string{"c1", "u1", "2024-01-01T10:00:00Z", "1", currency}, got)
		if i == 0 {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, `value "USD": another currency than EUR`)
	}
	require.Equal(t, "EUR", counts.Currency)
}

func TestWhatARowHasWrongIsShown(t *testing.T) {
	t.Parallel()
	_, _, errs := rows(t, "", "conversions", "conv_id,user_id,conv_date,conv_time,revenue", "c1,u1,2024-02-29,24:00:00,1", "c\x001,u1,2024-02-29,23:00:00,1")
	require.Len(t, errs, 2)
	require.ErrorContains(t, errs[0], `column "conv_date + conv_time", value "2024-02-29 24:00:00"`)
	require.ErrorContains(t, errs[1], "NUL")
}

func TestColumnThatIsThereTwiceIsNotGuessed(t *testing.T) {
	t.Parallel()
	columns := []string{"session_id", "cost", "note", "cost", "note"}
	_, _, err := (&Mapping{}).Reader("costs", columns, &Counts{})
	require.ErrorContains(t, err, `costs.cost: the file has two columns "cost": say in the mapping which is meant, "#2" or "#4"`)
	read, _, err := (&Mapping{Costs: Table{Fields: map[string]Field{"cost": {Column: "#4"}}}}).Reader("costs", columns, &Counts{})
	require.NoError(t, err)
	got := &kept{}
	require.NoError(t, read([]string{"s1", "1", "", "2", ""}, got))
	require.Equal(t, &kept{"s1 2"}, got)
}

func TestDailyCostsAreOfDaysOfTheZone(t *testing.T) {
	t.Parallel()
	for _, columns := range []string{"date,channel,amount", "Date,Channel,Cost", "date,campaign,amount"} {
		again, _, errs := rows(t, "timezone: Europe/Berlin\nchannels: [{channel: SEA, campaign: SEA}]", "daily_costs", columns, "2024-03-31,SEA,12.5")
		require.Empty(t, errs, columns)
		require.Len(t, again, 1)
	}
	got, _, errs := rows(t, "timezone: Europe/Berlin", "daily_costs", "date,channel_name,cost", "2024-03-31,SEA,12.5")
	require.Empty(t, errs)
	require.Equal(t, kept{"2024-03-31 2024-03-30 23:00:00 2024-03-31 22:00:00 SEA 12.5"}, got)
}

func TestWhatIsWrongWithAMappingIsSaid(t *testing.T) {
	t.Parallel()
	for mapping, says := range map[string]string{
		"sessions: {seession_id: x}":             `sessions has no field "seession_id"`,
		"sessions: {user_id: {colum: x}}":        `a field has no "colum"`,
		"grouping: mine":                         "choose default or none",
		"a: [":                                   "no YAML",
		"sessions: {session_id: x}":              `no column "x"`,
		"timezone: Berlin":                       `--timezone "Berlin"`,
		"decimal: x":                             "choose . or ,",
		"channels: [{channel: a, source: '~('}]": "rule 1 of channels",
		"sessions: {user_id: '#9'}":              `no column "#9"`,
		"{rates: {USD: x}}":                      "is no rate",
		"sessions: {user_id: {column: user_id, unit: pounds}}": "choose cents or micros",
	} {
		m, err := Parse([]byte(mapping))
		if err == nil {
			_, _, err = m.Reader("sessions", []string{"session_id", "user_id", "time", "channel_name"}, &Counts{})
		}
		require.ErrorContains(t, err, says, mapping)
		require.Equal(t, errkind.Input, errkind.KindOf(err), mapping)
	}
}

// What is proposed can be kept, and read.
func TestGuessesAreMappings(t *testing.T) {
	t.Parallel()
	table, open := Guess("sessions", strings.Split("user_pseudo_id,ga_session_id,event_timestamp,session_source,session_medium,add_to_carts", ","), [][]string{{"u", "1", "1711324800123456", "google", "cpc", "3"}})
	require.Empty(t, open)
	m := &Mapping{Sessions: table}
	text, err := m.YAML()
	require.NoError(t, err)
	got, _, errs := rows(t, string(text), "sessions", "user_pseudo_id,ga_session_id,event_timestamp,session_source,session_medium,add_to_carts", "u,1,1711324800123456,google,cpc,3")
	require.Empty(t, errs)
	require.Equal(t, kept{"u_1 u 2024-03-25 00:00:00.123456 Paid Search false true false"}, got)

	for column, want := range map[string]float64{"pages": 2, "Actions": 2, "engagement_time_msec": 10_000} {
		table, _ = Guess("sessions", []string{"session_id", column}, [][]string{{"s", "1"}})
		require.NotNil(t, table.Fields["holder_engagement"].AtLeast, column)
		require.InDelta(t, want, *table.Fields["holder_engagement"].AtLeast, 0, column)
	}
	table, _ = Guess("sessions", []string{"session_id", "engaged_session_event"}, [][]string{{"s", "1"}})
	require.Equal(t, Field{Column: "engaged_session_event"}, table.Fields["holder_engagement"])
	table, open = Guess("conversions", []string{"event_timestamp", "user_pseudo_id", "ecommerce.transaction_id", "ecommerce.purchase_revenue"}, nil)
	require.Empty(t, open)
	require.Equal(t, "ecommerce.purchase_revenue", table.Fields["revenue"].Column)

	table, open = Guess("conversions", []string{"Name", "Total"}, [][]string{{"#1", "12,50"}, {"#1", ""}})
	require.Equal(t, []string{"conversions.user_id", "conversions.time"}, open)
	require.Equal(t, ",", table.Decimal)
	require.Equal(t, []string{"Total"}, table.SkipBlank)
}

// FuzzValues reads whatever there is as a time, a date, an amount and a flag: what
// is read is what the pipeline's tables take.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"2024-03-25 08:29:01", "1711324800.5", "1.234,56 €", "ja", "25.03.2024", "1e5"} {
		f.Add(s, ",")
	}
	zone := berlin(f)
	f.Fuzz(func(t *testing.T, s, mark string) {
		c := clock{zone: zone, counts: &Counts{}}
		if date, at, err := c.read(s); err == nil && (!civil.IsDate(date) || !civil.IsTime(at)) {
			t.Fatalf("%q became %q %q", s, date, at)
		}
		if date, err := readDate(s, ""); err == nil && !civil.IsDate(date) {
			t.Fatalf("%q became %q", s, date)
		}
		_, _ = amount(s, mark)
		_, _ = flag(s, nil, mark)
	})
}

// FuzzMapping reads whatever there is as a mapping.
func FuzzMapping(f *testing.F) {
	f.Add([]byte("mapping: {sessions: {session_id: {columns: [a, b]}}, channels: [{channel: x, source: '*a*|b'}]}"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if m, err := Parse(data); err == nil {
			_, _, _ = m.Reader("sessions", []string{"a", "b"}, &Counts{})
		}
	})
}
