-- The pipeline's tables. Text that is compared or ordered goes by its bytes,
-- whatever the locale of the database.

-- Which database this is.
CREATE TABLE pipeline_database (
	one boolean PRIMARY KEY DEFAULT true CHECK (one), -- there is one row
	id  text NOT NULL                                 -- drawn when the first run began
);

-- One row for each run. The expected counts come from the extractor and are
-- NULL until it has read everything. What is stored is counted from
-- pipeline_chunks, so that writers do not wait for one row.
CREATE TABLE pipeline_runs (
	run             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- what the other tables call it
	run_id          text    COLLATE "C" NOT NULL UNIQUE,
	status          text    COLLATE "C" NOT NULL DEFAULT 'running', -- running, written, failed, cancelled, interrupted, superseded
	request         text    NOT NULL DEFAULT '{}',   -- the accepted request, JSON
	model           text    NOT NULL DEFAULT '',     -- what scored it, once it is written
	expected_chunks integer,
	expected_range  bigint,
	asked           text    NOT NULL DEFAULT '',     -- when and where in its stream it was asked for: '' where not known
	scoring         bytea,                           -- digest of what scores it; NULL until that is known
	scored_by       text    NOT NULL DEFAULT '',     -- the same in full, JSON, where it was settled when the run began
	reuses          boolean NOT NULL DEFAULT false   -- what it may reuse is in pipeline_reusable, or was
);

-- One row for each chunk whose result is stored: what makes storing it twice
-- the same as storing it once (invariant 3).
CREATE TABLE pipeline_chunks (
	run      integer NOT NULL,
	chunk    bigint  NOT NULL,
	revision bigint  NOT NULL,
	revised  bigint  NOT NULL, -- how often it was scored anew
	requests bigint  NOT NULL, -- whose values are stored
	seconds  double precision NOT NULL, -- that answered requests took
	model    text    NOT NULL,
	shown    boolean NOT NULL DEFAULT false, -- attribution_customer_journey has it
	PRIMARY KEY (run, chunk)
);

-- The conversions of each chunk by outcome.
CREATE TABLE pipeline_counts (
	run         integer NOT NULL,
	chunk       bigint  NOT NULL,
	outcome     text    COLLATE "C" NOT NULL,
	conversions bigint  NOT NULL,
	touchpoints bigint  NOT NULL, -- of those that are attributed
	PRIMARY KEY (run, chunk, outcome)
);

-- One row for each conversion that ended without an attribution, with the
-- reason (invariant 4). Those with one are in the journal.
CREATE TABLE pipeline_outcomes (
	run      integer NOT NULL,
	chunk    bigint  NOT NULL,
	conv_id  text    COLLATE "C" NOT NULL,
	outcome  text    COLLATE "C" NOT NULL,
	reason   text    COLLATE "C" NOT NULL,
	sessions bigint  NOT NULL, -- in its journey
	PRIMARY KEY (run, chunk, conv_id)
);

-- The journal: one row for each conversion that was scored. A row of a run that
-- is not complete is nobody's result yet. Shares are in ten-thousandths and
-- parallel to the sessions; those in each phase are NULL where not known.
CREATE TABLE pipeline_journeys (
	journey     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	run         integer NOT NULL,
	chunk       bigint  NOT NULL, -- 0: adopted and not used
	conv_id     text    COLLATE "C" NOT NULL,
	fingerprint bytea,            -- of what was scored and by what; NULL where not known
	sessions    text[]  COLLATE "C" NOT NULL,
	ihc         integer[] NOT NULL,
	initializer integer[],
	holder      integer[],
	closer      integer[],
	strategy    text    COLLATE "C",    -- latest, cut or builtin; NULL for a whole journey scored by the run's model
	left_out    bigint  NOT NULL,       -- sessions of the journey, its oldest, that were not scored
	model       text    COLLATE "C",    -- what scored it; NULL where that is the run's model
	scored      bigint  NOT NULL,       -- when, in seconds since 1970; 0 where not known
	seal        bytea   NOT NULL        -- of the conversion, its sessions and shares: a row that was changed since is never shown
);
CREATE INDEX pipeline_journeys_chunk ON pipeline_journeys (run, chunk);

-- Which row of the journal attribution_customer_journey shows of a conversion.
CREATE TABLE pipeline_latest (
	conv_id text   COLLATE "C" PRIMARY KEY,
	journey bigint NOT NULL
);

-- Rows of the journal that a run took over from an interrupted one whose place
-- it takes. In the journal their chunk is 0 until they are used.
CREATE TABLE pipeline_adopted (
	run         integer NOT NULL,
	conv_id     text    COLLATE "C" NOT NULL,
	fingerprint bytea,
	journey     bigint  NOT NULL,
	PRIMARY KEY (run, conv_id)
);

-- What a run under way may use of what other runs scored: what was shown of the
-- conversions in its range when it began. Rows of the journal that are in here
-- are kept; the run's end empties it.
CREATE TABLE pipeline_reusable (
	run         integer NOT NULL,
	conv_id     text    COLLATE "C" NOT NULL,
	fingerprint bytea   NOT NULL,
	journey     bigint  NOT NULL,
	PRIMARY KEY (run, conv_id)
);
CREATE INDEX pipeline_reusable_journey ON pipeline_reusable (journey);

-- Rows of the journal that are another run's and that a chunk uses.
CREATE TABLE pipeline_reused (
	run     integer NOT NULL,
	chunk   bigint  NOT NULL,
	journey bigint  NOT NULL,
	PRIMARY KEY (run, chunk, journey)
);

-- Rows of the journal that are shown no more and go as soon as no run under way
-- may use them.
CREATE TABLE pipeline_replaced (journey bigint PRIMARY KEY);
