// Package docs holds the documents to the tree they speak of.
package docs

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// files returns those of the tree whose name ends so, by their path from the
// root, with their content.
func files(t *testing.T, suffix string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		if entry.IsDir() && path != root && (slices.Contains([]string{".git", ".bin", "bin", "out", "testdata", "node_modules"}, name)) {
			return filepath.SkipDir
		}
		if err != nil || !entry.Type().IsRegular() || !strings.HasSuffix(name, suffix) {
			return err
		}
		content, err := os.ReadFile(path)
		if err == nil {
			var rel string
			rel, err = filepath.Rel(root, path)
			found[filepath.ToSlash(rel)] = string(content)
		}
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, found)
	return found
}

// documents returns every .md file without its code blocks.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := files(t, ".md")
	for path, text := range all {
		all[path] = regexp.MustCompile("(?s)```.*?```").ReplaceAllString(text, "")
	}
	return all
}

func exists(path string) bool {
	_, err := os.Stat(filepath.Join(root, path))
	return err == nil
}

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for path, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, _, _ := strings.Cut(m[1], "#")
			if to == "" || strings.Contains(to, "://") {
				continue
			}
			if to = filepath.Join(filepath.Dir(path), to); !exists(to) {
				t.Errorf("%s links to %s, which is not there", path, to)
			}
		}
	}
}

// What is in `backquotes` and begins with a folder of the root is a path.
func TestPathsThatAreNamedExist(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	var folders []string
	for _, e := range entries {
		if e.IsDir() && !slices.Contains([]string{"bin", "out", "data"}, e.Name()) {
			folders = append(folders, regexp.QuoteMeta(e.Name()))
		}
	}
	named := regexp.MustCompile("`((?:" + strings.Join(folders, "|") + `)/[\w./-]+)` + "`")
	for path, text := range documents(t) {
		if path == "CHANGELOG.md" {
			continue // it tells of what was
		}
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			if !exists(m[1]) {
				t.Errorf("%s names %s, which is not there", path, m[1])
			}
		}
	}
}

// A test or an example is a function; a case of the suite of databases is named
// `storetest/…`.
func TestTestsThatAreNamedExist(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	for _, text := range files(t, ".go") {
		code.WriteString(text)
	}
	name := regexp.MustCompile("`(?:((?:Test|Example|Fuzz)[A-Z]\\w+)|storetest/(\\w+))`")
	for path, text := range documents(t) {
		for _, m := range name.FindAllStringSubmatch(text, -1) {
			written := "func " + m[1] + "("
			if m[1] == "" {
				written = `"` + m[2] + `":`
			}
			if !strings.Contains(code.String(), written) {
				t.Errorf("%s names the test %s, which is not there", path, m[0])
			}
		}
	}
}

// Every invariant has a line of code that enforces it and says so, and code
// cites none that is not in the list.
func TestInvariantsAreCitedWhereTheyAreEnforced(t *testing.T) {
	t.Parallel()
	listed, cited := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(\d+)\. \*\*`).FindAllStringSubmatch(documents(t)["docs/invariants.md"], -1) {
		listed[m[1]] = true
	}
	citation, number := regexp.MustCompile(`[Ii]nvariants? (\d+(?:(?:, | and )\d+)*)`), regexp.MustCompile(`\d+`)
	for path, text := range files(t, ".go") {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, m := range citation.FindAllStringSubmatch(text, -1) {
			for _, n := range number.FindAllString(m[1], -1) {
				cited[n] = true
			}
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(listed)), slices.Collect(maps.Keys(cited)))
}

func TestDecisionsAreListed(t *testing.T) {
	t.Parallel()
	all := documents(t)
	title := regexp.MustCompile(`(?m)\A# (\d{4}): (.+)\n\n(\d{4}-\d\d-\d\d)(?:[;,] [^\n]*)?\n`)
	for path, text := range all {
		name := filepath.Base(path)
		if filepath.Dir(path) != "docs/adr" || name == "README.md" {
			continue
		}
		m := title.FindStringSubmatch(text)
		require.NotNil(t, m, "%s: a number, a title and a date", path)
		require.Contains(t, all["docs/adr/README.md"], fmt.Sprintf("- [%s](%s): %s", m[1], name, m[2]))
	}
}
