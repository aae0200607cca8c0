-- How a conversion was scored whose journey is longer than a request may hold.
ALTER TABLE pipeline_journeys ADD COLUMN strategy text;                         -- latest, cut or builtin; NULL for a whole journey scored by the run's model
ALTER TABLE pipeline_journeys ADD COLUMN left_out integer NOT NULL DEFAULT 0; -- sessions of the journey, its oldest, that were not scored
ALTER TABLE pipeline_journeys ADD COLUMN model text;                            -- what scored it; NULL where that is the run's model
CREATE INDEX pipeline_journeys_approximated ON pipeline_journeys (run) WHERE strategy IS NOT NULL;

-- How long the answered requests of a run took, all together: what a plan reckons with.
ALTER TABLE pipeline_runs ADD COLUMN request_seconds real NOT NULL DEFAULT 0;
