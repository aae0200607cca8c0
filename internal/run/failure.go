package run

import (
	"errors"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// Failed returns the event that ends a run because of err in the named stage.
// An error with a method Details() []string adds those lines; one with a method
// SupersededBy() string names the run that takes the place of this one.
func Failed(id, stage string, err error) *ihcv1.RunEvent {
	f := &ihcv1.RunFailed{Stage: stage, Cause: ihcv1.Cause_CAUSE_RUN, Reason: err.Error()}
	switch errkind.KindOf(err) {
	case errkind.Input:
		f.Cause = ihcv1.Cause_CAUSE_INPUT
	case errkind.Environment:
		f.Cause = ihcv1.Cause_CAUSE_ENVIRONMENT
	}
	var more interface{ Details() []string }
	if errors.As(err, &more) {
		f.Details = more.Details()
	}
	var superseded interface{ SupersededBy() string }
	if errors.As(err, &superseded) {
		f.SupersededBy = superseded.SupersededBy()
	}
	return &ihcv1.RunEvent{RunId: id, Event: &ihcv1.RunEvent_Failed{Failed: f}}
}

// Fault returns the error a failed run stands for, classified as it was where
// it arose.
func Fault(f *ihcv1.RunFailed) error {
	err := errors.New(f.GetReason())
	switch f.GetCause() {
	case ihcv1.Cause_CAUSE_INPUT:
		return errkind.As(errkind.Input, err)
	case ihcv1.Cause_CAUSE_ENVIRONMENT:
		return errkind.As(errkind.Environment, err)
	default:
		return errkind.As(errkind.Run, err)
	}
}
