package deploy_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// metricsOfTheCode returns the names of metrics that the code declares.
func metricsOfTheCode(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	full := regexp.MustCompile(`"(ihc_[a-z_]+)"`)
	short := regexp.MustCompile(`(?:Namespace: "ihc", Name: |counter\()"([a-z_]+)"`)
	for _, root := range []string{"../internal", "../services", "../console"} {
		require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			code, err := os.ReadFile(path)
			for _, m := range full.FindAllSubmatch(code, -1) {
				names[string(m[1])] = true
			}
			for _, m := range short.FindAllSubmatch(code, -1) {
				names["ihc_"+string(m[1])] = true
			}
			return err
		}))
	}
	return names
}

// named returns the metrics of an expression.
func named(expr string) []string {
	var names []string
	for _, name := range regexp.MustCompile(`ihc_[a-z_]+`).FindAllString(expr, -1) {
		names = append(names, strings.TrimSuffix(name, "_bucket"))
	}
	return names
}

// Every rule asks for metrics that there are, and leads to a section that says
// what to do.
func TestRulesAreOfOurMetricsAndLeadToWhatToDo(t *testing.T) {
	t.Parallel()
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(text(t, "observability/rules.yaml")), &rules))
	metrics := metricsOfTheCode(t)
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text(t, "../docs/operations.md"), -1) {
		anchor := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		anchors[strings.ReplaceAll(anchor, " ", "-")] = true
	}
	count := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			count++
			require.NotEmpty(t, named(r.Expr), r.Alert)
			for _, name := range named(r.Expr) {
				require.True(t, metrics[name], "%s asks for %s", r.Alert, name)
			}
			page, anchor, _ := strings.Cut(r.Annotations["runbook"], "#")
			require.Equal(t, "docs/operations.md", page, r.Alert)
			require.True(t, anchors[anchor], "%s leads to #%s", r.Alert, anchor)
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		}
	}
	require.Positive(t, count)
}

func TestDashboardShowsMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(text(t, "observability/dashboard.json")), &dashboard))
	metrics, ids := metricsOfTheCode(t), map[int]bool{}
	for _, p := range dashboard.Panels {
		require.False(t, ids[p.ID], p.Title)
		ids[p.ID] = true
		for _, target := range p.Targets {
			require.NotEmpty(t, named(target.Expr), p.Title)
			for _, name := range named(target.Expr) {
				require.True(t, metrics[name], "%s shows %s", p.Title, name)
			}
		}
	}
	require.NotEmpty(t, ids)
}
