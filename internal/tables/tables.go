// Package tables names the five tables a shop's database and the pipeline
// share. They are a contract with the users of the database: the first three
// are read, the last two written, none is ever altered or dropped. Whatever
// else the pipeline needs it keeps in tables of its own, named pipeline_*.
package tables

const (
	// SessionSources holds visits: one row a session (session_id), who
	// (user_id) and when (event_date, event_time, UTC), its channel_name, and
	// three flags of 0 or 1: holder_engagement, closer_engagement and
	// impression_interaction.
	SessionSources = "session_sources"
	// Conversions holds orders: conv_id, who (user_id) and when (conv_date,
	// conv_time, UTC), and the revenue in the shop's currency.
	Conversions = "conversions"
	// SessionCosts holds marketing cost: session_id and its cost in the shop's
	// currency; none or NULL counts as 0.
	SessionCosts = "session_costs"
	// CustomerJourney holds results: the share (ihc) of conversion conv_id that
	// session_id earned. The shares of one conversion sum to 1.
	CustomerJourney = "attribution_customer_journey"
	// ChannelReporting holds the report: cost, ihc and ihc_revenue of each
	// channel_name and session date that has sessions.
	ChannelReporting = "channel_reporting"
)

// All is the five in the order people meet them.
var All = []string{SessionSources, Conversions, SessionCosts, CustomerJourney, ChannelReporting}
