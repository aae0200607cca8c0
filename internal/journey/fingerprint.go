package journey

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Fingerprints makes digests of journeys that are scored by the same settings.
// It is for one goroutine.
type Fingerprints struct {
	hash     hash.Hash
	settings []byte
	buffer   []byte
}

// NewFingerprints returns one for the given settings: whatever bytes say how
// journeys are scored.
func NewFingerprints(settings []byte) *Fingerprints {
	of := sha256.Sum256(settings)
	return &Fingerprints{hash: sha256.New(), settings: of[:]}
}

// FingerprintBytes is how long a fingerprint is.
const FingerprintBytes = 16

// Of returns the digest of what decides a journey's shares: the sessions in
// order with their times, channels and flags, the time of the conversion, the
// strategy where the journey is too long and how much of it is left out, and the
// settings. Two journeys that differ in any of it have different ones.
func (f *Fingerprints) Of(j Journey) []byte {
	b := f.buffer[:0]
	b = append(b, f.settings...)
	b = binary.LittleEndian.AppendUint64(b, uint64(j.Time))
	for i := range j.Sessions {
		s := &j.Sessions[i]
		b = binary.AppendUvarint(b, uint64(len(s.ID)))
		b = append(b, s.ID...)
		b = binary.AppendUvarint(b, uint64(len(s.Channel)))
		b = append(b, s.Channel...)
		b = binary.LittleEndian.AppendUint64(b, uint64(s.Time))
		b = append(b, s.Flags)
	}
	if j.Strategy != "" {
		b = append(b, j.Strategy...)
		b = binary.AppendUvarint(b, uint64(j.LeftOut()))
	}
	f.buffer = b
	f.hash.Reset()
	_, _ = f.hash.Write(b) // a hash never fails
	return f.hash.Sum(nil)[:FingerprintBytes]
}
