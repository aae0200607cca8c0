package sqlite

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/data.md has a dictionary of all tables.
func TestTheDictionaryHasEveryTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "data.md"))
	require.NoError(t, err)
	_, dictionary, _ := strings.Cut(string(text), "## Data dictionary")
	dictionary, _, _ = strings.Cut(dictionary, "## Glossary")
	for _, c := range ownTables {
		require.Contains(t, dictionary, "`"+c.table+"`")
	}
	for _, of := range slices.Concat(inputTables, []table{outputTables[0].table, outputTables[1].table}) {
		require.Contains(t, dictionary, "`"+of.name+"`")
		for _, c := range of.columns {
			require.Contains(t, dictionary, "`"+c.name+"`")
		}
	}
}
