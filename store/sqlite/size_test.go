package sqlite

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An extractor asks for the size when it begins, perhaps for a run that it has nothing to
// do with: a database that it kept open would keep its log after the run.
func TestAskingForTheSizeKeepsNothingOpen(t *testing.T) {
	t.Parallel()
	path := build(t, `CREATE TABLE session_sources (session_id TEXT); CREATE TABLE session_costs (session_id TEXT); CREATE TABLE conversions (conv_id TEXT, conv_date TEXT);
		INSERT INTO conversions VALUES ('a', '2023-09-01'), ('b', '2023-09-02')`)
	d := opened(t, path)
	size, err := d.Size(t.Context(), "2023-09-02", "")
	require.NoError(t, err)
	require.EqualValues(t, 2, size.Conversions)
	require.EqualValues(t, 1, size.InRange)
	kept.Lock()
	defer kept.Unlock()
	require.Zero(t, kept.by[path])
}
