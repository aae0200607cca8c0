// Package stream is the pipeline's delivery: the table of every JetStream
// stream, subject and durable consumer (this file, and no other knows how a
// subject is spelled), and typed, at-least-once publishing and consuming on
// top of it.
package stream

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ihc-pipeline/ihc/internal/retry"
)

// Subjects read `ihc.v1.<entity>.<event>.<run>`: the contract's version, what
// it is about, what happened to it, and for which run. Chunk messages carry
// the chunk's number as one more token, so that JetStream itself can answer
// whether a chunk is extracted or scored without anybody reading a stream.
const (
	// SubjectRunRequested takes run requests, in protobuf or JSON.
	SubjectRunRequested = "ihc.v1.run.requested"
	// SubjectScoring takes the question what a run would be scored with, which
	// an attributor answers at once. No stream keeps it.
	SubjectScoring = "ihc.v1.scoring.settle"

	subjectRunEvents  = "ihc.v1.run.%s.%s"                 // event, run
	subjectExtracted  = "ihc.v1.journeys.extracted.%s.%d"  // run, chunk
	subjectAttributed = "ihc.v1.journeys.attributed.%s.%d" // run, chunk
	subjectSlice      = "ihc.v1.run.slice.%s.%d"           // run, slice
	subjectDead       = "ihc.v1.dead.%s.%s"                // stage, run
)

// Names of the streams and of the key-value bucket.
const (
	Runs     = "IHC_RUNS"     // run requests, run events, and slices of runs to be read
	Journeys = "IHC_JOURNEYS" // JourneyChunk messages
	Results  = "IHC_RESULTS"  // AttributionResult messages
	Dead     = "IHC_DEAD"     // whatever could not be processed, as it came

	// State is a key-value bucket of live state that no result depends on:
	// `progress.<run>.<stage>.<instance>`, `crash.<consumer>.<sequence>`,
	// `probe.<stage>` (whether there is room for a message); and of
	// what has to do with money: how much of a run's budget of requests is spent,
	// `budget.<run>`, and what the parts of divided chunks gave, so that it is
	// not paid for again, `part.<run>.<chunk>.<revision>.<part>`; and what scores a
	// run that was accepted while no attributor was there, `scoring.<run>.<asked>`;
	// and how far the slices of a run are that extractors share,
	// `slice.<run>.<reading>.<slice>`.
	State = "IHC_STATE"
)

// Stages of the pipeline: the names of the four services, of their durable
// consumers and of the stage token in dead letters.
const (
	StageExtractor  = "extractor"
	StageAttributor = "attributor"
	StageWriter     = "writer"
	StageReporter   = "reporter"
)

// Event is the token of a run event in its subject.
type Event string

// The events of a run, in the order they happen. Reported, Failed and
// Cancelled end it; between Paused and Resumed it waits.
const (
	EventAccepted  Event = "accepted"
	EventExtracted Event = "extracted"
	EventWritten   Event = "written"
	EventReported  Event = "reported"
	EventFailed    Event = "failed"
	EventCancelled Event = "cancelled"
	EventPaused    Event = "paused"
	EventResumed   Event = "resumed"
)

// Consumer names one durable consumer of the table.
type Consumer struct {
	// Durable is its name; Stream the stream it reads; Stage the service that
	// pulls from it, in any number of replicas.
	Durable, Stream, Stage string
	filters                []string
	// maxAckPending bounds the messages under way at once over all replicas:
	// those being worked on and those waiting out a delayed redelivery.
	maxAckPending int
	// restartable work is long and picks up where it stood: it is told at
	// once to stop, not given the grace to finish.
	restartable bool
}

