package sqlite

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// drawIDs draws different session ids, many of which begin alike.
func drawIDs(t *rapid.T) []string {
	id := rapid.OneOf(rapid.String(), rapid.StringMatching(`session_00[0-9]{0,4}`), rapid.StringN(200, 300, -1),
		rapid.SampledFrom([]string{"", "\x00", "\xff\xfe", "ü", "ü😀"}))
	return rapid.SliceOfNDistinct(id, 0, 20, rapid.ID[string]).Draw(t, "ids")
}

func TestJourneysSurviveTheJournal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ids := drawIDs(t)
		blob, err := encodeSessions(ids)
		require.NoError(t, err)
		read, err := decodeSessions(blob)
		require.NoError(t, err)
		require.True(t, slices.Equal(ids, read), "%q, not %q", read, ids)

		shares := rapid.SliceOfN(rapid.Uint32(), len(ids), len(ids))
		a := &ihcv1.Attribution{SessionIds: ids, Ihc: shares.Draw(t, "ihc")}
		if rapid.Bool().Draw(t, "phases") {
			a.Initializer, a.Holder, a.Closer = shares.Draw(t, "initializer"), shares.Draw(t, "holder"), shares.Draw(t, "closer")
		}
		ihc, err := decodeIHC(encodeShares(a), nil)
		require.NoError(t, err)
		require.True(t, slices.Equal(a.GetIhc(), ihc), "%v, not %v", ihc, a.GetIhc())
	})
}

func TestSessionThatOccursTwiceIsRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ids := append(drawIDs(t), "again")
		ids = slices.Insert(ids, rapid.IntRange(0, len(ids)).Draw(t, "at"), rapid.SampledFrom(ids).Draw(t, "which"))
		_, err := encodeSessions(ids)
		require.ErrorContains(t, err, "occurs twice")
	})
}

func TestDamagedJournalIsToldAndNotShown(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]string{
		"cut short":           `sessions = substr(sessions, 1, length(sessions) - 1)`,
		"sessions are gone":   `sessions = x''`,
		"not enough shares":   `shares = substr(shares, 1, length(shares) - 1)`,
		"another layout":      `shares = x'09'`,
		"no shares":           `shares = x''`,
		"text":                `sessions = 'a-s0'`,
		"shares out of range": `shares = x'00ffffffffff7f01'`,
		"shares changed":      `shares = cast(substr(shares, 1, 5) || x'00e044b009' AS blob)`, // 8800 and 1200 for 2500 and 7500
		"seal cut short":      `shares = x'8001'`,
		"endless number":      `shares = x'00ffffffffffffffffffffff'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := build(t, InputSchema+`INSERT INTO conversions VALUES ('a', 'u', '2023-01-02', '12:00:00', 1)`)
			d := opened(t, path)
			require.NoError(t, d.Expect(t.Context(), "run", &ihcv1.RunExtracted{Chunks: 1, Counts: &ihcv1.Counts{InRange: 1}}))
			require.NoError(t, d.Store(t.Context(), scored("run", 1, sharedOut("a", 2500, 7500))))
			execute(t, path, "", `UPDATE pipeline_journeys SET `+damage)
			_, err := d.Finish(t.Context(), "run")
			require.ErrorIs(t, err, errJournal)
			require.ErrorContains(t, err, `conversion "a"`)
			require.Empty(t, tableRows(t, path, shownQuery))
		})
	}
}

// What can be decoded is the same when it is encoded and decoded again;
// nothing else is taken, and nothing panics.
func FuzzDecodeSessions(f *testing.F) {
	for _, ids := range [][]string{nil, {"a"}, {"session_1", "session_2", "session_20"}, {"b", "a", "", "ü"}} {
		blob, err := encodeSessions(ids)
		require.NoError(f, err)
		f.Add(blob)
	}
	for _, damaged := range []string{"\x01\x00", "\x00\x05ab", "\x80", "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x00\x01a\x02\x00"} {
		f.Add([]byte(damaged))
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		ids, err := decodeSessions(blob)
		if err != nil {
			require.ErrorIs(t, err, errJournal)
			return
		}
		again, err := encodeSessions(ids)
		if err != nil {
			require.ErrorContains(t, err, "occurs twice")
			return
		}
		same, err := decodeSessions(again)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%q", ids), fmt.Sprintf("%q", same))
	})
}

func FuzzDecodeIHC(f *testing.F) {
	f.Add(encodeShares(&ihcv1.Attribution{Ihc: []uint32{2500, 7500}}))
	f.Add(encodeShares(&ihcv1.Attribution{Ihc: []uint32{1}, Initializer: []uint32{2}, Holder: []uint32{300}, Closer: []uint32{1 << 31}}))
	for _, damaged := range []string{"", "\x02", "\x01\x01", "\x00\x80", "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		f.Add([]byte(damaged))
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		ihc, err := decodeIHC(blob, nil)
		if err != nil {
			require.ErrorIs(t, err, errJournal)
			return
		}
		same, err := decodeIHC(encodeShares(&ihcv1.Attribution{Ihc: ihc}), nil)
		require.NoError(t, err)
		require.True(t, slices.Equal(ihc, same))
	})
}

func TestARowOfOtherTypesIsNotIntact(t *testing.T) {
	t.Parallel()
	for _, row := range [][3]any{{"a", []byte{}, "text"}, {"a", nil, []byte{sealed}}, {int64(1), []byte{}, []byte{}}, {"a", []byte{}, []byte{sealed, 0, 0, 0, 0}}} {
		require.False(t, intact(row[0], row[1], row[2]), row)
	}
}
