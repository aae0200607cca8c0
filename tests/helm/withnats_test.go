package helm

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

// withNATS renders the chart that has NATS' own beside ihc, which is fetched from
// its repository where the chart is used: here another stands for it that shows
// the values it is given. It returns what is rendered by chart, a text a file.
func withNATS(t *testing.T, values map[string]any) map[string][]string {
	t.Helper()
	c, err := loader.Load(dir + "-with-nats")
	require.NoError(t, err)
	ours, err := loader.Load(dir)
	require.NoError(t, err)
	for _, d := range c.Metadata.Dependencies {
		switch d.Name {
		case "ihc":
			require.Equal(t, ours.Metadata.Version, d.Version)
			c.AddDependency(ours)
		case "nats":
			require.Equal(t, "https://nats-io.github.io/k8s/helm/charts/", d.Repository)
			c.AddDependency(&chart.Chart{
				Metadata:  &chart.Metadata{APIVersion: "v2", Name: "nats", Version: "1.3.0"},
				Templates: []*chart.File{{Name: "templates/shown.yaml", Data: []byte("{{ toYaml .Values }}")}},
			})
		default:
			require.Fail(t, "a dependency that nobody looks at", d.Name)
		}
	}
	require.NoError(t, chartutil.ProcessDependenciesWithMerge(c, values))
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "shop", Namespace: "attribution", IsInstall: true}, nil)
	require.NoError(t, err)
	files, err := engine.Engine{Strict: true}.Render(c, all)
	require.NoError(t, err)
	documents := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		of := strings.Split(strings.TrimPrefix(name, "ihc-with-nats/charts/"), "/")[0]
		documents[of] = append(documents[of], files[name])
	}
	return documents
}

// NATS comes along unless it is said not to, as docs/cluster.md has it; ihc is
// the same with it and without.
func TestNATSComesByItsOwnChartUnlessItIsElsewhere(t *testing.T) {
	t.Parallel()
	values := func(enabled bool) map[string]any {
		return map[string]any{
			"nats": map[string]any{"enabled": enabled},
			"ihc":  map[string]any{"console": map[string]any{"tokenSecret": "ihc-console"}, "nats": map[string]any{"passwordsSecret": "ihc-nats"}},
		}
	}
	with := withNATS(t, values(true))
	for _, line := range []string{"fullnameOverride: nats", "replicas: 3", "sync_interval: always", "max_payload: << 16MB >>", "size: 50Gi"} {
		require.Contains(t, with["nats"][0], line)
	}
	require.Contains(t, strings.Join(with["ihc"], ""), `value: "nats://nats:4222"`)
	without := withNATS(t, values(false))
	require.NotContains(t, without, "nats")
	require.Equal(t, with["ihc"], without["ihc"])
}
