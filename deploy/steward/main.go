//go:build linux

// Command steward prepares what the stack's containers share, and keeps it so:
// it draws the passwords of the NATS server's users, makes certificates if asked
// to, hands the volume of the
// streams to the server, and gives the services their rights on the data
// directory and every database that is put there. It is the one container that
// starts as root; it has no network and, of root's capabilities, only those over
// files.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/ihc-pipeline/ihc/deploy/internal/credentials"
	"github.com/ihc-pipeline/ihc/deploy/internal/share"
	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/service"
)

func main() {
	passwords := flag.String("credentials", "/credentials", "`directory` with one for the server (nats) and one for each user")
	data := flag.String("data", "/data", "data `directory`")
	streams := flag.String("streams", "", "`directory` of the NATS server's streams; of several servers, with commas in between")
	var owner share.Owner
	flag.IntVar(&owner.UID, "uid", 0, "`user` the services run as")
	flag.IntVar(&owner.GID, "gid", 0, "`group` the services run as")
	hosts := flag.String("tls", "", "`names` of the NATS server, with commas in between: make certificates for it and its users")
	check := flag.Bool("check", false, "only ask whether the steward has done its work")
	flag.Parse()
	log := service.Log(slog.LevelInfo).With("stage", "steward")
	err := credentials.Ready(*passwords)
	if !*check {
		ctx, cancel := service.Signals(context.Background(), nil)
		defer cancel()
		err = prepare(ctx, *passwords, *data, *streams, *hosts, owner, log)
	}
	if err != nil {
		log.Error("stopped", "error", err)
		os.Exit(errkind.ExitCode(err)) //nolint:gocritic // the signals end with the process
	}
}

// prepare does the steward's work until ctx ends.
func prepare(ctx context.Context, passwords, data, streams, hosts string, owner share.Owner, log *slog.Logger) error {
	if owner.UID <= 0 || owner.GID <= 0 {
		return errkind.Inputf("-uid and -gid must name the services' user and group")
	}
	for dir := range strings.SplitSeq(streams, ",") {
		if dir == "" {
			continue // none is named
		}
		if err := share.Own(dir, owner); err != nil {
			return err
		}
	}
	if hosts != "" { // before the passwords, which say that all is ready
		if err := credentials.Certify(passwords, owner.GID, strings.Split(hosts, ","), time.Now()); err != nil {
			return err
		}
	}
	if err := credentials.Draw(passwords, owner.GID); err != nil {
		return err
	}
	log.Info("ready", "data", data)
	return share.Directory(ctx, data, owner, log)
}
