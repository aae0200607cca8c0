package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/storetest"
)

// withRowNumbers makes attribution_customer_journey as the first release and
// other programs do.
var withRowNumbers = strings.TrimSuffix(CreateCustomerJourney, " WITHOUT ROWID")

// asViews puts views in the place of the three tables that are read, which take
// what is written to them.
var asViews = func() string {
	var script strings.Builder
	for i, t := range inputTables {
		under := []string{"visits", "orders", "spent"}[i]
		var set, news []string
		for _, c := range t.columns {
			set, news = append(set, c.name+" = NEW."+c.name), append(news, "NEW."+c.name)
		}
		id := t.columns[0].name
		fmt.Fprintf(&script, `ALTER TABLE %[1]s RENAME TO %[2]s; CREATE VIEW %[1]s AS SELECT * FROM %[2]s;
			CREATE TRIGGER %[2]s_came INSTEAD OF INSERT ON %[1]s BEGIN INSERT INTO %[2]s (%[3]s) VALUES (%[4]s); END;
			CREATE TRIGGER %[2]s_changed INSTEAD OF UPDATE ON %[1]s BEGIN UPDATE %[2]s SET %[5]s WHERE %[6]s = OLD.%[6]s; END;
			CREATE TRIGGER %[2]s_went INSTEAD OF DELETE ON %[1]s BEGIN DELETE FROM %[2]s WHERE %[6]s = OLD.%[6]s; END;
			`, t.name, under, t.columnList(), strings.Join(news, ", "), strings.Join(set, ", "), id)
	}
	return script.String()
}()

// memory returns a directory in memory where there is one, since most of what
// hundreds of small databases take is waiting for the disk.
func memory() string {
	const dir = "/dev/shm"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

// runTables are the tables of runs.
var runTables = []string{"chunks", "counts", "outcomes", "reused", "reusable", "adopted", "replaced", "totals", "changes", "told", "untold", "channels", "latest", "journeys", "runs"}

// backend is a new SQLite file, with a script run before the tables that are
// read are made and another one after it.
func backend(name, before, after string) storetest.Backend {
	return storetest.Backend{Name: name, Books: runTables, Shares: "shares", Damage: "shares = x'00'", Import: Import, Open: func(path string) store.Database { return New(path) },
		New: func(t storetest.T) (string, *sql.DB) {
			t.Helper()
			dir, err := os.MkdirTemp(memory(), "storetest")
			require.NoError(t, err)
			path := filepath.Join(dir, "shop.db")
			db, err := sql.Open("sqlite3", path+"?_busy_timeout=10000&_synchronous=OFF")
			require.NoError(t, err)
			t.Cleanup(func() {
				require.NoError(t, errors.Join(db.Close(), os.RemoveAll(dir)))
			})
			_, err = db.ExecContext(t.Context(), before+InputSchema+after)
			require.NoError(t, err)
			return path, db
		}}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	require.NotEqual(t, CreateCustomerJourney, withRowNumbers)
	storetest.Run(t, backend("WithoutRowNumbers", "", ""))
	storetest.Run(t, backend("WithRowNumbers", "", withRowNumbers))
	storetest.Run(t, backend("UTF16", `PRAGMA encoding = 'UTF-16le';`, ""))
	views := backend("Views", "", asViews)
	views.Visits, views.Import = "visits", nil
	storetest.Run(t, views)
}
