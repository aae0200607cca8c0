package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/cmd/ihc/internal/steward"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/service"
)

// newStewardCmd is a part of deploy/compose.yaml and of no use elsewhere.
func newStewardCmd() *cobra.Command {
	var credentials, data, streams string
	var owner steward.Owner
	var check bool
	cmd := &cobra.Command{
		Use:   "steward",
		Short: "Prepare what the stack's containers share, and keep it so",
		Long: `steward draws the passwords of the NATS server's users, hands the volume of the
streams to the server, and gives the services their rights on the data directory
and every database that is put there. It is the one container that starts as
root; it has no network and, of root's capabilities, only those over files.`,
		Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check {
				return steward.Ready(credentials)
			}
			if owner.UID <= 0 || owner.GID <= 0 {
				return errkind.Inputf("--uid and --gid must name the services' user and group")
			}
			if streams != "" {
				if err := steward.Own(streams, owner); err != nil {
					return err
				}
			}
			if err := steward.Credentials(credentials, owner.GID); err != nil {
				return err
			}
			log := service.Log(slog.LevelInfo).With("stage", "steward")
			log.Info("ready", "data", data)
			return steward.Share(cmd.Context(), data, owner, log)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&credentials, "credentials", "/credentials", "`directory` with one for the server (nats) and one for each user")
	fs.StringVar(&data, "data", "/data", "data `directory`")
	fs.StringVar(&streams, "streams", "", "`directory` of the NATS server's streams")
	fs.IntVar(&owner.UID, "uid", 0, "`user` the services run as")
	fs.IntVar(&owner.GID, "gid", 0, "`group` the services run as")
	fs.BoolVar(&check, "check", false, "only ask whether the steward has done its work")
	return cmd
}
