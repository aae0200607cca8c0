package scoring

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ihc-pipeline/ihc/internal/ihcapi"
	"github.com/ihc-pipeline/ihc/internal/ihcmodel"
	"github.com/ihc-pipeline/ihc/internal/unit"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// FuzzCheck holds that whatever passes Check can be scored and sent.
func FuzzCheck(f *testing.F) {
	data, err := proto.Marshal(sample())
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte{})
	f.Add([]byte("garbage"))
	model, err := ihcmodel.New(ihcmodel.DefaultParams())
	require.NoError(f, err)
	scorer := NewBuiltin(model, nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		var c ihcv1.JourneyChunk
		if proto.Unmarshal(data, &c) != nil || Check(&c) != nil {
			return
		}
		got, err := scorer.Score(t.Context(), &c)
		require.NoError(t, err)
		require.Len(t, got.Attributions, len(c.GetJourneys()))
		for i, a := range got.Attributions {
			sum := uint32(0)
			for _, share := range a.GetIhc() {
				sum += share
			}
			require.EqualValues(t, unit.Whole, sum)
			require.Len(t, a.GetIhc(), len(c.GetJourneys()[i].GetSessionIds()))
		}
		rows := sessions(&c, c.GetJourneys())
		ihcapi.AppendRequest(nil, rows, nil)
	})
}
