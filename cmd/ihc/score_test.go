package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
)

// twoSessions is a published journey: its answer is the API's own.
const twoSessions = `{"customer_journeys":[
 {"conversion_id":"c","session_id":"s1","timestamp":"2023-09-04 21:50:11","channel_label":"Affiliate & Partnerships","holder_engagement":1,"closer_engagement":0,"conversion":0},
 {"conversion_id":"c","session_id":"s2","timestamp":"2023-09-04 21:51:01","channel_label":"Affiliate & Partnerships","holder_engagement":1,"closer_engagement":1,"conversion":1}]}`

const twoSessionsReply = `{"statusCode":200,"partialFailureErrors":[],"value":[` +
	`{"conversion_id":"c","session_id":"s1","initializer":1.0,"holder":0.5,"closer":0.0,"ihc":0.51},` +
	`{"conversion_id":"c","session_id":"s2","initializer":0.0,"holder":0.5,"closer":1.0,"ihc":0.49}]}` + "\n"

func TestScore(t *testing.T) {
	t.Parallel()
	out, log, err := called(t, newScoreCmd(), twoSessions, "-")
	require.NoError(t, err)
	require.Equal(t, twoSessionsReply, out)
	require.Empty(t, log)

	file := filepath.Join(t.TempDir(), "request.json")
	require.NoError(t, os.WriteFile(file, []byte(twoSessions), 0o600))
	out, _, err = called(t, newScoreCmd(), "", file)
	require.NoError(t, err)
	require.Equal(t, twoSessionsReply, out)
}

func TestScoreByOtherParams(t *testing.T) {
	t.Parallel()
	p := ihcmodel.DefaultParams()
	p.PhaseWeights = ihcmodel.Phases{Initializer: 0.6, Holder: 0.2, Closer: 0.2}
	file := filepath.Join(t.TempDir(), "params.json")
	require.NoError(t, os.WriteFile(file, p.JSON(), 0o600))
	out, _, err := called(t, newScoreCmd(), twoSessions, "-", "--model-params", file)
	require.NoError(t, err)
	require.Contains(t, out, `"session_id":"s1","initializer":1.0,"holder":0.5,"closer":0.0,"ihc":0.7}`)
	_, _, err = called(t, newScoreCmd(), twoSessions, "-", "--model-params", file+"-not")
	requireFault(t, errkind.Input, "model parameters", err)
}

func TestScoreOfSome(t *testing.T) {
	t.Parallel()
	// The conversion is the first session: the other is left out, and that is told.
	early := strings.NewReplacer(`"conversion":0`, `"conversion":1`, `"conversion":1`, `"conversion":0`).Replace(twoSessions)
	out, log, err := called(t, newScoreCmd(), early, "-")
	require.NoError(t, err)
	require.Contains(t, out, `"statusCode":206`)
	require.Equal(t, "standard input: 1 session is later than its conversion and was left out\n", log)
	// A row that cannot be read: the reply says so, and so does the exit code.
	out, _, err = called(t, newScoreCmd(), strings.Replace(twoSessions, "2023-09-04", "4 September", 1), "-")
	require.Contains(t, out, `"statusCode":406`)
	requireFault(t, errkind.Run, `1 row cannot be read, and its journey is not scored; the first is of conversion "c": timestamp "4 September 21:50:11"`, err)
}

func TestScoreSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for stdin, says := range map[string]string{
		``:   "standard input: the request is not understood: it ends too early",
		`{}`: "standard input: customer_journeys is missing or empty",
	} {
		out, _, err := called(t, newScoreCmd(), stdin, "-")
		requireFault(t, errkind.Input, says, err)
		require.Empty(t, out)
	}
	_, _, err := called(t, newScoreCmd(), "")
	requireFault(t, errkind.Input, "takes one argument, a file, or - for standard input; 0 given", err)
	_, _, err = called(t, newScoreCmd(), "", "no-such-file")
	requireFault(t, errkind.Input, "the request no-such-file cannot be read: no such file", err)
	cmd := newScoreCmd()
	cmd.SetArgs([]string{"-"})
	cmd.SetIn(brokenPipe{})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	requireFault(t, errkind.Environment, "standard input cannot be read", cmd.Execute())
	cmd = newScoreCmd()
	cmd.SetArgs([]string{"-"})
	cmd.SetIn(strings.NewReader(twoSessions))
	cmd.SetOut(brokenPipe{})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	requireFault(t, errkind.Run, "the reply cannot be written", cmd.Execute())
}

type brokenPipe struct{}

func (brokenPipe) Read([]byte) (int, error)  { return 0, errors.New("broken pipe") }
func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
