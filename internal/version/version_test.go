package version

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestTheLinkersWordComesBeforeTheGoCommands(t *testing.T) {
	t.Parallel()
	recorded := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123abc"}
	modified := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for name, c := range map[string]struct {
		number, commit string
		info           *debug.BuildInfo
		want           Build
	}{
		"nothing known":        {info: recorded(""), want: Build{Version: "dev", Commit: "unknown"}},
		"set by the linker":    {number: "v2", commit: "fff", info: recorded("v1.0.0", revision, modified), want: Build{Version: "v2", Commit: "fff"}},
		"installed as module":  {info: recorded("v1.0.0"), want: Build{Version: "v1.0.0", Commit: "unknown"}},
		"built in a checkout":  {info: recorded("(devel)", revision), want: Build{Version: "dev", Commit: "0123abc"}},
		"a made-up version":    {info: recorded("v0.0.0-20260101000000-0123abc", revision), want: Build{Version: "dev", Commit: "0123abc"}},
		"files were changed":   {info: recorded("", revision, modified), want: Build{Version: "dev", Commit: "0123abc-dirty"}},
		"only a number is set": {number: "v2", info: recorded("", revision), want: Build{Version: "v2", Commit: "0123abc"}},
	} {
		c.want.Go, c.want.Date = runtime.Version(), "unknown"
		require.Equal(t, c.want, build(c.number, c.commit, c.info), name)
	}
}

func TestDateIsThatOfTheCommit(t *testing.T) {
	t.Parallel()
	info := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.time", Value: "2026-11-25T20:46:15Z"}}}
	require.Equal(t, "2026-11-25T20:46:15Z", build("", "", info).Date)
}

func TestBuildIsOneWord(t *testing.T) {
	t.Parallel()
	require.Equal(t, "v1.2.3+0123abc", Build{Version: "v1.2.3", Commit: "0123abc"}.String())
	require.Equal(t, "dev", Build{Version: "dev", Commit: "unknown"}.String())
}

func TestBuildIsAMetricWithItsLabels(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	require.NoError(t, reg.Register(Build{Version: "v1", Commit: "abc", Go: "go1"}.Metric()))
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	require.Equal(t, "ihc_build_info", families[0].GetName())
	labels := map[string]string{}
	for _, l := range families[0].GetMetric()[0].GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	require.Equal(t, map[string]string{"version": "v1", "commit": "abc", "go": "go1"}, labels)
}
