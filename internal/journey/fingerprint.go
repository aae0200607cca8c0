package journey

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Fingerprints makes digests of journeys. It is for one goroutine.
type Fingerprints struct {
	hash   hash.Hash
	buffer []byte
}

// NewFingerprints returns one.
func NewFingerprints() *Fingerprints { return &Fingerprints{hash: sha256.New()} }

// FingerprintBytes is how long a fingerprint is.
const FingerprintBytes = 16

// Of returns the digest of what of a journey decides its shares: the sessions in
// order with their times, channels and flags, the time of the conversion, and,
// where the journey is too long, the strategy and how much of it is left out. Two
// journeys that differ in any of it have different ones.
func (f *Fingerprints) Of(j Journey) []byte {
	b := f.buffer[:0]
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

// ScoredBy returns the digest of everything that decides a journey's shares: its
// own fingerprint and the digest of what scores it. Where either is unknown, so
// is this: it returns nil, which is the digest of nothing.
func ScoredBy(fingerprint, scoring []byte) []byte {
	if len(fingerprint) == 0 || len(scoring) == 0 {
		return nil
	}
	h := sha256.New()
	_, _ = h.Write(fingerprint) // of one length always, so that the two cannot be taken for others
	_, _ = h.Write(scoring)
	return h.Sum(nil)[:FingerprintBytes]
}
