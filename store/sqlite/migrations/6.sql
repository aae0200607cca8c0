-- What channels cost by day, as an import was given it, and what became of it:
-- the costs of sessions, or costs of days without any.
CREATE TABLE IF NOT EXISTS pipeline_daily_costs (
	date    text    NOT NULL, -- in the zone of the file
	channel text    NOT NULL,
	begins  text    NOT NULL, -- the day in UTC, from here
	ends    text    NOT NULL, -- until before here
	cost    integer NOT NULL, -- in millionths
	PRIMARY KEY (date, channel)
) WITHOUT ROWID;
ALTER TABLE pipeline_daily_costs ADD COLUMN sessions integer; -- over which it is spread, 0 for a cost without sessions

-- The rows of session_costs that daily costs became.
CREATE TABLE IF NOT EXISTS pipeline_spread_costs (session_id text PRIMARY KEY) WITHOUT ROWID;
