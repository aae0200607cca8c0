-- The pipeline's own tables, beside the users' five. They can be dropped when
-- no run is under way: a new run makes them again.

-- One row for each run. The expected counts come from the extractor and are
-- NULL until it has read everything; the others grow with the chunks stored.
CREATE TABLE IF NOT EXISTS pipeline_runs (
	run_id           text    NOT NULL PRIMARY KEY,
	status           text    NOT NULL DEFAULT 'running', -- running, written, failed, cancelled
	request          text    NOT NULL DEFAULT '{}',      -- the accepted request, JSON
	model            text    NOT NULL DEFAULT '',
	expected_chunks  integer,
	expected_range   integer,
	chunks           integer NOT NULL DEFAULT 0,
	in_range         integer NOT NULL DEFAULT 0,
	attributed       integer NOT NULL DEFAULT 0,
	approximated     integer NOT NULL DEFAULT 0,
	excluded         integer NOT NULL DEFAULT 0,
	failed           integer NOT NULL DEFAULT 0,
	without_sessions integer NOT NULL DEFAULT 0,
	touchpoints      integer NOT NULL DEFAULT 0,
	requests         integer NOT NULL DEFAULT 0,
	revision         integer NOT NULL DEFAULT 0          -- chunks scored anew after a dead letter was put back
) WITHOUT ROWID;

-- One row for each chunk whose result is stored: what makes storing it twice
-- the same as storing it once (invariant 3).
CREATE TABLE IF NOT EXISTS pipeline_chunks (
	run_id           text    NOT NULL,
	chunk            integer NOT NULL,
	revision         integer NOT NULL,
	in_range         integer NOT NULL,
	attributed       integer NOT NULL,
	approximated     integer NOT NULL,
	excluded         integer NOT NULL,
	failed           integer NOT NULL,
	without_sessions integer NOT NULL,
	touchpoints      integer NOT NULL,
	requests         integer NOT NULL,
	PRIMARY KEY (run_id, chunk)
) WITHOUT ROWID;

-- One row for each conversion that ended without an attribution. Those with
-- one are counted by chunk above and have their rows in
-- attribution_customer_journey (invariant 4).
CREATE TABLE IF NOT EXISTS pipeline_outcomes (
	run_id   text    NOT NULL,
	conv_id  text    NOT NULL,
	chunk    integer NOT NULL,
	outcome  text    NOT NULL, -- excluded, failed, without_sessions
	reason   text    NOT NULL,
	sessions integer NOT NULL,
	PRIMARY KEY (run_id, conv_id)
) WITHOUT ROWID;
