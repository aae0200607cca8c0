-- Runs by number, counts by outcome as rows, and the journal.
ALTER TABLE pipeline_runs RENAME TO pipeline_runs_1;
ALTER TABLE pipeline_chunks RENAME TO pipeline_chunks_1;
ALTER TABLE pipeline_outcomes RENAME TO pipeline_outcomes_1;

-- One row for each run. The expected counts come from the extractor and are
-- NULL until it has read everything.
CREATE TABLE pipeline_runs (
	run             integer PRIMARY KEY,                -- what the other tables call it
	run_id          text    NOT NULL UNIQUE,
	status          text    NOT NULL DEFAULT 'running', -- running, written, failed, cancelled, superseded
	request         text    NOT NULL DEFAULT '{}',      -- the accepted request, JSON
	model           text    NOT NULL DEFAULT '',        -- what scored it
	expected_chunks integer,
	expected_range  integer,
	chunks          integer NOT NULL DEFAULT 0,         -- stored
	requests        integer NOT NULL DEFAULT 0,         -- whose values are stored
	revision        integer NOT NULL DEFAULT 0,         -- chunks scored anew after a dead letter was put back
	next_journey    integer NOT NULL DEFAULT 1,         -- the first row of the journal that may be its own and is not shown yet
	shown           integer NOT NULL DEFAULT 0          -- 1: attribution_customer_journey has all that is stored
);

-- One row for each chunk whose result is stored: what makes storing it twice
-- the same as storing it once (invariant 3).
CREATE TABLE pipeline_chunks (
	run      integer NOT NULL,
	chunk    integer NOT NULL,
	revision integer NOT NULL,
	requests integer NOT NULL,
	shown    integer NOT NULL DEFAULT 0, -- 1: attribution_customer_journey has it
	PRIMARY KEY (run, chunk)
) WITHOUT ROWID;

-- The conversions of each chunk by outcome.
CREATE TABLE pipeline_counts (
	run         integer NOT NULL,
	chunk       integer NOT NULL,
	outcome     text    NOT NULL,
	conversions integer NOT NULL,
	touchpoints integer NOT NULL, -- of those that are attributed
	PRIMARY KEY (run, chunk, outcome)
) WITHOUT ROWID;

-- One row for each conversion that ended without an attribution, with the
-- reason (invariant 4). Those with one are in the journal.
CREATE TABLE pipeline_outcomes (
	run      integer NOT NULL,
	chunk    integer NOT NULL,
	conv_id  text    NOT NULL,
	outcome  text    NOT NULL,
	reason   text    NOT NULL,
	sessions integer NOT NULL, -- in its journey
	PRIMARY KEY (run, chunk, conv_id)
) WITHOUT ROWID;

-- The journal: one row for each conversion that was scored, in the order
-- results arrived. A row of a run that is not complete is nobody's result yet.
-- No number is given twice, so that next_journey and pipeline_latest never mean
-- another row than they did.
CREATE TABLE pipeline_journeys (
	journey     integer PRIMARY KEY AUTOINCREMENT,
	run         integer NOT NULL,
	chunk       integer NOT NULL, -- 0: adopted and not used
	conv_id     text    NOT NULL,
	fingerprint blob,             -- of what was scored and by what; NULL where not known
	sessions    blob    NOT NULL, -- the session ids in order: see encodeSessions
	shares      blob    NOT NULL  -- ihc and its phases of each session: see encodeShares
);

-- Which row of the journal attribution_customer_journey shows of a conversion.
CREATE TABLE pipeline_latest (
	conv_id text    NOT NULL PRIMARY KEY,
	journey integer NOT NULL
) WITHOUT ROWID;

-- Rows of the journal that a run took over from an interrupted one whose place
-- it takes. In the journal their chunk is 0 until they are used.
CREATE TABLE pipeline_adopted (
	run         integer NOT NULL,
	conv_id     text    NOT NULL,
	fingerprint blob,
	journey     integer NOT NULL,
	PRIMARY KEY (run, conv_id)
) WITHOUT ROWID;

-- The earlier release wrote attributions at once: those runs show what they have.
INSERT INTO pipeline_runs (run_id, status, request, model, expected_chunks, expected_range, chunks, requests, revision, shown)
	SELECT run_id, status, request, model, expected_chunks, expected_range, chunks, requests, revision, status = 'written' FROM pipeline_runs_1;
INSERT INTO pipeline_chunks SELECT run, chunk, c.revision, c.requests, status = 'written' FROM pipeline_chunks_1 c JOIN pipeline_runs USING (run_id);
INSERT INTO pipeline_counts
	SELECT run, chunk, 'attributed', c.attributed, c.touchpoints FROM pipeline_chunks_1 c JOIN pipeline_runs USING (run_id) WHERE c.attributed > 0 UNION ALL
	SELECT run, chunk, 'approximated', c.approximated, 0 FROM pipeline_chunks_1 c JOIN pipeline_runs USING (run_id) WHERE c.approximated > 0 UNION ALL
	SELECT run, chunk, 'excluded', c.excluded, 0 FROM pipeline_chunks_1 c JOIN pipeline_runs USING (run_id) WHERE c.excluded > 0 UNION ALL
	SELECT run, chunk, 'failed', c.failed, 0 FROM pipeline_chunks_1 c JOIN pipeline_runs USING (run_id) WHERE c.failed > 0 UNION ALL
	SELECT run, chunk, 'without_sessions', c.without_sessions, 0 FROM pipeline_chunks_1 c JOIN pipeline_runs USING (run_id) WHERE c.without_sessions > 0;
INSERT INTO pipeline_outcomes SELECT run, chunk, conv_id, outcome, reason, sessions FROM pipeline_outcomes_1 JOIN pipeline_runs USING (run_id);

DROP TABLE pipeline_runs_1;
DROP TABLE pipeline_chunks_1;
DROP TABLE pipeline_outcomes_1;
