-- What changed from one report to the next, and why: ADR 0022.
ALTER TABLE pipeline_runs ADD COLUMN program text NOT NULL DEFAULT '';    -- version of the program that accepted it
ALTER TABLE pipeline_runs ADD COLUMN source  text NOT NULL DEFAULT '';    -- digest of the source tables as it read them
ALTER TABLE pipeline_runs ADD COLUMN report  integer;                     -- number of its report among all of the database; NULL where it has none
ALTER TABLE pipeline_runs ADD COLUMN dropped integer NOT NULL DEFAULT 0;  -- 1: of its records this row alone is left

-- What channel_reporting came to, by report and channel. Amounts are exact
-- decimals.
CREATE TABLE pipeline_totals (
	report      integer NOT NULL,
	channel     text    NOT NULL,
	ihc         text    NOT NULL,
	ihc_revenue text    NOT NULL,
	cost        text    NOT NULL,
	PRIMARY KEY (report, channel)
) WITHOUT ROWID;

-- By how much that differs from the report before, by cause.
CREATE TABLE pipeline_changes (
	report      integer NOT NULL,
	channel     text    NOT NULL,
	cause       text    NOT NULL,
	ihc         text    NOT NULL,
	ihc_revenue text    NOT NULL,
	cost        text    NOT NULL,
	PRIMARY KEY (report, channel, cause)
) WITHOUT ROWID;

-- What the last report told of each conversion in the journal, by its row there:
-- what the next one is compared with, since by then the tables have changed.
CREATE TABLE pipeline_told (
	journey     integer PRIMARY KEY,
	conv_id     text    NOT NULL,
	run         integer NOT NULL, -- that scored it
	fingerprint blob,             -- as in pipeline_journeys
	sessions    integer NOT NULL, -- hash of its sessions there
	revenue     integer NOT NULL, -- in ten-thousandths
	credit      blob    NOT NULL  -- its shares by channel: see encodeCredit
);

-- Rows of pipeline_told that the report under way does not tell.
CREATE TABLE pipeline_untold (journey integer PRIMARY KEY);

-- What pipeline_told calls the channels.
CREATE TABLE pipeline_channels (
	channel integer PRIMARY KEY,
	name    text NOT NULL UNIQUE
);
