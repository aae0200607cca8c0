package errkind

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestExitCode(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("plain"), 1},
		{Inputf("bad"), 2},
		{Environmentf("no NATS: %w", io.EOF), 3},
		{fmt.Errorf("while opening: %w", Inputf("bad")), 2},
		{As(Run, Inputf("bad")), 1},
		{As(Input, nil), 0},
	} {
		if got := ExitCode(tc.err); got != tc.want {
			t.Errorf("ExitCode(%v) = %d, want %d", tc.err, got, tc.want)
		}
	}
	if !errors.Is(Environmentf("x: %w", io.EOF), io.EOF) {
		t.Error("Environmentf does not wrap")
	}
}
