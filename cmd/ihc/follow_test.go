package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ihc-pipeline/ihc/internal/run"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// What cannot be attributed is no part of what is to be.
func TestAttributedIsOfWhatIsToBeAttributed(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	p := newProgress(&said)
	p.printed = p.printed.Add(-pause)
	p.show(&run.State{
		Planned:  &ihcv1.RunExtracted{Counts: &ihcv1.Counts{InRange: 693, Attributed: 670, Approximated: 2, WithoutSessions: 21}},
		Progress: run.Progress{Extractor: &ihcv1.Progress{Conversions: 693}, Attributor: &ihcv1.Progress{Conversions: 600}, Writer: &ihcv1.Progress{Conversions: 500}},
	})
	require.Equal(t, "conversions extracted 693, attributed 600 of 672, written 500 of 693\n", said.String())
}
