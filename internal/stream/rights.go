package stream

import (
	"fmt"
	"slices"
)

// Users of a NATS server that are no stage.
const (
	UserInit  = "init" // makes the streams
	UserTools = "ihc"  // people and the command line
	// UserConsole is the pages and the HTTP API: asks for runs, ends them and lets
	// them go on, and reads.
	UserConsole = "console"
	UserAdmin   = "admin" // may do everything
)

// does is what a user does with the streams, from which its rights follow.
type does struct {
	events    []Event  // publishes
	publishes []string // other subjects
	keys      []string // of [State] it writes, beside those every stage does
	reads     []string // streams it reads from the beginning
	looks     []string // streams it looks messages up in
	answers   []string // subjects of questions it answers
	more      []string // of the server's API, for tools like nats
}

// users is who does what: the table of package stream once more, by who works
// with it. deploy/nats.conf grants exactly this; a test holds it to that. They are
// against mistakes and for damage that stays small, and no wall against a stage that
// was taken over: the server checks where a message is published, but not the subject
// that it asks to be answered at, and so stores its own answers wherever it is told.
var users = map[string]does{
	StageExtractor: {
		events:    []Event{EventAccepted, EventExtracted, EventFailed},
		publishes: []string{"ihc.v1.journeys.extracted.*.*", "ihc.v1.run.slice.*.*", SubjectScoring},
		keys:      []string{"budget.*", "slice.*.*.*"},
		reads:     []string{Runs, Journeys, Results, Dead, bucketStream},
		looks:     []string{Runs, Journeys},
	},
	StageAttributor: {
		events:    []Event{EventFailed, EventPaused},
		publishes: []string{"ihc.v1.journeys.attributed.*.*"},
		keys:      []string{"part.>", "budget.*", "scoring.*.*"},
		reads:     []string{Runs},
		looks:     []string{Runs, Results},
		answers:   []string{SubjectScoring},
	},
	StageWriter: {
		events: []Event{EventWritten, EventFailed},
		reads:  []string{Runs, Results},
		looks:  []string{Runs},
	},
	StageReporter: {
		events: []Event{EventReported, EventFailed},
		looks:  []string{Runs},
	},
	UserConsole: {
		events:    []Event{EventCancelled, EventResumed},
		publishes: []string{SubjectRunRequested, SubjectScoring},
		reads:     []string{Runs, Results, Dead, bucketStream},
		looks:     []string{Runs, Dead},
	},
	UserTools: {
		// What was moved to the dead letters is put back where it was.
		events: []Event{EventCancelled, EventResumed, EventAccepted, EventExtracted, EventWritten, EventFailed},
		publishes: []string{SubjectRunRequested, "ihc.v1.journeys.extracted.*.*", "ihc.v1.journeys.attributed.*.*",
			"$JS.API.STREAM.MSG.DELETE." + Dead,
			// A run's chunks and results are freed when it is over.
			"$JS.API.STREAM.PURGE." + Journeys, "$JS.API.STREAM.PURGE." + Results},
		reads: []string{Runs, Journeys, Results, Dead, bucketStream},
		looks: []string{Runs, Journeys, Results, Dead},
		more: []string{"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.MSG.GET.*",
			"$JS.API.CONSUMER.NAMES.*", "$JS.API.CONSUMER.LIST.*", "$JS.FC.>"},
	},
}

// bucketStream is the stream in which the server keeps [State].
const bucketStream = "KV_" + State

// Rights are what a user of the NATS server may do, in the server's patterns.
type Rights struct {
	Publish, Deny, Subscribe []string
	// Respond says that it may answer what it is asked (allow_responses).
	Respond bool
}

// RightsOf returns the rights a user needs and no more: those of the stages,
// [UserInit], [UserConsole] and [UserTools].
func RightsOf(user string) Rights {
	r := Rights{Subscribe: []string{"_INBOX." + user + ".>"}}
	allow := func(format string, args ...any) { r.Publish = append(r.Publish, fmt.Sprintf(format, args...)) }
	// Everybody waits for the streams, the consumers and the bucket.
	allow("$JS.API.STREAM.INFO.*")
	allow("$JS.API.CONSUMER.INFO.>")
	if user == UserInit {
		allow("$JS.API.INFO")
		for _, s := range []string{Runs, Journeys, Results, Dead, bucketStream} {
			allow("$JS.API.STREAM.CREATE.%s", s)
			allow("$JS.API.STREAM.UPDATE.%s", s)
		}
		for _, c := range consumers {
			allow("$JS.API.CONSUMER.CREATE.%s.%s", c.Stream, c.Durable)
			allow("$JS.API.CONSUMER.CREATE.%s.%s.>", c.Stream, c.Durable)
		}
		return r
	}
	is := users[user]
	for _, e := range is.events {
		allow(subjectRunEvents, e, "*")
	}
	r.Publish = append(r.Publish, is.publishes...)
	r.Publish = append(r.Publish, is.more...)
	r.Subscribe, r.Respond = append(r.Subscribe, is.answers...), len(is.answers) > 0
	for _, k := range is.keys {
		allow("$KV.%s.%s", State, k)
	}
	for _, s := range is.looks {
		allow("$JS.API.DIRECT.GET.%s.>", s)
	}
	allow("$JS.API.DIRECT.GET.%s.>", bucketStream)
	allow("$KV.%s.probe.%s", State, user)
	if user == UserTools { // of any name, for the nats command makes its own
		r.Subscribe = []string{"_INBOX.>", "ihc.v1.>"}
	} else {
		allow("$KV.%s.progress.*.%s.*", State, user)
		allow(subjectDead, user, "*")
	}
	for _, c := range consumers {
		if c.Stage != user {
			continue
		}
		allow("$KV.%s.crash.%s.*", State, c.Durable)
		allow("$JS.ACK.%s.%s.>", c.Stream, c.Durable)
		if !slices.Contains(is.reads, c.Stream) {
			allow("$JS.API.CONSUMER.MSG.NEXT.%s.%s", c.Stream, c.Durable)
		}
	}
	for _, s := range is.reads {
		r.read(user, s)
	}
	return r
}

// read lets a user make consumers of its own on a stream for a while, and keeps
// it from touching those that last.
func (r *Rights) read(user, name string) {
	for _, what := range []string{"CREATE.%s.>", "MSG.NEXT.%s.*", "DELETE.%s.*"} {
		r.Publish = append(r.Publish, "$JS.API.CONSUMER."+fmt.Sprintf(what, name))
	}
	for _, c := range consumers {
		if c.Stream != name {
			continue
		}
		whats := []string{"CREATE.%s.%s", "CREATE.%s.%s.>", "DELETE.%s.%s"}
		if c.Stage != user {
			whats = append(whats, "MSG.NEXT.%s.%s")
		}
		for _, what := range whats {
			r.Deny = append(r.Deny, "$JS.API.CONSUMER."+fmt.Sprintf(what, c.Stream, c.Durable))
		}
	}
}
