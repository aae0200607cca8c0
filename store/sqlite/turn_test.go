package sqlite

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/shop"
	"github.com/ihc-pipeline/ihc/store"
)

// The services of one process have a connection each. However short they would wait
// for a lock of another program, they wait for one another.
func TestTransactionsOfOneProcessWaitForOneAnother(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	_, err := GenerateShop(t.Context(), path, shop.Config{Sessions: 300}, false)
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 4 {
		d := opened(t, path)
		d.writes = NewHandle(path, Write, BusyTimeout(time.Millisecond))
		for range 4 {
			group.Go(func() {
				for range 5 {
					if err := d.End(t.Context(), "run", store.Failed); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	group.Wait()
}

func TestWhoseTurnItIsNotGivesUpWhenItIsToldTo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	done, err := turn(t.Context(), path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = turn(ctx, path)
	require.ErrorIs(t, err, context.Canceled)
	other, err := turn(t.Context(), path+"2")
	require.NoError(t, err)
	other()
	done()
	done, err = turn(t.Context(), path)
	require.NoError(t, err)
	done()
}
