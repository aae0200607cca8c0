package deploy_test

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/ihc-pipeline/ihc/console"
	"github.com/ihc-pipeline/ihc/internal/service"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/services/attributor"
	"github.com/ihc-pipeline/ihc/services/extractor"
	"github.com/ihc-pipeline/ihc/services/reporter"
	"github.com/ihc-pipeline/ihc/services/writer"
)

// settings are what is declared in the code, by variable: its default, "" for
// none.
type settings map[string]string

func declared(configs ...any) settings {
	all := settings{}
	for _, c := range configs {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(c)) {
			if name := f.Tag.Get("envconfig"); name != "" {
				all[name] = f.Tag.Get("default")
			}
		}
	}
	return all
}

// services are those of compose.yaml that are programs of ours, with what each
// reads.
var services = map[string]settings{
	stream.UserInit:        declared(service.Base{}, service.Streams{}),
	stream.StageExtractor:  declared(service.Base{}, extractor.Config{}),
	stream.StageAttributor: declared(service.Base{}, attributor.Config{}),
	stream.StageWriter:     declared(service.Base{}, writer.Config{}),
	stream.StageReporter:   declared(service.Base{}, reporter.Config{}),
	stream.UserConsole:     declared(service.Base{}, console.Config{}),
}

func all() settings {
	all := settings{}
	for _, s := range services {
		maps.Copy(all, s)
	}
	return all
}

func text(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func names(s settings) []string { return slices.Sorted(maps.Keys(s)) }

// Every container gets the settings its program reads, and no others.
func TestContainersGetWhatTheirProgramsRead(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]struct {
			Environment map[string]any
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(text(t, "compose.yaml")), &compose))
	for name, reads := range services {
		gets := compose.Services[name].Environment
		require.NotEmpty(t, gets, name)
		for _, theirs := range []string{
			"NATS_PASSWORD", "NATS_CREDS", // a password file takes their place
			"NATS_CA", "NATS_CERT", "NATS_KEY", // compose.tls.yaml names them
			"IHC_HTTP", // the port that compose publishes
		} {
			require.NotContains(t, gets, theirs, name)
			gets[theirs] = nil
		}
		delete(gets, "SQLITE_TMPDIR") // is SQLite's own
		require.Equal(t, names(reads), slices.Sorted(maps.Keys(gets)), name)
	}
}

// What is said to be a setting is one, with the default it is said to have, and
// the other way about.
func TestReadmeListsTheSettings(t *testing.T) {
	t.Parallel()
	_, table, ok := strings.Cut(text(t, "../README.md"), "\n| variable | default | |\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n\n")
	settings := all()
	delete(settings, "IHC_SANDBOX_URL_FILE") // of two containers, among themselves
	var listed []string
	for line := range strings.Lines(table) {
		cell := strings.Split(line, "|")
		require.Len(t, cell, 5, line)
		for _, m := range regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(cell[1], -1) {
			listed = append(listed, m[1])
			require.Contains(t, cell[2], settings[m[1]], "the default of %s", m[1])
		}
	}
	require.ElementsMatch(t, names(settings), listed)
}

// .env.example explains every variable that compose.yaml and what goes on top of it
// read, and no other,
// with its default.
func TestExampleExplainsWhatComposeReads(t *testing.T) {
	t.Parallel()
	compose := regexp.MustCompile(`(?m)(^|\s)#.*$`).ReplaceAllString(
		strings.Join([]string{text(t, "compose.yaml"), text(t, "compose.postgres.yaml"), text(t, "compose.several.yaml")}, "\n"), "")
	reads := map[string]bool{}
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)|(?m)\b([A-Z_]+):(?:\s*$| \})`).FindAllStringSubmatch(compose, -1) {
		reads[m[1]+m[2]] = true
	}
	delete(reads, "COMPOSE_PROJECT_NAME") // which compose sets
	settings := all()
	var explained []string
	for _, m := range regexp.MustCompile(`(?m)^#([A-Z_]+)=(.*)$`).FindAllStringSubmatch(text(t, ".env.example"), -1) {
		explained = append(explained, m[1])
		if d := settings[m[1]]; d != "" {
			require.Equal(t, d, m[2], "the default of %s", m[1])
		}
	}
	require.ElementsMatch(t, slices.Sorted(maps.Keys(reads)), explained)
	// What a container is given a fixed value for is not for a user to set.
	fixed := []string{"IHC_DB", "IHC_OUT", "IHC_HTTP", "IHC_CONSOLE", "IHC_CONSOLE_TOKEN_FILE", "IHC_SANDBOX_URL_FILE", "NATS_URL", "NATS_USER", "NATS_PASSWORD", "NATS_PASSWORD_FILE", "NATS_CREDS", "NATS_CA", "NATS_CERT", "NATS_KEY"}
	for _, name := range names(settings) {
		require.NotEqual(t, slices.Contains(fixed, name), slices.Contains(explained, name), name)
	}
}

// What is known of the customers stays inside: one network has no way out, and
// the attributor alone is also in another.
func TestOnlyTheAttributorReachesTheOutside(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]struct {
			Networks    []string
			NetworkMode string `yaml:"network_mode"`
			Ports       []string
			Deploy      struct{ Replicas string }
		}
		Networks map[string]struct {
			Internal bool
			Options  map[string]string `yaml:"driver_opts"`
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(text(t, "compose.yaml")), &compose))
	var out []string
	for name, n := range compose.Networks {
		if !n.Internal && n.Options["com.docker.network.bridge.enable_ip_masquerade"] != "false" {
			out = append(out, name)
		}
	}
	require.Equal(t, []string{"api"}, out)
	require.Contains(t, compose.Networks, "default", "where a container is that names no network")
	require.Less(t, "api", "default", "Docker goes out by the first in the alphabet")
	for name, s := range compose.Services {
		switch {
		case name == stream.StageAttributor:
			require.ElementsMatch(t, []string{"default", "api"}, s.Networks)
			require.Equal(t, "${IHC_ATTRIBUTORS:-1}", s.Deploy.Replicas)
		case s.NetworkMode != "none":
			require.Empty(t, s.Networks, name)
		}
		for _, p := range s.Ports {
			require.True(t, strings.HasPrefix(p, "127.0.0.1:"), "%s publishes %s", name, p)
		}
	}
}
