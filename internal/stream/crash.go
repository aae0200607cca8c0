package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A message on which process after process dies is poison, though no handler
// ever returned. But processes die for other reasons, too, and whatever they
// have in hand is then under suspicion: a message is to blame only if others
// pass while it kills, or if there are no others; and it is given ever longer
// pauses, in which whoever kills the processes may stop.

const (
	// maxCrashes is how many processes may die on one message before it can be
	// taken for the cause.
	maxCrashes = 5
	// suspectAfter is the number of deliveries from which crashes are
	// counted; before it the count is not worth a write.
	suspectAfter = 3
)

// suspicion is what is known of a message on which processes may have died. It
// is kept as JSON in [State].
type suspicion struct {
	// Crashes counts the processes: how often [puller.enter] was not followed
	// by [puller.leave].
	Crashes int `json:"crashes"`
	// Paused is the count for which the message has waited.
	Paused int `json:"paused"`
	// OthersPassed says that other messages passed meanwhile, or that there are none.
	OthersPassed bool `json:"others_passed"`
}

// errSuspect is why a message under suspicion is delivered later.
var errSuspect = errors.New("processes died while working on this message; it waits before it is tried again")

// judge returns nil if work on a message under suspicion may begin, and
// otherwise what is to become of it.
func (p *puller) judge(ctx context.Context, d Delivery, s *suspicion) error {
	switch {
	case s.Paused == s.Crashes:
		// It has waited. That others passed meanwhile tells something only if it
		// kills once more: whoever killed from outside may have stopped.
		s.OthersPassed = s.OthersPassed || p.alone(ctx)
		return nil
	case s.Crashes >= maxCrashes && s.OthersPassed:
		return Poison(fmt.Errorf("%d processes died while working on this message", s.Crashes))
	default:
		s.Paused = s.Crashes
		p.keep(ctx, d, *s)
		p.waiting.add(p.crashKey(d))
		pause := p.crashed.Delay(s.Crashes)
		p.log.Warn("processes died while working on a message; it waits before it is tried again",
			"run", d.Run, "chunk", d.Chunk, "subject", d.Subject, "crashes", s.Crashes, "pause", pause)
		return Retry(errSuspect, pause)
	}
}

// alone says whether the consumer has no other message to hand out.
func (p *puller) alone(ctx context.Context) bool {
	c, err := consumerOf(ctx, p.js, p.from)
	return err == nil && c.CachedInfo().NumPending == 0 && c.CachedInfo().NumAckPending <= 1
}

// suspicion returns what is known of a message. What cannot be read is nothing.
func (p *puller) suspicion(ctx context.Context, d Delivery) (s suspicion) {
	if d.Tries < suspectAfter {
		return s
	}
	if e, err := valueOf(ctx, p.kv, p.crashKey(d)); err == nil {
		if json.Unmarshal(e.Value(), &s) != nil {
			return suspicion{}
		}
		p.metrics.crashed.Inc()
	}
	return s
}

func (p *puller) keep(ctx context.Context, d Delivery, s suspicion) {
	data, err := json.Marshal(s)
	if err == nil {
		_, err = p.kv.Put(ctx, p.crashKey(d), data)
	}
	if err != nil {
		p.log.Debug("could not note what is known of a suspicious message", "subject", d.Subject, "error", err)
	}
}

// enter notes that work on a suspicious message begins; leave, that it ended in
// an orderly way.
func (p *puller) enter(ctx context.Context, d Delivery, s suspicion) {
	if d.Tries < suspectAfter {
		return
	}
	s.Crashes++
	p.keep(ctx, d, s)
}

func (p *puller) leave(ctx context.Context, d Delivery, err error) {
	// Being told to stop is orderly too, and leaves no other context.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if d.Tries >= suspectAfter {
		p.waiting.remove(p.crashKey(d))
		_ = p.kv.Delete(ctx, p.crashKey(d))
	}
	if err != nil {
		return
	}
	for _, key := range p.waiting.take() {
		p.passed(ctx, key)
	}
}

// passed notes that another message passed while the one of this key waits.
func (p *puller) passed(ctx context.Context, key string) {
	e, err := valueOf(ctx, p.kv, key)
	var s suspicion
	if err != nil || json.Unmarshal(e.Value(), &s) != nil || s.OthersPassed {
		return
	}
	s.OthersPassed = true
	if data, err := json.Marshal(s); err == nil {
		_, _ = p.kv.Update(ctx, key, data, e.Revision()) // who is faster knows more
	}
}

func (p *puller) crashKey(d Delivery) string {
	return fmt.Sprintf("crash.%s.%d", p.from.Durable, d.Sequence)
}
