package stream_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ihc-pipeline/ihc/internal/broker"
	"github.com/ihc-pipeline/ihc/internal/stream"
	ihcv1 "github.com/ihc-pipeline/ihc/proto/ihc/v1"
)

// What the handler returns decides what becomes of the message. Trouble outside
// of it is waited for: the message comes again, here at once. Trouble in it is
// poison: the message ends in the dead letters with its reason.
func ExampleConsume() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client, done, err := connect(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done()

	chunks, err := client.NewChunkPublisher(ctx, "september", true)
	if err != nil {
		fmt.Println(err)
	}
	for n := range uint32(2) {
		err = errors.Join(err, chunks.Publish(ctx, &ihcv1.JourneyChunk{RunId: "september", Chunk: n + 1}))
	}
	fmt.Println("published:", errors.Join(err, chunks.Flush(ctx)))

	decode := stream.Proto(func() *ihcv1.JourneyChunk { return &ihcv1.JourneyChunk{} })
	err = stream.Consume(ctx, client, stream.Chunks, 1, nil, decode, func(_ context.Context, m stream.Message[*ihcv1.JourneyChunk]) error {
		fmt.Println("chunk", m.Body.GetChunk(), "of run", m.Run, "try", m.Tries)
		switch {
		case m.Body.GetChunk() == 1:
			return stream.Poison(errors.New("conversion c17 has no session"))
		case !m.Redelivered():
			return stream.Retry(errors.New("the API does not answer"), 0)
		default:
			stop() // when this one is acknowledged
			return nil
		}
	})
	fmt.Println("consumed:", err)

	err = client.DeadLetters(context.Background(), "september", func(d stream.DeadLetter) error {
		fmt.Println("dead:", d.Reason)
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// published: <nil>
	// chunk 1 of run september try 1
	// chunk 2 of run september try 1
	// chunk 2 of run september try 2
	// consumed: <nil>
	// dead: conversion c17 has no session
}

// connect returns a client of a server of its own that has the streams.
func connect(ctx context.Context) (client *stream.Client, done func(), err error) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return nil, nil, err
	}
	server, err := broker.Start(broker.Config{Dir: dir})
	if err != nil {
		return nil, nil, err
	}
	nc, err := server.Connect("example")
	if err == nil {
		err = stream.EnsureOn(ctx, nc, stream.DefaultSettings())
	}
	if err == nil {
		client, err = stream.New(ctx, nc, stream.Options{Stage: stream.StageAttributor})
	}
	return client, func() {
		nc.Close()
		server.Stop(context.Background())
		_ = os.RemoveAll(dir)
	}, err
}
