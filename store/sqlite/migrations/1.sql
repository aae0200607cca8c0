-- The tables of the first release: counts as columns, no journal.
CREATE TABLE IF NOT EXISTS pipeline_runs (
	run_id           text    NOT NULL PRIMARY KEY,
	status           text    NOT NULL DEFAULT 'running',
	request          text    NOT NULL DEFAULT '{}',
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
	revision         integer NOT NULL DEFAULT 0
) WITHOUT ROWID;

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

CREATE TABLE IF NOT EXISTS pipeline_outcomes (
	run_id   text    NOT NULL,
	conv_id  text    NOT NULL,
	chunk    integer NOT NULL,
	outcome  text    NOT NULL,
	reason   text    NOT NULL,
	sessions integer NOT NULL,
	PRIMARY KEY (run_id, conv_id)
) WITHOUT ROWID;
