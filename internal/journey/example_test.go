package journey_test

import (
	"fmt"
	"io"

	"github.com/ihc-pipeline/ihc/internal/civil"
	"github.com/ihc-pipeline/ihc/internal/journey"
)

// rows gives the rows of a slice one by one, as a query does.
func rows[T any](all ...T) func() (T, error) {
	return func() (row T, err error) {
		if len(all) == 0 {
			return row, io.EOF
		}
		row, all = all[0], all[1:]
		return row, nil
	}
}

func at(s string) int64 {
	micros, _ := civil.ParseTime(s)
	return micros
}

// A session belongs to every later conversion of its user, as far back as the
// lookback reaches. One at the very time of a conversion is not before it.
func ExampleWalk() {
	conversions := rows(
		journey.Conversion{User: "ann", ID: "lamp", Time: at("2023-09-02 10:00:00")},
		journey.Conversion{User: "ann", ID: "sofa", Time: at("2023-09-09 10:00:00")},
		journey.Conversion{User: "bob", ID: "desk", Time: at("2023-09-03 10:00:00")},
	)
	visits := rows(
		journey.Visit{User: "ann", Session: journey.Session{ID: "s1", Channel: "SEO", Time: at("2023-09-01 09:00:00")}},
		journey.Visit{User: "ann", Session: journey.Session{ID: "s2", Channel: "Email", Time: at("2023-09-02 10:00:00")}},
		journey.Visit{User: "ann", Session: journey.Session{ID: "s3", Channel: "Direct", Time: at("2023-09-09 09:59:00")}},
	)
	o := journey.Options{LookbackDays: 7, MaxSessions: 200}
	err := journey.Walk(o, conversions, visits, func(j journey.Journey) error {
		fmt.Print(j.ConvID, ":")
		for _, s := range j.Sessions {
			fmt.Print(" ", s.ID, " ", s.Channel)
		}
		fmt.Println()
		return nil
	})
	fmt.Println(err)
	// Output:
	// lamp: s1 SEO
	// sofa: s2 Email s3 Direct
	// desk:
	// <nil>
}

// Two journeys have one fingerprint if they would be scored alike: the
// conversion's id does not matter, a session's channel and what scores it do.
func ExampleFingerprints() {
	visit := journey.Session{ID: "s1", Channel: "SEO", Time: at("2023-09-01 09:00:00")}
	lamp := journey.Journey{ConvID: "lamp", Time: at("2023-09-02 10:00:00"), Sessions: []journey.Session{visit}}
	desk := lamp
	desk.ConvID = "desk"
	paid := lamp
	visit.Channel = "Paid"
	paid.Sessions = []journey.Session{visit}

	prints := journey.NewFingerprints()
	was := string(prints.Of(lamp))
	fmt.Println("same sessions:", was == string(prints.Of(desk)))
	fmt.Println("another channel:", was == string(prints.Of(paid)))
	builtin := string(journey.ScoredBy(prints.Of(lamp), []byte("the built-in model")))
	fmt.Println("other settings:", builtin == string(journey.ScoredBy(prints.Of(lamp), []byte("the API"))))
	// Output:
	// same sessions: true
	// another channel: false
	// other settings: false
}
