package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ihc-pipeline/ihc/internal/atomicfile"
	"github.com/ihc-pipeline/ihc/internal/broker"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store"
	"github.com/ihc-pipeline/ihc/store/open"
)

const (
	// passing is how the names of the directories begin that hold the streams of
	// runs without --data-dir, which go with their process.
	passing = "ihc-run-"
	// noteFile says there which run it is. It stays where the process was killed.
	noteFile = "run.json"
	// fresh is how young a directory is without a note that may be just being made.
	fresh = time.Minute
	// longKept is how long a note waits for a run of its database.
	longKept = 90 * 24 * time.Hour
)

// note writes down which run has its streams in a directory, as the event that
// accepts a run does, which earlier releases wrote. It is for a process that gets
// killed: an error is not worth a run.
func note(dir, id string) {
	if data, err := protojson.Marshal(&ihcv1.RunAccepted{Request: &ihcv1.RunRequest{RunId: id}}); err == nil {
		_ = atomicfile.WriteBytes(filepath.Join(dir, noteFile), 0o600, data)
	}
}

// leftover is the directory of a process that was killed, held until release.
type leftover struct {
	dir     string
	run     string // its id, "" where none was asked for
	made    time.Time
	release func()
}

// leftovers returns what killed processes of this user have left on this machine.
func leftovers() (all []leftover) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), passing+"*"))
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		if of, ok := info.Sys().(*syscall.Stat_t); !ok || int(of.Uid) != os.Geteuid() {
			continue
		}
		o := leftover{dir: dir, made: info.ModTime()}
		data, err := os.ReadFile(filepath.Join(dir, noteFile))
		if a := (&ihcv1.RunAccepted{}); err == nil && protojson.Unmarshal(data, a) == nil {
			o.run = a.GetRequest().GetRunId()
		} else if time.Since(info.ModTime()) < fresh {
			continue
		}
		if o.release, err = broker.Seize(dir); err == nil {
			all = append(all, o)
		}
	}
	return all
}

// in returns the place of the leftover's run among those of a database that it
// believes to be under way, -1 for none: of the run itself, whose id was drawn for it
// alone, or of one that took its place. It never goes on.
func (o leftover) in(known []store.KnownRun) int {
	return slices.IndexFunc(known, func(r store.KnownRun) bool {
		return o.run != "" && r.Status == store.Running && (r.ID == o.run || strings.HasPrefix(r.ID, o.run+"-v"))
	})
}

// clearAway removes what killed processes have left, and makes the database say
// of their runs that they were interrupted. Of a run of another database the note
// stays, for whoever runs that one next.
func (l localRun) clearAway(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var known []store.KnownRun
	for i, o := range leftovers() {
		if i == 0 {
			db := open.Database(l.db)
			known, _ = db.Runs(ctx) // what is wrong with it, the run will tell
			_ = db.Close()
		}
		at := o.in(known)
		if o.run != "" && at < 0 && time.Since(o.made) < longKept {
			_ = os.RemoveAll(filepath.Join(o.dir, broker.StreamsDir))
		} else if at < 0 || l.end(entry{id: known[at].ID, asked: known[at].Asked}, store.Interrupted) == nil {
			_ = os.RemoveAll(o.dir)
		}
		o.release()
	}
}
