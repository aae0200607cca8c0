-- The report of the channels.
CREATE TABLE channel_reporting AS
  WITH spent AS (
    SELECT channel_name, event_date, sum(coalesce(cost, 0)) AS cost
    FROM session_sources LEFT JOIN session_costs USING (session_id)
    GROUP BY ALL
  ), earned AS (
    SELECT channel_name, event_date, sum(ihc) AS ihc, sum(ihc * revenue) AS ihc_revenue
    FROM attribution_customer_journey JOIN session_sources USING (session_id) JOIN conversions USING (conv_id)
    GROUP BY ALL
  )
  SELECT channel_name, event_date AS date, cost, coalesce(ihc, 0) AS ihc, coalesce(ihc_revenue, 0) AS ihc_revenue
  FROM spent LEFT JOIN earned USING (channel_name, event_date);
