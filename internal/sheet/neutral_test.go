package sheet

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoCellBeginsAFormulaWhateverDividesCells(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                  "",
		"SEO - brand":       "SEO - brand",
		"a-b=c":             "a-b=c",
		"＝1+1":              "'＝1+1",
		"＋1":                "'＋1",
		"－1":                "'－1",
		"＠x":                "'＠x",
		"\nx":               "'\nx",
		"a;=1+1":            "a;'=1+1",
		"a,@x":              "a,'@x",
		"a\t=b":             "a\t'=b",
		"a\n-b":             "a\n'-b",
		`say "=hi"`:         `say "'=hi"`,
		"\t=b":              "'\t'=b",
		"=a;=b;c":           "'=a;'=b;c",
		"no UTF-8: \xff;=1": "no UTF-8: \xff;'=1",
	} {
		require.Equal(t, want, Neutral(name), name)
	}
}
