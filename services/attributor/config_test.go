package attributor

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/run"
	"github.com/ihc-pipeline/ihc/internal/service"
)

func TestKeyFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte("of-the-file\n"), 0o600))
	t.Setenv("IHC_API_KEY_FILE", path)
	t.Setenv("IHC_API_KEY", "")
	c, err := service.FromEnv[Config]()
	require.NoError(t, err)
	require.Equal(t, Secret("of-the-file"), c.APIKey)
	require.Equal(t, run.ModelAPI, c.DefaultModel())

	t.Setenv("IHC_API_KEY", "of-the-environment")
	c, err = service.FromEnv[Config]()
	require.NoError(t, err)
	require.Equal(t, Secret("of-the-environment"), c.APIKey, "the variable comes first")

	t.Setenv("IHC_API_KEY", "")
	require.NoError(t, os.WriteFile(path, []byte(" \n"), 0o600))
	_, err = service.FromEnv[Config]()
	require.ErrorContains(t, err, "is empty")
	require.Equal(t, errkind.Input, errkind.KindOf(err))
	require.NoError(t, os.Remove(path))
	_, err = service.FromEnv[Config]()
	require.ErrorContains(t, err, "IHC_API_KEY_FILE")
	require.Equal(t, errkind.Environment, errkind.KindOf(err))
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := Config{Workers: 1, Timeout: time.Second}
	require.NoError(t, good.Validate())
	for says, spoil := range map[string]func(*Config){
		"IHC_CONCURRENCY":        func(c *Config) { c.Workers = 0 },
		"IHC_REQUEST_RATE":       func(c *Config) { c.Rate = -1 },
		"IHC_MODEL is \"magic\"": func(c *Config) { c.Model = "magic" },
		"IHC_API_KEY is not set": func(c *Config) { c.Model = run.ModelAPI },
	} {
		c := good
		spoil(&c)
		require.ErrorContains(t, c.Validate(), says)
	}
	require.Equal(t, run.ModelBuiltin, Config{}.DefaultModel())
	require.Equal(t, run.ModelAPI, Config{APIKey: "k"}.DefaultModel())
	require.Equal(t, run.ModelBuiltin, Config{APIKey: "k", Model: run.ModelBuiltin}.DefaultModel())
}
