-- Which database this is, which run of a name a run is, and what scores it.
CREATE TABLE pipeline_database (
	id text NOT NULL -- drawn when the first run began; a copy of the file has the same
);

ALTER TABLE pipeline_runs ADD COLUMN asked   text NOT NULL DEFAULT ''; -- when and where in its stream it was asked for: '' where not known
ALTER TABLE pipeline_runs ADD COLUMN scoring blob;                     -- digest of what scores it; NULL until that is known
ALTER TABLE pipeline_runs ADD COLUMN scored_by text NOT NULL DEFAULT ''; -- the same in full, JSON, where it was settled when the run began
