package sqlite

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Validation saw amounts; what they were changed to since is looked at where it is
// summed. It ends the run with its place, and never counts as 0.
func TestAmountsThatChangedSinceValidationAreCheckedWhereTheyAreSummed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ change, says string }{
		"text":           {`UPDATE conversions SET revenue = 'abc'`, `conversions, conv_id "c": the revenue "abc" is no amount that can be summed`},
		"bytes":          {`UPDATE conversions SET revenue = x'00'`, `conversions, conv_id "c": the revenue`},
		"infinity":       {`UPDATE conversions SET revenue = 9e999`, `conversions, conv_id "c": the revenue +Inf is no amount`},
		"too much":       {`UPDATE conversions SET revenue = 1e15`, `conversions, conv_id "c": the revenue 1e+15 is no amount`},
		"a cost of text": {`UPDATE session_costs SET cost = 'x'`, `session_costs, session_id "s": the cost "x" is no amount that can be summed`},
		"infinite cost":  {`UPDATE session_costs SET cost = -9e999`, `session_costs, session_id "s": the cost -Inf is no amount`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "shop.db")
			db, err := sql.Open("sqlite3", path)
			require.NoError(t, err)
			_, err = db.Exec(InputSchema + CreateCustomerJourney + `; INSERT INTO session_sources VALUES ('s', 'u', '2023-01-01', '12:00:00', 'SEO', 1, 0, 0);
				INSERT INTO session_costs VALUES ('s', 1.5); INSERT INTO conversions VALUES ('c', 'u', '2023-01-02', '12:00:00', 10);
				INSERT INTO attribution_customer_journey VALUES ('c', 's', 1);` + c.change)
			require.NoError(t, err)
			require.NoError(t, db.Close())
			d := New(path)
			defer d.Close()
			_, err = d.Rebuild(t.Context(), &ihcv1.RunRequest{})
			require.ErrorContains(t, err, c.says)
			require.Equal(t, errkind.Input, errkind.KindOf(err))
		})
	}
}
