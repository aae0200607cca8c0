//go:build !linux

package steward

import (
	"context"
	"log/slog"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// Owner is the user and group the services run as.
type Owner struct{ UID, GID int }

var errLinux = errkind.Environmentf("the steward works in Linux containers only")

// Own is for Linux.
func Own(string, Owner) error { return errLinux }

// Share is for Linux.
func Share(context.Context, string, Owner, *slog.Logger) error { return errLinux }
