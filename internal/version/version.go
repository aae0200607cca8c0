// Package version says which build of the pipeline a program is.
package version

import (
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Set by the linker: -X github.com/ihc-pipeline/ihc/internal/version.number=v1.2.3,
// likewise commit. Empty, what the Go command recorded takes their place.
var number, commit string

const unknown = "unknown"

// Build is one build of the pipeline.
type Build struct {
	// Version is the release, "dev" for what is none.
	Version string
	// Commit is the revision of the source, with -dirty behind it where files
	// had changed; unknown where nobody recorded it.
	Commit string
	// Date is when the commit was made, RFC 3339; unknown where nobody recorded
	// it. It is what two builds of the same source have in common.
	Date string
	// Go is the toolchain's version.
	Go string
}

// This returns the build of the running program.
func This() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return build(number, commit, info)
}

// build prefers what the linker set to what the Go command recorded.
func build(number, commit string, info *debug.BuildInfo) Build {
	b := Build{Version: "dev", Commit: unknown, Date: unknown, Go: runtime.Version()}
	// Without a tag the Go command makes a version up of the commit.
	if v := info.Main.Version; v != "" && v != "(devel)" && !strings.HasPrefix(v, "v0.0.0-") {
		b.Version = v
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if revision := settings["vcs.revision"]; revision != "" {
		b.Commit = revision
		if settings["vcs.modified"] == "true" {
			b.Commit += "-dirty"
		}
	}
	if at := settings["vcs.time"]; at != "" {
		b.Date = at
	}
	if number != "" {
		b.Version = number
	}
	if commit != "" {
		b.Commit = commit
	}
	return b
}

// String is version and commit in one word, as semantic versions have it:
// "v1.2.3+0123abc".
func (b Build) String() string {
	if b.Commit == unknown {
		return b.Version
	}
	return b.Version + "+" + b.Commit
}

// Metric returns the gauge ihc_build_info, which is always 1 and says in its
// labels which build counts.
func (b Build) Metric() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ihc_build_info", Help: "Always 1; its labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "go": b.Go},
	}, func() float64 { return 1 })
}
