// Package service is what the four services have in common as processes: how
// they read their environment, log, connect, show their health and stop.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/kelseyhightower/envconfig"
	"github.com/nats-io/nats.go"
	"golang.org/x/term"

	"github.com/ihc-pipeline/ihc/internal/errkind"
	"github.com/ihc-pipeline/ihc/internal/memory"
	"github.com/ihc-pipeline/ihc/internal/stream"
	"github.com/ihc-pipeline/ihc/internal/version"
)

// Log returns a logger on standard error: for people on a terminal, JSON
// elsewhere.
func Log(level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return slog.New(slog.NewTextHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, opts))
}

// Interrupt is the cause of a context that a signal has ended. It is a
// [context.Canceled] to errors.Is.
type Interrupt struct{ Signal syscall.Signal }

func (i *Interrupt) Error() string { return "interrupted: " + i.Signal.String() }

// Is says whether target is [context.Canceled].
func (i *Interrupt) Is(target error) bool { return target == context.Canceled }

// ExitCode is that of a process that a signal has ended, as shells have it: 130
// for SIGINT, 143 for SIGTERM.
func (i *Interrupt) ExitCode() int { return 128 + int(i.Signal) }

// Interrupted returns what interrupted ctx, nil if no signal has.
func Interrupted(ctx context.Context) *Interrupt {
	var i *Interrupt
	if errors.As(context.Cause(ctx), &i) {
		return i
	}
	return nil
}

// Signals returns a context that ends at the first SIGINT or SIGTERM, with an
// [Interrupt] as its cause. The second one ends the process on the spot, with
// the exit code of its signal, after a call of last, which may be nil.
func Signals(parent context.Context, last func(*Interrupt)) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM)
	interrupt := func(s os.Signal) *Interrupt {
		number, _ := s.(syscall.Signal)
		return &Interrupt{number}
	}
	go func() {
		select {
		case s := <-ch:
			cancel(interrupt(s))
		case <-ctx.Done():
			return
		}
		second := interrupt(<-ch)
		if last != nil {
			last(second)
		}
		os.Exit(second.ExitCode())
	}()
	return ctx, func() { signal.Stop(ch); cancel(nil) }
}

// Main is the whole life of a service process: it reads the environment into
// [Base] and C, serves health and metrics, connects, calls run, and stops in
// order on a signal. It returns the exit code.
//
// With the argument -health the process asks the running service instead
// whether it can do its job, and says so with its exit code: the health check
// of an image that holds nothing but the binary. With -help it explains the
// environment, with -version it says which build it is.
func Main[C any](stage string, run func(context.Context, C, Deps) error) int {
	return MainOf(stage, func(c C) Service { return New(stage, c, run) })
}

// MainOf is [Main] for a service that its settings make.
func MainOf[C any](stage string, service func(C) Service) int {
	if len(os.Args) > 1 && os.Args[1] != "-health" {
		return inform[C](stage, os.Args[1])
	}
	memory.Limit(40 << 20)
	base, err := FromEnv[Base]()
	log := Log(base.LogLevel).With("stage", stage)
	if err == nil && len(os.Args) > 1 {
		if err = Probe(base.HTTP); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
		}
		return errkind.ExitCode(err)
	}
	var config C
	if err == nil {
		config, err = FromEnv[C]()
	}
	if err != nil {
		log.Error("cannot start", "error", err)
		return errkind.ExitCode(err)
	}
	ctx, cancel := Signals(context.Background(), nil)
	defer cancel()
	host, _ := os.Hostname()
	p := &Process{Log: Log(base.LogLevel), HTTP: base.HTTP, Grace: base.Grace, Instance: host,
		Connect: func(stage string, log *slog.Logger) (*nats.Conn, error) {
			return stream.Dial(base.Address(), stage+" "+host, log, true) // comes when the server does
		}}
	if err := p.Run(ctx, service(config)); err != nil {
		log.Error("stopped", "error", err)
		return errkind.ExitCode(err)
	}
	log.Info("stopped")
	return 0
}

// inform answers an argument that asks about the program, and returns the exit
// code.
func inform[C any](stage, argument string) int {
	if argument == "-version" || argument == "--version" {
		_, err := fmt.Printf("%s version %s\n", stage, version.This())
		return errkind.ExitCode(errkind.As(errkind.Environment, err))
	}
	usage[C](stage)
	if argument == "-help" || argument == "--help" || argument == "-h" {
		return 0
	}
	return errkind.ExitCode(errkind.Inputf("unknown argument"))
}

func usage[C any](stage string) {
	_, _ = fmt.Fprintf(os.Stderr, "%s is a service of ihc-pipeline. It takes no arguments but -health (ask the running\nservice whether it is ready), -version and -help (this), and reads its settings from the environment:\n\n", stage)
	const format = "{{range .}}{{usage_key .}}\t{{usage_description .}}\t{{usage_default .}}\n{{end}}"
	w := tabwriter.NewWriter(os.Stderr, 0, 4, 2, ' ', 0)
	var base Base
	var config C
	_ = envconfig.Usagef("", &base, w, format)
	_ = envconfig.Usagef("", &config, w, format)
	_ = w.Flush()
}
