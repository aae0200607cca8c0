package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// encode writes what is to have one digest whoever writes it.
var encode = proto.MarshalOptions{Deterministic: true}.Marshal

// ChunkBody is a chunk as its message has it, but for the run and the number that
// stand before: most of the work of publishing it, for whoever does not know its
// number yet.
type ChunkBody []byte

// BodyOf encodes a chunk that has no run, no number and no revision.
func BodyOf(chunk *ihcv1.JourneyChunk) (ChunkBody, error) { return encode(chunk) }

// PublishBody is [ChunkPublisher.Publish] of the chunk with a body and a number: the
// message is the same to the byte.
func (p *ChunkPublisher) PublishBody(ctx context.Context, number uint32, body ChunkBody) error {
	head, err := encode(&ihcv1.JourneyChunk{RunId: p.run, Chunk: number})
	if err != nil {
		return fmt.Errorf("encode chunk %d of run %s: %w", number, p.run, err)
	}
	data := slices.Concat(head, body)
	m, id := messageOf(p.run, number, 0, data, data)
	return p.publish(ctx, number, m, id)
}

// chunkMessage returns the message a chunk travels in and its id. The digest is
// that of the first revision, since what is put back says the same.
func chunkMessage(chunk *ihcv1.JourneyChunk) (m *nats.Msg, id string, err error) {
	data, err := encode(chunk)
	first := data
	if err == nil && chunk.GetRevision() > 0 {
		again := proto.CloneOf(chunk)
		again.Revision = 0
		first, err = encode(again)
	}
	if err != nil {
		return nil, "", fmt.Errorf("encode chunk %d of run %s: %w", chunk.GetChunk(), chunk.GetRunId(), err)
	}
	m, id = messageOf(chunk.GetRunId(), chunk.GetChunk(), chunk.GetRevision(), data, first)
	return m, id, nil
}

// messageOf returns the message of a chunk's bytes and its id, where first are those
// of its first revision.
func messageOf(run string, number, revision uint32, data, first []byte) (m *nats.Msg, id string) {
	sum := sha256.Sum256(first)
	m = &nats.Msg{Subject: chunkSubject(run, number), Data: data, Header: nats.Header{headerDigest: {hex.EncodeToString(sum[:])}}}
	// Other content has another id, so that it never passes for a repetition.
	return m, fmt.Sprintf("chunk.%s.%d.%d.%x", run, number, revision, sum[:8])
}
