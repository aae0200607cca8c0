package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/sandbox"
)

// newScoreCmd is "ihc score": the API's answer without the API.
func newScoreCmd() *cobra.Command {
	var params string
	cmd := &cobra.Command{
		Use:   "score FILE|-",
		Short: "Score journeys in the API's JSON with the built-in model",
		Long: `Reads a request of the IHC API (customer_journeys and, if there is one,
redistribution_parameter) from a file, or from standard input with -, and prints
the reply the API would give: each session's initializer, holder, closer and ihc.
No plan's limits apply.

A journey ends at its session with "conversion": 1, or without one at its last.
Sessions after it are named in the reply's partialFailureErrors, and so are
journeys with a row that cannot be read; these make the exit code 1.`,
		Example: `  ihc score request.json
  ihc score - < request_payloads/request.json | jq -r '.value[] | [.session_id, .ihc] | @tsv'
  echo '{"customer_journeys": [{"conversion_id": "c1", "session_id": "s1",
    "timestamp": "2023-09-01 13:01:28", "channel_label": "Direct Traffic",
    "holder_engagement": 1, "closer_engagement": 0, "conversion": 1}]}' | ihc score -`,
		Args: oneArgument("a file, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			model, err := loadModel(cmd.InOrStdin(), params)
			if err != nil {
				return err
			}
			body, name, err := readInput(cmd.InOrStdin(), "the request", args[0])
			if err != nil {
				return err
			}
			request, err := ihcapi.ParseRequest(body)
			if err != nil {
				return errkind.Inputf("%s: %w", name, err)
			}
			reply := sandbox.Answer(model, request)
			if _, err := cmd.OutOrStdout().Write(append(ihcapi.AppendResponse(nil, reply), '\n')); err != nil {
				return fmt.Errorf("the reply cannot be written: %w", err)
			}
			if n := len(request.Failures); n > 0 {
				f := request.Failures[0]
				return fmt.Errorf("%s: %s; the first is of conversion %q: %s", name, human.Say(n, "row cannot be read, and its journey is not scored", "rows cannot be read, and their journeys are not scored"), f.ConversionID, f.Reason)
			}
			if n := len(reply.Failures); n > 0 {
				_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", name, human.Say(n, "session is later than its conversion and was left out", "sessions are later than their conversion and were left out"))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&params, "model-params", "", "parameter `FILE` of the model (default: the built-in published-shop)")
	return cmd
}

// readInput reads the file of that name, or in for "-", and says what to call it in errors.
// what says what it should hold.
func readInput(in io.Reader, what, path string) (body []byte, name string, err error) {
	if path == "-" {
		if body, err = io.ReadAll(in); err != nil {
			return nil, "", errkind.Environmentf("standard input cannot be read: %w", err)
		}
		return body, "standard input", nil
	}
	if body, err = os.ReadFile(path); err != nil {
		if inPath := (*fs.PathError)(nil); errors.As(err, &inPath) {
			err = inPath.Err // without the path, which is in the message
		}
		return nil, "", errkind.Inputf("%s %s cannot be read: %w", what, path, err)
	}
	return body, path, nil
}
