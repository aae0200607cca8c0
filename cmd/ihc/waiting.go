package main

import (
	"fmt"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/ihc-pipeline/ihc/internal/human"
	"github.com/ihc-pipeline/ihc/store"
)

// theirOwn are the commands that say themselves what their services wait for, or
// whether the database is locked.
var theirOwn = []string{"run", "up", "serve", "demo", "doctor"}

// sayWaiting has a command wait for a database that is locked, and say so, once.
func sayWaiting(cmd *cobra.Command) {
	if slices.Contains(theirOwn, cmd.Name()) {
		return
	}
	var once sync.Once
	cmd.SetContext(store.OnWait(cmd.Context(), func(what string) {
		once.Do(func() {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), human.Printable("waiting: "+what))
		})
	}))
}
