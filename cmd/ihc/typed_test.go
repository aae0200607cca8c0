package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/store/sqlite"
)

// Whatever is wrong with the value of a flag, the message names the flag.
func TestWrongValuesNameTheFlagThatWasTyped(t *testing.T) {
	for _, name := range []string{"NATS_URL", "IHC_DB", "IHC_API_KEY"} {
		t.Setenv(name, "")
	}
	t.Chdir(t.TempDir())
	_, err := sqlite.GenerateShop(t.Context(), "shop.db", shop.Config{Sessions: 300}, false)
	require.NoError(t, err)
	_, log, err := separately(t, newRunCmd(), "--db", "shop.db", "--model", "builtin")
	require.NoError(t, err, log)
	require.NoError(t, os.Mkdir("folder", 0o700))
	require.NoError(t, os.WriteFile("text", []byte("x"), 0o600))
	inText := filepath.Join("text", "x")
	for _, line := range []string{
		"report --db shop.db --by wrong", "report --db shop.db --out folder", "report --db shop.db --format wrong", "report --db shop.db --delimiter wrong --format csv",
		"report --db shop.db --decimal wrong --format csv", "report --db shop.db --start-date wrong", "report --db shop.db --end-date wrong", "report --db shop.db --timezone wrong",
		"report --db shop.db --compare wrong", "report --db shop.db --refunds wrong", "report --db shop.db --channel wrong",
		"import --db new.db --sessions wrong", "import --db new.db --sessions folder", "import --db new.db --conversions wrong", "import --db new.db --costs wrong",
		"import --db new.db --daily-costs wrong", "import --db new.db --from wrong", "import --db new.db --map wrong --sessions text", "import --db new.db --rejects - --sessions text",
		"export --db shop.db --out text", "export --db shop.db --out " + inText, "export --db shop.db --format wrong",
		"run --db shop.db --model-params wrong", "run --db shop.db --model-params text", "run --db shop.db --redistribution wrong", "run --db shop.db --result folder",
		"run --db shop.db --out text", "run --db shop.db --data-dir " + inText, "run --db shop.db --model wrong", "run --db shop.db --refunds wrong", "run --db shop.db --run-id a.b",
		"run --db shop.db --long-journeys wrong", "run --db shop.db --max-sessions wrong", "run --db shop.db --keep-runs 1", "run --db shop.db --start-date wrong", "run --db shop.db --timezone wrong",
		"run --db shop.db --timeout wrong",
		"plan --db shop.db --redistribution wrong", "plan --db shop.db --end-date wrong", "validate --db shop.db --start-date wrong",
		"model lint --db shop.db --start-date wrong", "model lint --db shop.db --end-date wrong", "model lint --db shop.db --redistribution wrong", "model lint --db shop.db --model-params wrong",
		"model train --db shop.db --out folder", "model train --db shop.db --channel-scores wrong --out p.json", "model train --db shop.db --plots " + inText + " --out p.json",
		"models --db shop.db --model-params wrong", "models --db shop.db --models wrong", "models --db shop.db --by wrong", "models --db shop.db --start-date wrong",
		"score --model-params wrong text", "runs --db shop.db --state wrong", "runs --data-dir wrong",
		"runs --nats-ca wrong --nats nats://127.0.0.1:1", "runs --nats-cert wrong --nats nats://127.0.0.1:1", "runs --nats-key wrong --nats nats://127.0.0.1:1",
		"forget --older-than wrong", "sandbox --listen wrong", "sandbox --model-params wrong", "up --db shop.db --http wrong", "up --db shop.db --listen wrong", "runs --config wrong",
	} {
		args := strings.Fields(line)
		for i, flag := range args {
			if strings.HasPrefix(flag, "--") && flag != "--db" { // the first is what it is about
				root, _ := newRootCmd()
				_, _, err := separately(t, root, args...)
				if assert.Error(t, err, line) {
					assert.Contains(t, err.Error(), flag, line)
					assert.LessOrEqual(t, strings.Count(err.Error(), flag+":")+strings.Count(err.Error(), flag+" "), 1, "%s: %v", args[i:], err)
				}
				break
			}
		}
	}
}

func TestAnErrorIsAboutAValueWhereItNamesIt(t *testing.T) {
	t.Parallel()
	for text, about := range map[string]bool{
		"open out: no such file": true, "cannot write out: no space": true, "out/x.csv: no rights": true, `no database at "out"`: true, "out: is a directory": true,
		"the run was cut out of it": false, "the key is worn out": false, "timeout: 3": false, "outer is no file": false,
	} {
		require.Equal(t, about, isAbout(text, "out"), text)
	}
	require.False(t, isAbout("anything", ""))
}
