-- The files of the working directory into tables without keys.
CREATE TABLE session_sources AS
  SELECT session_id, user_id, event_date, event_date + event_time AS moment, channel_name
  FROM read_csv('session_sources.csv', header = true, auto_detect = false, columns = {
    'session_id': 'VARCHAR', 'user_id': 'VARCHAR', 'event_date': 'DATE', 'event_time': 'TIME', 'channel_name': 'VARCHAR',
    'holder_engagement': 'TINYINT', 'closer_engagement': 'TINYINT', 'impression_interaction': 'TINYINT'});

CREATE TABLE conversions AS
  SELECT conv_id, user_id, conv_date + conv_time AS moment, revenue
  FROM read_csv('conversions.csv', header = true, auto_detect = false, columns = {
    'conv_id': 'VARCHAR', 'user_id': 'VARCHAR', 'conv_date': 'DATE', 'conv_time': 'TIME', 'revenue': 'DOUBLE'});

CREATE TABLE session_costs AS
  FROM read_csv('session_costs.csv', header = true, auto_detect = false, columns = {
    'session_id': 'VARCHAR', 'cost': 'DOUBLE'});
