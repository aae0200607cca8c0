package intake

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/ihc-pipeline/ihc/internal/tabular"
	"github.com/ihc-pipeline/ihc/internal/unit"
)

var (
	errNoID = errors.New("the id is empty: give every row one, or pass such rows over by skip_blank in the mapping")
	errNUL  = errors.New("it holds a NUL character, at which other programs end a text: is the file damaged, or its encoding another?")
)

// id returns an id that is not blank.
func (r *reader) id(row []string, field string) (string, error) {
	v := r.value(row, field)
	switch {
	case strings.TrimSpace(v) == "":
		return "", r.wrong(row, field, errNoID)
	case strings.IndexByte(v, 0) >= 0:
		return "", r.wrong(row, field, errNUL)
	}
	return v, nil
}

// when returns date and time of day in UTC: of the column time, or of two.
func (r *reader) when(row []string, date, clock string) (string, string, error) {
	column, text := r.shown["time"], r.value(row, "time")
	if r.at["time"] == nil {
		column, text = r.shown[date], r.value(row, date)
		if r.at[clock] != nil {
			column += " + " + r.shown[clock]
			hour := strings.TrimSpace(r.value(row, clock))
			if len(hour) > 1 && hour[1] == ':' {
				hour = "0" + hour
			}
			if text = strings.TrimSpace(text); text != hour { // a moment that stands in both is one
				text += " " + hour
			}
		}
	}
	day, at, err := r.clock.read(text)
	if err != nil {
		return "", "", &tabular.RowError{Column: column, Value: text, Why: err.Error()}
	}
	return day, at, nil
}

// channel returns the channel of a visit: as it is, or by the rules.
func (r *reader) channel(row []string) (string, error) {
	if r.at["channel_name"] != nil {
		name := r.value(row, "channel_name")
		if strings.IndexByte(name, 0) >= 0 {
			return "", r.wrong(row, "channel_name", errNUL)
		}
		return name, nil
	}
	o := origin{r.value(row, "source"), r.value(row, "medium"), r.value(row, "campaign"), r.value(row, "referrer")}
	name, ok := r.channels.of(o)
	if !ok {
		return "", r.wrong(row, "source", errors.New("no rule gives a channel to "+o.String()+": add one, such as {channel: Other} at the end"))
	}
	return name, nil
}

func (r *reader) session(row []string, into Into) error {
	id, err1 := r.id(row, "session_id")
	user, err2 := r.id(row, "user_id")
	date, at, err3 := r.when(row, "event_date", "event_time")
	channel, err4 := r.channel(row)
	if err := first(err1, err2, err3, err4); err != nil {
		return err
	}
	var flags [3]bool
	for i, field := range [...]string{"holder_engagement", "closer_engagement", "impression_interaction"} {
		if r.at[field] == nil {
			continue
		}
		var err error
		if flags[i], err = flag(r.value(row, field), r.field[field].AtLeast, r.settings.Decimal); err != nil {
			return r.wrong(row, field, err)
		}
	}
	return into.Session(id, user, date, at, channel, flags[0], flags[1], flags[2])
}

func (r *reader) conversion(row []string, into Into) error {
	id, err1 := r.id(row, "conv_id")
	user, err2 := r.id(row, "user_id")
	date, at, err3 := r.when(row, "conv_date", "conv_time")
	revenue, err4 := r.money(row, "revenue", unit.MoneyDecimals)
	if err := first(err1, err2, err3, err4); err != nil {
		return err
	}
	return into.Conversion(id, user, date, at, revenue.InexactFloat64())
}

func (r *reader) cost(row []string, into Into) error {
	id, err1 := r.id(row, "session_id")
	if err1 == nil && strings.TrimSpace(r.value(row, "cost")) == "" {
		return into.Cost(id, math.NaN())
	}
	cost, err2 := r.money(row, "cost", unit.CostDecimals)
	if err := first(err1, err2); err != nil {
		return err
	}
	return into.Cost(id, cost.InexactFloat64())
}

func (r *reader) daily(row []string, into Into) error {
	date, err := readDate(r.value(row, "date"), layoutOf(r.field["date"].Layout))
	if err != nil {
		return r.wrong(row, "date", err)
	}
	channel, err1 := r.channel(row)
	cost, err2 := r.money(row, "cost", unit.CostDecimals)
	if err := first(err1, err2); err != nil {
		return err
	}
	begins, ends := r.bounds(date)
	return into.DailyCost(date, begins, ends, channel, unit.Cost(cost.Shift(unit.CostDecimals).IntPart()))
}

var (
	errHuge = errors.New("90,000,000,000 or more, too large to be summed exactly: use a larger unit of currency")
	hugest  = decimal.New(9, 10)
)

// money returns an amount in the database's currency, with at most so many
// decimals, halves rounded away from zero.
func (r *reader) money(row []string, field string, decimals int32) (decimal.Decimal, error) {
	d, err := amount(r.value(row, field), r.settings.Decimal)
	if err != nil {
		return d, r.wrong(row, field, err)
	}
	switch r.field[field].Unit {
	case "cents":
		d = d.Shift(-2)
	case "micros":
		d = d.Shift(-6)
	}
	if r.at["currency"] != nil {
		currency := strings.ToUpper(strings.TrimSpace(r.value(row, "currency")))
		own := r.currency
		if own == "" {
			if r.counts.Currency == "" {
				r.counts.Currency = currency // and so that of all rows of all files
			}
			own = r.counts.Currency
		}
		rate, known := r.rates[currency]
		switch {
		case currency == own:
		case known:
			d = d.Mul(rate)
			r.counts.Converted++
		default:
			return d, r.wrong(row, "currency", fmt.Errorf("another currency than %s, the database's: leave the row out, or give a rate in the mapping, such as rates: {USD: \"0.92\"}", own))
		}
	}
	if d = d.Round(decimals); d.Abs().GreaterThanOrEqual(hugest) {
		return d, r.wrong(row, field, errHuge)
	}
	return d, nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// bounds returns when a day of the zone begins and the next one does, in UTC.
func (r *reader) bounds(date string) (begins, ends string) {
	at, _ := time.Parse(time.DateOnly, date)
	from := time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, r.clock.zone)
	until := time.Date(at.Year(), at.Month(), at.Day()+1, 0, 0, 0, 0, r.clock.zone)
	return from.UTC().Format(time.DateTime), until.UTC().Format(time.DateTime)
}