// The durable consumers. Each is one stage's place in one stream.
var (
	// Requests hands run requests to extractors, one at a time each, and what
	// asks for work on a run as well: the wish that a paused run go on, and the
	// end of one whose place another takes.
	Requests = Consumer{Durable: "extractor", Stream: Runs, Stage: StageExtractor,
		filters: []string{SubjectRunRequested, "ihc.v1.run.resumed.*", "ihc.v1.run.failed.*"}, maxAckPending: 64, restartable: true}
	// Slices hands the slices of a run to extractors, one at a time each.
	Slices = Consumer{Durable: "extractor-slices", Stream: Runs, Stage: StageExtractor,
		filters: []string{"ihc.v1.run.slice.*.*"}, maxAckPending: 1024, restartable: true}
	// Chunks hands journey chunks to attributors. Delayed retries count as
	// pending, so the bound is replicas × workers and ample room for those.
	Chunks = Consumer{Durable: "attributor", Stream: Journeys, Stage: StageAttributor,
		filters: []string{"ihc.v1.journeys.extracted.>"}, maxAckPending: 4096}
	// Scored hands results to the writer, in batches.
	Scored = Consumer{Durable: "writer", Stream: Results, Stage: StageWriter,
		filters: []string{"ihc.v1.journeys.attributed.>"}, maxAckPending: 2048}
	// Milestones tells the writer where runs begin, how many chunks they
	// have, and which were ended early.
	Milestones = Consumer{Durable: "writer-runs", Stream: Runs, Stage: StageWriter,
		filters:       []string{"ihc.v1.run.accepted.*", "ihc.v1.run.extracted.*", "ihc.v1.run.failed.*", "ihc.v1.run.cancelled.*"},
		maxAckPending: 256}
	// Written hands complete runs to the reporter.
	Written = Consumer{Durable: "reporter", Stream: Runs, Stage: StageReporter,
		filters: []string{"ihc.v1.run.written.*"}, maxAckPending: 16}
)

// consumers is the whole of them, for [Ensure].
var consumers = []Consumer{Requests, Slices, Chunks, Scored, Milestones, Written}

// Settings are the properties of the streams a deployment may choose.
type Settings struct {
	// AckWait is how long the server waits for a sign of life from whoever
	// works on a message before it gives the message to another. Workers
	// send one every third of it, so it bounds how long a killed process
	// delays its messages, not how long work may take.
	AckWait time.Duration
	// KeepMessages is how long chunks and results stay replayable;
	// KeepHistory how long run events and dead letters stay.
	KeepMessages, KeepHistory time.Duration
	// MaxBytes bounds each of the journeys and results streams; 0 means the
	// server's own limit. A full stream holds publishers up, it drops nothing.
	MaxBytes int64
	// Replicas is on how many servers of a cluster each message is before it is
	// acknowledged; 0 means one. Streams that are there are brought to it.
	Replicas int
	// Packed has the server compress what it stores, each block of messages
	// when it is full: to a third (see docs/performance.md). Streams that are
	// there already are packed from the server's next start on.
	Packed bool
	// Passing has the server drop chunks and results as soon as they are
	// acknowledged: for streams that nobody will replay, since they go when
	// the process ends. The server holds in memory what it stored in the last
	// seconds, which is most of a fast run.
	Passing bool
}

// DefaultSettings returns what a deployment gets that chooses nothing: ten
// seconds, two weeks, half a year, the server's limit, packed.
func DefaultSettings() Settings {
	return Settings{AckWait: 10 * time.Second, KeepMessages: 14 * 24 * time.Hour, KeepHistory: 183 * 24 * time.Hour, Packed: true}
}

// streams is the table itself. All keep by limits, since a work-queue stream
// cannot be replayed, and refuse new messages when full, since dropping old
// ones would lose work (invariant 5).
func (s Settings) streams() []jetstream.StreamConfig {
	compression := jetstream.NoCompression
	if s.Packed {
		compression = jetstream.S2Compression
	}
	limits := func(name, description string, age time.Duration, maxBytes int64, subjects ...string) jetstream.StreamConfig {
		if maxBytes <= 0 {
			maxBytes = -1
		}
		return jetstream.StreamConfig{
			Name: name, Description: description, Subjects: subjects,
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
			MaxAge: age, MaxBytes: maxBytes, MaxMsgs: -1, MaxMsgSize: -1,
			Storage: jetstream.FileStorage, Compression: compression, Replicas: max(s.Replicas, 1),
			Duplicates: min(2*time.Minute, age), AllowDirect: true,
		}
	}
	passing := func(c jetstream.StreamConfig) jetstream.StreamConfig {
		if s.Passing {
			c.Retention = jetstream.InterestPolicy
		}
		return c
	}
	return []jetstream.StreamConfig{
		limits(Runs, "run requests, run events and slices of runs", s.KeepHistory, 0, "ihc.v1.run.>"),
		passing(limits(Journeys, "journey chunks to be scored", s.KeepMessages, s.MaxBytes, "ihc.v1.journeys.extracted.>")),
		passing(limits(Results, "attribution results to be written", s.KeepMessages, s.MaxBytes, "ihc.v1.journeys.attributed.>")),
		limits(Dead, "messages that could not be processed", s.KeepHistory, 0, "ihc.v1.dead.>"),
	}
}

