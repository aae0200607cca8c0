package sqlite

import (
	"strings"

	"github.com/ihc-pipeline/ihc/internal/civil"
)

// dateInZone is [dateIn] in SQL.
const dateInZone = "pipeline_date_in"

// dateIn returns the date that clocks of a zone show at a date and time of day
// in UTC. What is no text, as of a row that a join did not find, is returned as
// it is.
func dateIn(date, timeOfDay any, name string) (any, error) {
	zone, err := civil.Zone(name)
	if err != nil {
		return nil, err
	}
	d, ok1 := date.(string)
	at, ok2 := timeOfDay.(string)
	if !ok1 || !ok2 {
		return date, nil
	}
	return civil.DateIn(d, at, zone), nil
}

// date returns the term for the date that a row has in the report's zone, of the
// columns with its date and its time of day in UTC.
func (s *summing) date(date, timeOfDay string) string {
	if s.zone == "" || s.zone == "UTC" {
		return date
	}
	return dateInZone + "(" + date + "||'', " + timeOfDay + "||'', '" + strings.ReplaceAll(s.zone, "'", "''") + "')"
}
