-- The shares in each phase as bytes, which take the server a fraction of what
-- three arrays do: four for each number, those of the initializer first, then of
-- the holder and of the closer; NULL where not known. Rows that were changed since
-- they were stored stay told apart.
ALTER TABLE pipeline_journeys ADD COLUMN phases bytea;
UPDATE pipeline_journeys SET phases = (SELECT string_agg(int4send(share), '' ORDER BY n) FROM unnest(initializer || holder || closer) WITH ORDINALITY AS u(share, n))
	WHERE initializer IS NOT NULL AND holder IS NOT NULL AND closer IS NOT NULL;
UPDATE pipeline_journeys SET seal = substr(sha256(convert_to(concat_ws(E'\x1f', conv_id, cardinality(sessions), array_to_string(sessions, E'\x1f'), ihc::text), 'UTF8') || '\x1f' || coalesce(phases, '')), 1, 8)
	WHERE seal = substr(sha256(convert_to(concat_ws(E'\x1f', conv_id, cardinality(sessions), array_to_string(sessions, E'\x1f'),
		ihc::text, coalesce(initializer::text, ''), coalesce(holder::text, ''), coalesce(closer::text, '')), 'UTF8')), 1, 8);
ALTER TABLE pipeline_journeys DROP COLUMN initializer, DROP COLUMN holder, DROP COLUMN closer;
