package sqlite

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/ihc-pipeline/ihc/internal/errkind"
)

// What a run stores another uses, perhaps months later, and its fingerprint only
// says what was scored. So the shares are stored under a seal, which says that
// they are still those, of these sessions of this conversion: a row that was
// changed since, by hand or by a disk, is scored again and never shown.

// sealed is what sealed shares begin with, where others have their layout. The
// seal follows, then the shares.
const sealed, sealBytes = 0x80, 5

// errJournal says that a row of the journal is not what was stored.
var errJournal = errkind.As(errkind.Input, errors.New("a row of pipeline_journeys is damaged; a run over its date scores the conversion again"))

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(conv string, sessions, shares []byte) uint32 {
	sum := crc32.Update(0, castagnoli, []byte(conv))
	sum = crc32.Update(sum, castagnoli, []byte{0})
	sum = crc32.Update(sum, castagnoli, binary.AppendUvarint(nil, uint64(len(sessions))))
	return crc32.Update(crc32.Update(sum, castagnoli, sessions), castagnoli, shares)
}

// seal returns the shares under their seal.
func seal(conv string, sessions, shares []byte) []byte {
	blob := make([]byte, 1, sealBytes+len(shares))
	blob[0] = sealed
	blob = binary.LittleEndian.AppendUint32(blob, checksum(conv, sessions, shares))
	return append(blob, shares...)
}

// unseal returns the shares that a row has, or [errJournal]. Those of earlier
// releases have no seal, and are returned as they are.
func unseal(conv string, sessions, blob []byte) ([]byte, error) {
	if len(blob) == 0 || blob[0] != sealed {
		return blob, nil
	}
	if len(blob) < sealBytes || binary.LittleEndian.Uint32(blob[1:]) != checksum(conv, sessions, blob[sealBytes:]) {
		return nil, errJournal
	}
	return blob[sealBytes:], nil
}

// intactInSQL is [intact] in SQL.
const intactInSQL = "pipeline_intact"

// intact says whether a row of the journal can be shown, by its conversion,
// sessions and shares, of whatever type they are.
func intact(conv, sessions, shares any) bool {
	id, ok1 := conv.(string)
	packed, ok2 := sessions.([]byte)
	blob, ok3 := shares.([]byte)
	if !ok1 || !ok2 || !ok3 {
		return false
	}
	if len(blob) > 0 && blob[0] == sealed {
		_, err := unseal(id, packed, blob)
		return err == nil
	}
	_, _, err := decodeJourney(id, packed, blob)
	return err == nil
}

// decodeJourney returns what a row of the journal shows: its sessions and the ihc
// of each.
func decodeJourney(conv string, sessions, shares []byte) (ids []string, ihc []uint32, err error) {
	if shares, err = unseal(conv, sessions, shares); err != nil {
		return nil, nil, err
	}
	if ids, err = decodeSessions(sessions); err == nil {
		ihc, err = decodeIHC(shares, make([]uint32, 0, len(ids)))
	}
	if err == nil && len(ihc) != len(ids) {
		err = errJournal
	}
	return ids, ihc, err
}
