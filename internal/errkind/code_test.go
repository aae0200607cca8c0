package errkind

import (
	"errors"
	"fmt"
	"testing"
)

func TestCodeOfAnErrorIsItsOwnOrThatOfItsKind(t *testing.T) {
	unknown := WithCode(CodeUnknownRun, Inputf("no such run"))
	for _, tc := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{WithCode(CodeUnknownRun, nil), ""},
		{errors.New("plain"), CodeRun},
		{Inputf("bad"), CodeInput},
		{Environmentf("away"), CodeEnvironment},
		{As(Paused, errors.New("spent")), CodePaused},
		{fmt.Errorf("cancel: %w", unknown), CodeUnknownRun},
	} {
		if got := CodeOf(tc.err); got != tc.want {
			t.Errorf("CodeOf(%v) = %q, want %q", tc.err, got, tc.want)
		}
	}
	if KindOf(unknown) != Input || unknown.Error() != "no such run" {
		t.Error("a code changes what an error is")
	}
}
