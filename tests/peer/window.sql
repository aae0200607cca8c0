-- Journeys by a join, linear shares; a journey's sessions are counted by a window
-- over it, as one would write it. The rows are in the order of the key that the
-- users' table has.
CREATE TABLE attribution_customer_journey AS
  SELECT conv_id, session_id, 1 / count(*) OVER (PARTITION BY conv_id) AS ihc
  FROM conversions c JOIN session_sources s ON s.user_id = c.user_id AND s.moment < c.moment
  ORDER BY conv_id, session_id;
