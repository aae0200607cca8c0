package sqlite

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
	"github.com/ihc-pipeline/ihc/store/journeysum"
)

// A row of the journal holds the sessions of a journey and their shares in two
// blobs, so that a journey is one small row: a third of what its rows in
// attribution_customer_journey take.

// encodeSessions writes session ids in their order. Each is the number of
// leading bytes it has in common with the one before, the number of bytes that
// follow, and those bytes: ids of one journey often begin alike. An id that
// occurs twice is an error.
func encodeSessions(ids []string) ([]byte, error) {
	blob := make([]byte, 0, 24*len(ids))
	before, ascending := "", true
	for i, id := range ids {
		n := 0
		for n < len(before) && n < len(id) && before[n] == id[n] {
			n++
		}
		blob = binary.AppendUvarint(blob, uint64(n))
		blob = binary.AppendUvarint(blob, uint64(len(id)-n))
		blob = append(blob, id[n:]...)
		ascending = ascending && (i == 0 || before < id)
		before = id
	}
	if ascending {
		return blob, nil
	}
	sorted := slices.Sorted(slices.Values(ids))
	for i := range sorted[1:] {
		if sorted[i] == sorted[i+1] {
			return nil, fmt.Errorf("session %q occurs twice", sorted[i])
		}
	}
	return blob, nil
}

// decodeSessions is the inverse of encodeSessions. The ids share one string:
// one for each would be most of what a sweep allocates.
func decodeSessions(blob []byte) ([]string, error) {
	n, size, err := measureSessions(blob)
	if err != nil {
		return nil, err
	}
	var all strings.Builder
	all.Grow(size)
	ids := make([]string, 0, n)
	before := ""
	for len(blob) > 0 {
		shared, n := binary.Uvarint(blob)
		blob = blob[n:]
		own, n := binary.Uvarint(blob)
		blob = blob[n:]
		from := all.Len()
		all.WriteString(before[:shared])
		all.Write(blob[:own])
		blob = blob[own:]
		before = all.String()[from:]
		ids = append(ids, before)
	}
	return ids, nil
}

// measureSessions returns how many ids a blob holds, and their bytes.
func measureSessions(blob []byte) (ids, size int, err error) {
	length := uint64(0) // of the id before
	for len(blob) > 0 {
		shared, n := binary.Uvarint(blob)
		if n <= 0 || shared > length {
			return 0, 0, errJournal
		}
		blob = blob[n:]
		own, n := binary.Uvarint(blob)
		if n <= 0 || own > uint64(len(blob)-n) {
			return 0, 0, errJournal
		}
		blob = blob[n+int(own):]
		length = shared + own
		ids++
		if size += int(length); size > maxJourneyBytes {
			return 0, 0, errJournal
		}
	}
	return ids, size, nil
}

// maxJourneyBytes is more than the ids of any journey take: a damaged blob must
// not be taken for a journey that fills the memory.
const maxJourneyBytes = 1 << 30

// What a blob of shares begins with.
const (
	ihcAlone   = 0 // ihc of each session
	withPhases = 1 // ihc, initializer, holder and closer of each session
)

// encodeShares writes the shares of each session in ten-thousandths, those of
// one session together.
func encodeShares(a *ihcv1.Attribution) []byte {
	n := len(a.GetIhc())
	phases := len(a.GetInitializer()) == n && len(a.GetHolder()) == n && len(a.GetCloser()) == n
	blob := make([]byte, 1, 1+7*n)
	blob[0] = ihcAlone
	if phases {
		blob[0] = withPhases
	}
	for i, share := range a.GetIhc() {
		blob = binary.AppendUvarint(blob, uint64(share))
		if phases {
			blob = binary.AppendUvarint(blob, uint64(a.GetInitializer()[i]))
			blob = binary.AppendUvarint(blob, uint64(a.GetHolder()[i]))
			blob = binary.AppendUvarint(blob, uint64(a.GetCloser()[i]))
		}
	}
	return blob
}

// decodeIHC returns the ihc of each session, the phases left out.
func decodeIHC(blob []byte, into []uint32) ([]uint32, error) {
	if len(blob) == 0 || blob[0] > withPhases {
		return nil, errJournal
	}
	fields := 1 + 3*int(blob[0])
	blob = blob[1:]
	left := 0 // of a session's fields
	for i := 0; len(blob) > 0; i++ {
		share, n := binary.Uvarint(blob)
		if n <= 0 || share > math.MaxUint32 {
			return nil, errJournal
		}
		blob = blob[n:]
		if i%fields == 0 {
			into = append(into, uint32(share))
			left = fields
		}
		left--
	}
	if left != 0 {
		return nil, errJournal // cut short within a session
	}
	return into, nil
}

// decodeShares returns the shares of each session, and whether its phases are
// known; those that are not are 0.
func decodeShares(blob []byte, into []journeysum.Shares) (shares []journeysum.Shares, phased bool, err error) {
	if len(blob) == 0 || blob[0] > withPhases {
		return nil, false, errJournal
	}
	phased = blob[0] == withPhases
	blob = blob[1:]
	for len(blob) > 0 {
		var s journeysum.Shares
		for _, field := range []*int64{&s.IHC, &s.Initializer, &s.Holder, &s.Closer} {
			share, n := binary.Uvarint(blob)
			if n <= 0 || share > math.MaxUint32 {
				return nil, false, errJournal
			}
			*field, blob = int64(share), blob[n:]
			if !phased {
				break
			}
		}
		into = append(into, s)
	}
	return into, phased, nil
}
