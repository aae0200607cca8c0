package sqlite

// The five tables shared with the users of the database: the first three are
// read, the last two written. They are a contract: never altered, never
// dropped. Whatever else the pipeline needs it keeps in tables and indices
// named pipeline_*.
const (
	// CreateSessionSources makes the table of visits: one row a session, when
	// it happened (UTC), its channel and its engagement flags (0 or 1).
	CreateSessionSources = `CREATE TABLE IF NOT EXISTS session_sources (session_id text NOT NULL, user_id text NOT NULL, event_date text NOT NULL, event_time text NOT NULL, channel_name text NOT NULL, holder_engagement INTEGER NOT NULL, closer_engagement INTEGER NOT NULL, impression_interaction INTEGER NOT NULL, PRIMARY KEY(session_id))`

	// CreateConversions makes the table of orders: who, when (UTC), and the
	// revenue in the shop's currency.
	CreateConversions = `CREATE TABLE IF NOT EXISTS conversions (conv_id text NOT NULL, user_id text NOT NULL, conv_date text NOT NULL, conv_time text NOT NULL, revenue real NOT NULL, PRIMARY KEY(conv_id))`

	// CreateSessionCosts makes the table of marketing cost: one row a session
	// that cost something, in the shop's currency; NULL counts as 0.
	CreateSessionCosts = `CREATE TABLE IF NOT EXISTS session_costs (session_id text NOT NULL, cost real, PRIMARY KEY(session_id))`

	// CreateCustomerJourney makes the table of results: each session's share
	// of each conversion. Its shares of one conversion sum to 1. Without a row
	// number it is the same table to its users, in half the space; one that is
	// there already is used as it is.
	CreateCustomerJourney = `CREATE TABLE IF NOT EXISTS attribution_customer_journey (conv_id text NOT NULL, session_id text NOT NULL, ihc real NOT NULL, PRIMARY KEY(conv_id, session_id)) WITHOUT ROWID`

	// CreateChannelReporting makes the table of the report: one row for each
	// channel and session date that has sessions.
	CreateChannelReporting = `CREATE TABLE IF NOT EXISTS channel_reporting (channel_name text NOT NULL, date text NOT NULL, cost real NOT NULL, ihc real NOT NULL, ihc_revenue real NOT NULL, PRIMARY KEY(channel_name, date))`
)

// Schema is all five tables as one script.
const Schema = CreateSessionSources + ";\n" +
	CreateConversions + ";\n" +
	CreateSessionCosts + ";\n" +
	CreateCustomerJourney + ";\n" +
	CreateChannelReporting + ";\n"

// InputSchema is the three tables the pipeline reads, as one script: what an
// input database must hold.
const InputSchema = CreateSessionSources + ";\n" +
	CreateConversions + ";\n" +
	CreateSessionCosts + ";\n"
