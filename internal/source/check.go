package source

import (
	"context"
	"time"
)

// Check says whether the database at path can be read now: nil, or what [Open]
// says of it. It waits for a lock for half a second at the most, and changes
// nothing.
func Check(ctx context.Context, path string) error {
	db, err := Open(ctx, path, Read, BusyTimeout(500*time.Millisecond), Readers(1))
	if err != nil {
		return err
	}
	return db.Close()
}
