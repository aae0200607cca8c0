-- What was scored before is used again by the runs that come after it.
ALTER TABLE pipeline_runs ADD COLUMN reuses integer NOT NULL DEFAULT 0;     -- 1: what it may reuse is in pipeline_reusable, or was
ALTER TABLE pipeline_journeys ADD COLUMN scored integer NOT NULL DEFAULT 0; -- when, in seconds since 1970; 0 where not known

-- What a run under way may use of what other runs scored: what was shown of the
-- conversions in its range when it began. It is settled once, since an
-- extractor that is killed has to make the same chunks again. Rows of the
-- journal that are in here are kept; the run's end empties it.
CREATE TABLE pipeline_reusable (
	run         integer NOT NULL,
	conv_id     text    NOT NULL,
	fingerprint blob    NOT NULL,
	journey     integer NOT NULL,
	PRIMARY KEY (run, conv_id)
) WITHOUT ROWID;

-- Rows of the journal that are another run's and that a chunk uses.
CREATE TABLE pipeline_reused (
	run     integer NOT NULL,
	chunk   integer NOT NULL,
	journey integer NOT NULL,
	PRIMARY KEY (run, chunk, journey)
) WITHOUT ROWID;

-- Rows of the journal that are shown no more and go as soon as no run under way
-- may use them.
CREATE TABLE pipeline_replaced (journey integer PRIMARY KEY);
