package findings

import "fmt"

// A Rule is one kind of finding: what it means and what to do about it.
type Rule struct {
	Code     string // stable, in snake_case
	Severity Severity
	Message  string // what is wrong and what to do; may have gaps, see [Rule.With]
}

// With returns the Rule with the gaps of its message filled.
func (r Rule) With(args ...any) Rule {
	r.Message = fmt.Sprintf(r.Message, args...)
	return r
}

// Findings about tables and columns.
var (
	MissingTable     = Rule{"missing_table", Error, "the table is missing; create it with the columns %s"}
	MissingColumn    = Rule{"missing_column", Error, "the column is missing; add it (%s)"}
	Unreadable       = Rule{"unreadable", Error, "it cannot be read: SQLite says %s; correct the view, or import the data (ihc import --from THIS --db ANOTHER)"}
	ExtraColumn      = Rule{"extra_column", Note, "the column is not used"}
	WrongShape       = Rule{"wrong_shape", Error, "the table cannot take the results: %s; rename or drop it, and it is created anew"}
	HasTrigger       = Rule{"trigger", Error, "the trigger %s would run on the results that are written; take it away (DROP TRIGGER %[1]s)"}
	UnknownCollation = Rule{"unknown_collation", Error, "the table sorts text by the collation %s, which is not known here; make the table anew without COLLATE and copy the rows"}
	EmptyTable       = Rule{"empty", Warning, "the table is empty: there is nothing to attribute"}
)

// Findings about values.
var (
	IsNull    = Rule{"null", Error, "NULL where a value is needed; fill it in or delete the row"}
	WrongType = Rule{"wrong_type", Error, "the value is stored as the wrong type; store it as %s"}
	NotUTF8   = Rule{"invalid_utf8", Error, "the text is no valid UTF-8; store it anew in UTF-8"}

	DuplicateID     = Rule{"duplicate_id", Error, "the id occurs more than once; keep one row of each"}
	BlankID         = Rule{"blank_id", Error, "the id is empty or only spaces; give every row an id"}
	SameByCollation = Rule{"same_by_collation", Error, "ids that differ are one to the column's collation %s; write each id the same way everywhere, or make the table anew without COLLATE"}
	NotUTF16        = Rule{"invalid_utf16", Error, "the text is no valid UTF-16, or holds U+FFFE or U+FFFF; store it anew"}
	LongText        = Rule{"long", Warning, "longer than 1 KiB; is it the right column?"}
	TooLong         = Rule{"too_long", Error, "longer than 64 KiB, too long to be sent; shorten it"}
	ControlChar     = Rule{"control_characters", Note, "contains line breaks or other control characters; it is kept as it is"}

	UnreadableDate = Rule{"unreadable_date", Error, "no date of the calendar written YYYY-MM-DD; write it like 2023-09-01"}
	UnreadableTime = Rule{"unreadable_time", Error, "no time of day written HH:MM:SS; write it like 13:01:28 or 13:01:28.5"}
	ZonedTime      = Rule{"time_with_zone", Error, "the time carries a time zone; convert date and time to UTC and write them without it"}

	BadFlag = Rule{"bad_flag", Error, "the flag is neither 0 nor 1; correct it"}

	NotFinite       = Rule{"not_finite", Error, "the number is infinite; correct it"}
	TooLarge        = Rule{"too_large", Error, "the amount is 90,000,000,000 or more, too large to be summed exactly; use a larger unit of currency"}
	NegativeRevenue = Rule{"negative_revenue", Warning, "negative revenue, such as a refund, lowers the channels' revenue; delete the row if that is not meant"}
	RevenueDecimals = Rule{"revenue_decimals", Warning, "revenue has more than 4 decimals; it is reckoned to 4"}
	NullCost        = Rule{"null_cost", Note, "cost is NULL; it counts as 0"}
	NegativeCost    = Rule{"negative_cost", Warning, "negative cost lowers the channels' cost; correct it if that is not meant"}
	CostDecimals    = Rule{"cost_decimals", Warning, "cost has more than 6 decimals; it is reckoned to 6"}
)

// Findings about channels.
var (
	BlankChannel    = Rule{"blank_channel", Warning, "the channel name is empty or only spaces; it is reported as it is"}
	FormulaChannel  = Rule{"formula_channel", Note, "the name begins like a spreadsheet formula; the CSV puts ' before it, so that none is run"}
	SimilarChannels = Rule{"similar_channels", Warning, "the names differ only in case or spaces, or in characters that look the same or do not show; they are reported as different channels"}
	ManyChannels    = Rule{"many_channels", Warning, "there are very many different names; is it the right column?"}
)

// Findings about how rows belong together.
var (
	UnknownSession   = Rule{"unknown_session", Warning, "the cost's session is not in session_sources; the cost is left out of the report"}
	SessionsNoCost   = Rule{"without_cost", Note, "the session has no row in session_costs; its cost counts as 0"}
	ConversionsAlone = Rule{"without_sessions", Note, "the conversion's user has no session at all; it cannot be attributed"}
	NothingInRange   = Rule{"nothing_in_range", Warning, "no conversion is in the range of dates asked for; the data have them from %s to %s"}
)
