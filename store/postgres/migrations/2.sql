-- What changed from one report to the next, and why: ADR 0022. Records of old
-- runs are dropped.
ALTER TABLE pipeline_runs ADD COLUMN program text    NOT NULL DEFAULT ''; -- version of the program that accepted it
ALTER TABLE pipeline_runs ADD COLUMN source  text    NOT NULL DEFAULT ''; -- digest of the source tables as it read them
ALTER TABLE pipeline_runs ADD COLUMN report  integer;                     -- number of its report among all of the database; NULL where it has none
ALTER TABLE pipeline_runs ADD COLUMN dropped integer NOT NULL DEFAULT 0;  -- 1: of its records this row alone is left

-- What channel_reporting came to, by report and channel.
CREATE TABLE pipeline_totals (
	report      integer NOT NULL,
	channel     text    COLLATE "C" NOT NULL,
	ihc         numeric NOT NULL,
	ihc_revenue numeric NOT NULL,
	cost        numeric NOT NULL,
	PRIMARY KEY (report, channel)
);

-- By how much that differs from the report before, by cause.
CREATE TABLE pipeline_changes (
	report      integer NOT NULL,
	channel     text    COLLATE "C" NOT NULL,
	cause       text    COLLATE "C" NOT NULL,
	ihc         numeric NOT NULL,
	ihc_revenue numeric NOT NULL,
	cost        numeric NOT NULL,
	PRIMARY KEY (report, channel, cause)
);

-- What the last report told of each conversion in the journal: what the next one
-- is compared with, since by then the tables have changed.
CREATE TABLE pipeline_told (
	conv_id     text    COLLATE "C" PRIMARY KEY,
	journey     bigint  NOT NULL, -- the row of the journal
	run         integer NOT NULL, -- that scored it
	fingerprint bytea,            -- as in pipeline_journeys
	sessions    bigint  NOT NULL, -- hash of its sessions there
	revenue     bigint  NOT NULL, -- in ten-thousandths
	credit      bytea   NOT NULL  -- its shares by channel
);

-- What pipeline_told calls the channels.
CREATE TABLE pipeline_channels (
	channel bigint PRIMARY KEY,
	name    text   COLLATE "C" NOT NULL UNIQUE
);

-- What channels cost by day, as an import was given it, and what became of it:
-- the costs of sessions, or costs of days without any.
CREATE TABLE pipeline_daily_costs (
	date     text   COLLATE "C" NOT NULL, -- in the zone of the file
	channel  text   COLLATE "C" NOT NULL,
	begins   text   COLLATE "C" NOT NULL, -- the day in UTC, from here
	ends     text   COLLATE "C" NOT NULL, -- until before here
	cost     bigint NOT NULL,             -- in millionths
	sessions bigint,                      -- over which it is spread, 0 for a cost without sessions
	PRIMARY KEY (date, channel)
);

-- The rows of session_costs that daily costs became.
CREATE TABLE pipeline_spread_costs (session_id text COLLATE "C" PRIMARY KEY);
