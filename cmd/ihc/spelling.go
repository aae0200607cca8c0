package main

import (
	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/sheet"
)

// dialectFlags say how a CSV is spelled.
type dialectFlags struct {
	delimiter, decimal string
	mark               bool
}

func (f *dialectFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.delimiter, "delimiter", "", "`character` between the values of a CSV: a comma, ; or tab (default: a comma, or ; with --decimal ,)")
	fs.StringVar(&f.decimal, "decimal", "", "the decimal `mark` of a CSV, . or , (default .)")
	fs.BoolVar(&f.mark, "bom", false, "begin a CSV with a byte order mark, by which spreadsheets know UTF-8")
}

// dialect returns what the flags say. Where no CSV is written, none of them may
// be typed; in a configuration they may stand for other times.
func (f *dialectFlags) dialect(cmd *cobra.Command, isCSV bool) (sheet.Dialect, error) {
	if isCSV {
		return sheet.ParseDialect(f.delimiter, f.decimal, f.mark)
	}
	for _, name := range []string{"delimiter", "decimal", "bom"} {
		if flag := cmd.Flag(name); flag.Changed && len(flag.Annotations[fromAnnotation]) == 0 {
			return sheet.Dialect{}, errkind.Inputf("--%s is of a CSV, which is not asked for", name)
		}
	}
	return sheet.Dialect{}, nil
}
