-- Which database this is, which run of a name a run is, and what scores it.
CREATE TABLE pipeline_database (
	id text NOT NULL -- drawn when the first run began; a copy of the file has the same
);

ALTER TABLE pipeline_runs ADD COLUMN asked   text NOT NULL DEFAULT ''; -- when and where in its stream it was asked for: '' where not known
ALTER TABLE pipeline_runs ADD COLUMN scoring blob;                     -- digest of what scores it; NULL until that is known
ALTER TABLE pipeline_runs ADD COLUMN scored_by text NOT NULL DEFAULT ''; -- the same in full, JSON, where it was settled when the run began

-- How a conversion was scored whose journey is longer than a request may hold.
ALTER TABLE pipeline_journeys ADD COLUMN strategy text;                         -- latest, cut or builtin; NULL for a whole journey scored by the run's model
ALTER TABLE pipeline_journeys ADD COLUMN left_out integer NOT NULL DEFAULT 0; -- sessions of the journey, its oldest, that were not scored
ALTER TABLE pipeline_journeys ADD COLUMN model text;                            -- what scored it; NULL where that is the run's model
CREATE INDEX pipeline_journeys_approximated ON pipeline_journeys (run) WHERE strategy IS NOT NULL;

-- How long the answered requests of a run took, all together: what a plan reckons with.
ALTER TABLE pipeline_runs ADD COLUMN request_seconds real NOT NULL DEFAULT 0;
