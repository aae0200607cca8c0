package stream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// However long whoever asks may wait, an answer that was lost is asked for again
// soon; one that is there, whatever it is, is taken.
func TestAnAnswerThatWasLostIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		asked := 0
		v, err := answered(ctx, func(ctx context.Context) (string, error) {
			if asked++; asked == 1 {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return "here", nil
		})
		require.NoError(t, err)
		require.Equal(t, "here", v)
		require.Equal(t, 2, asked)

		asked = 0
		_, err = answered(ctx, func(context.Context) (string, error) { asked++; return "", nats.ErrTimeout })
		require.ErrorIs(t, err, nats.ErrTimeout)
		require.Equal(t, answerTries, asked, "a server that is away is no reason to ask for ever")

		no := errors.New("no")
		asked = 0
		_, err = answered(ctx, func(context.Context) (string, error) { asked++; return "", no })
		require.ErrorIs(t, err, no)
		require.Equal(t, 1, asked)
	})
}
