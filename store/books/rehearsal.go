package books

import "github.com/ihc-pipeline/ihc/internal/tables"

// Rehearsed are rows as a run writes them, for ids and channels that nobody has:
// shares from 0 to 1, ids that differ in nothing but case or a space. They are
// statements that every SQL database takes.
var Rehearsed = []struct{ Table, Insert, Remove string }{
	{tables.CustomerJourney, `INSERT INTO attribution_customer_journey (conv_id, session_id, ihc) VALUES
		('pipeline rehearsal', 'a', 0.0), ('pipeline rehearsal', 'A', 1.0), ('pipeline rehearsal', 'a ', 0.1234), ('Pipeline Rehearsal', 'a', 0.5)`,
		`DELETE FROM attribution_customer_journey WHERE conv_id = 'pipeline rehearsal'`},
	{tables.ChannelReporting, `INSERT INTO channel_reporting (channel_name, date, cost, ihc, ihc_revenue) VALUES
		('pipeline rehearsal', '2023-09-01', 0.0, 0.0, 0.0), ('Pipeline Rehearsal', '2023-09-01', 12.345678, 0.4321, 99.95), ('pipeline rehearsal ', '2023-09-02', 1.0, 1.0, 1.0)`,
		`DELETE FROM channel_reporting WHERE channel_name = 'pipeline rehearsal'`},
}