// bucket is the stream of [State], as the client would make it but for one
// thing: without roll-ups, by whose header whoever may write one key empties
// the whole bucket.
func (s Settings) bucket() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: bucketStream, Description: "live progress of runs", Subjects: []string{"$KV." + State + ".>"},
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DenyDelete: true, AllowDirect: true,
		MaxAge: s.KeepMessages, MaxBytes: -1, MaxMsgs: -1, MaxMsgSize: -1, MaxConsumers: -1,
		Storage: jetstream.FileStorage, Replicas: max(s.Replicas, 1), Duplicates: min(2*time.Minute, s.KeepMessages),
	}
}

func (c Consumer) config(s Settings) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: c.Durable, FilterSubjects: c.filters,
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: s.AckWait, MaxAckPending: c.maxAckPending,
		// The program decides when to give up (invariant 5), never the server.
		MaxDeliver: -1,
	}
}

// Ensure creates the streams, consumers and the state bucket, or brings those
// that exist to s. It may be called by any number of processes at any time.
func Ensure(ctx context.Context, js jetstream.JetStream, s Settings) error {
	for _, cfg := range s.streams() {
		if _, err := js.CreateOrUpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("create stream %s: %w", cfg.Name, err)
		}
	}
	for _, c := range consumers {
		if _, err := js.CreateOrUpdateConsumer(ctx, c.Stream, c.config(s)); err != nil {
			return fmt.Errorf("create consumer %s of %s: %w", c.Durable, c.Stream, err)
		}
	}
	if _, err := js.CreateOrUpdateStream(ctx, s.bucket()); err != nil {
		return fmt.Errorf("create bucket %s: %w", State, err)
	}
	return nil
}

// Await waits until another process has called [Ensure]: until every stream,
// consumer and bucket of the table is there. Its error is ctx's, with what was
// missing last. missing, which may be nil, is told that at each look, too.
func Await(ctx context.Context, js jetstream.JetStream, missing func(error)) error {
	return retry.Do(ctx, retry.Real, retry.Server, func(ctx context.Context) error { return present(ctx, js) }, func(err error) bool {
		if missing != nil {
			missing(fmt.Errorf("the streams are not there yet; the step init makes them: %w", err))
		}
		return true
	})
}

func present(ctx context.Context, js jetstream.JetStream) error {
	// A question to a server that then goes away is never answered.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, c := range consumers {
		if _, err := js.Consumer(ctx, c.Stream, c.Durable); err != nil {
			return fmt.Errorf("consumer %s of %s: %w", c.Durable, c.Stream, err)
		}
	}
	if _, err := js.KeyValue(ctx, State); err != nil { // the last that [Ensure] makes
		return fmt.Errorf("bucket %s: %w", State, err)
	}
	return nil
}

func eventSubject(e Event, run string) string      { return fmt.Sprintf(subjectRunEvents, e, run) }
func chunkSubject(run string, chunk uint32) string { return fmt.Sprintf(subjectExtracted, run, chunk) }
func resultSubject(run string, chunk uint32) string {
	return fmt.Sprintf(subjectAttributed, run, chunk)
}
func partKey(run string, chunk, revision, part uint32) string {
	return fmt.Sprintf("part.%s.%d.%d.%d", run, chunk, revision, part)
}
func scoringKey(run, asked string) string { return "scoring." + run + "." + keyed(asked) }

// keyed returns a text as a token of a key: what a key may not hold is a dash.
func keyed(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '-'
	}, "at"+text)
}

func sliceKey(run, reading string, slice uint32) string {
	return fmt.Sprintf("slice.%s.%s.%d", run, reading, slice)
}

func deadSubject(stage, run string) string { return fmt.Sprintf(subjectDead, stage, run) }

func chunksOf(run string) string { return "ihc.v1.journeys.extracted." + run + ".*" }
func scoredOf(run string) string { return "ihc.v1.journeys.attributed." + run + ".*" }
func eventsOf(run string) string { return "ihc.v1.run.*." + run }

// place says which run and chunk a subject is about, "" and 0 where it says
// nothing about them.
func place(subject string) (run string, chunk uint32) {
	t := strings.Split(subject, ".")
	if len(t) >= 5 {
		run = t[4]
	}
	if len(t) >= 6 {
		n, _ := strconv.ParseUint(t[5], 10, 32)
		chunk = uint32(n)
	}
	return run, chunk
}
