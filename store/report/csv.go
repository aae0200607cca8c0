package report

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"

	"github.com/ihc-pipeline/ihc/internal/sheet"
	"github.com/ihc-pipeline/ihc/store"
)

// Header is the first line of the CSV.
var Header = []string{"channel_name", "date", "cost", "ihc", "ihc_revenue", "CPO", "ROAS"}

// RunColumn is the CSV's last column where it names its run.
const RunColumn = "run_id"

// WriteCSV writes rows as CSV, in their order. CPO is cost ÷ ihc and ROAS is
// ihc_revenue ÷ cost; where the divisor is 0 the cell is empty. Numbers have
// as many digits as it takes to read back the same double. With a run, each row
// names it in the [RunColumn]; with "" there is no such column.
func WriteCSV(w io.Writer, rows []store.Row, run string) error {
	c := csv.NewWriter(w)
	write := func(name string, cells ...string) error {
		if run != "" {
			cells = append(slices.Clip(cells), name)
		}
		return c.Write(cells)
	}
	if err := write(RunColumn, Header...); err != nil {
		return err
	}
	for _, r := range rows {
		err := write(sheet.Neutral(run), sheet.Neutral(r.Channel), r.Date, number64(r.Cost), number64(r.IHC), number64(r.IHCRevenue), ratio(r.Cost, r.IHC), ratio(r.IHCRevenue, r.Cost))
		if err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func number64(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	return number64(a / b)
}
