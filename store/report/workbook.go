package report

import (
	"slices"

	"github.com/ihc-pipeline/ihc/internal/sheet"
)

// Workbook are the tables of a report as somebody takes them into a spreadsheet:
// those asked for, and always the days, the proof, and what was not attributed.
func (q *Query) Workbook(r *Report) []*sheet.Sheet {
	sheets := q.Tables(r)
	more := []*sheet.Sheet{r.By(ByDay), r.Proof(), r.Unattributed()}
	if slices.Contains([]string{ByDay, ByWeek, ByMonth, ByChannelDay}, q.By) {
		more = append([]*sheet.Sheet{r.By(ByChannel)}, more...)
	}
	for _, s := range more {
		if s != nil && !slices.ContainsFunc(sheets, func(of *sheet.Sheet) bool { return of.Name == s.Name }) {
			sheets = append(sheets, s)
		}
	}
	return sheets
}

// About says what the report is of and what made it, a line each.
func (r *Report) About() (lines [][2]string) {
	for _, f := range r.facts() {
		lines = append(lines, [2]string{f.Name, f.Text})
	}
	return lines
}
