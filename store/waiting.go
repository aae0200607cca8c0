package store

import "context"

type waitingKey struct{}

// OnWait returns a context in which a SQLite file that another program has
// locked is waited for, for up to half a minute, and tell is told what for, once
// for each time a file is opened. Without it, whoever opens one may wait without
// a word.
func OnWait(ctx context.Context, tell func(what string)) context.Context {
	return context.WithValue(ctx, waitingKey{}, tell)
}

// Waiting returns what is to be told in a context that [OnWait] made, and nil in
// any other.
func Waiting(ctx context.Context) (tell func(what string)) {
	tell, _ = ctx.Value(waitingKey{}).(func(string))
	return tell
}
