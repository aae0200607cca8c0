package source

import "fmt"

// A rule is one kind of finding: what it means and what to do about it.
type rule struct {
	code     string
	severity Severity
	message  string
}

// with returns the rule with the gaps of its message filled.
func (r rule) with(args ...any) rule {
	r.message = fmt.Sprintf(r.message, args...)
	return r
}

// Findings about tables and columns.
var (
	missingTable  = rule{"missing_table", Error, "the table is missing; create it with the columns %s"}
	missingColumn = rule{"missing_column", Error, "the column is missing; add it (%s)"}
	isView        = rule{"view", Error, "is a view, which cannot be indexed; make it a table (CREATE TABLE … AS SELECT * FROM the view)"}
	extraColumn   = rule{"extra_column", Note, "the column is not used"}
	wrongShape    = rule{"wrong_shape", Error, "the table cannot take the results: %s; rename or drop it, and it is created anew"}
	emptyTable    = rule{"empty", Warning, "the table is empty: there is nothing to attribute"}
)

// Findings about values.
var (
	isNull    = rule{"null", Error, "NULL where a value is needed; fill it in or delete the row"}
	wrongType = rule{"wrong_type", Error, "the value is stored as the wrong type; store it as %s"}
	notUTF8   = rule{"invalid_utf8", Error, "the text is no valid UTF-8; store it anew in UTF-8"}

	duplicateID = rule{"duplicate_id", Error, "the id occurs more than once; keep one row of each"}
	blankID     = rule{"blank_id", Error, "the id is empty or only spaces; give every row an id"}
	longText    = rule{"long", Warning, "longer than 1 KiB; is it the right column?"}
	tooLong     = rule{"too_long", Error, "longer than 64 KiB, too long to be sent; shorten it"}
	controlChar = rule{"control_characters", Note, "contains line breaks or other control characters; it is kept as it is"}

	unreadableDate = rule{"unreadable_date", Error, "no date of the calendar written YYYY-MM-DD; write it like 2023-09-01"}
	unreadableTime = rule{"unreadable_time", Error, "no time of day written HH:MM:SS; write it like 13:01:28 or 13:01:28.5"}
	zonedTime      = rule{"time_with_zone", Error, "the time carries a time zone; convert date and time to UTC and write them without it"}

	badFlag = rule{"bad_flag", Error, "the flag is neither 0 nor 1; correct it"}

	notFinite       = rule{"not_finite", Error, "the number is infinite; correct it"}
	tooLarge        = rule{"too_large", Error, "the amount is 90,000,000,000 or more, too large to be summed exactly; use a larger unit of currency"}
	negativeRevenue = rule{"negative_revenue", Warning, "negative revenue, such as a refund, lowers the channels' revenue; delete the row if that is not meant"}
	revenueDecimals = rule{"revenue_decimals", Warning, "revenue has more than 4 decimals; it is reckoned to 4"}
	nullCost        = rule{"null_cost", Note, "cost is NULL; it counts as 0"}
	negativeCost    = rule{"negative_cost", Warning, "negative cost lowers the channels' cost; correct it if that is not meant"}
	costDecimals    = rule{"cost_decimals", Warning, "cost has more than 6 decimals; it is reckoned to 6"}
)

// Findings about channels.
var (
	blankChannel    = rule{"blank_channel", Warning, "the channel name is empty or only spaces; it is reported as it is"}
	formulaChannel  = rule{"formula_channel", Note, "the name begins like a spreadsheet formula; the CSV puts ' before it, so that none is run"}
	similarChannels = rule{"similar_channels", Warning, "the names differ only in case or spaces; they are reported as different channels"}
	manyChannels    = rule{"many_channels", Warning, "there are very many different names; is it the right column?"}
)

// Findings about how rows belong together.
var (
	unknownSession   = rule{"unknown_session", Warning, "the cost's session is not in session_sources; the cost is left out of the report"}
	sessionsNoCost   = rule{"without_cost", Note, "the session has no row in session_costs; its cost counts as 0"}
	conversionsAlone = rule{"without_sessions", Note, "the conversion's user has no session at all; it cannot be attributed"}
	nothingInRange   = rule{"nothing_in_range", Warning, "no conversion is in the range of dates asked for; the data have them from %s to %s"}
)
