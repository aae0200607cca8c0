package scoring

import "sync"

// FailureTracker counts the failures of each node since it was last answered.
// It tells trouble that lies in the journeys from trouble of the API: a node
// that fails again and again, while the API answers others in between, is to
// blame itself. The zero value is ready to use.
type FailureTracker struct {
	mu      sync.Mutex
	answers uint64 // requests answered, of all nodes
	strange int    // replies since the last answer that were none of the API's
	nodes   map[Node]failures
}

// failures are those of one node since it was last answered.
type failures struct {
	inRow       int    // of any kind
	amidAnswers int    // with an answer to another request between each two
	answers     uint64 // FailureTracker.answers at the last of amidAnswers
}

// maxTracked bounds the nodes remembered. Those of ended runs are never
// answered and would stay forever.
const maxTracked = 10_000

// Repeated is an error of a node with the number of failures in a row. The
// wait before the next try grows with Times and not with how often the chunk
// was delivered: of a divided chunk, one node after the other is answered, and
// each delivery gets further.
type Repeated struct {
	error
	Times uint64
}

// Unwrap returns the error itself.
func (r *Repeated) Unwrap() error { return r.error }

// heard notes what became of a request: an answer, good or bad, or a reply
// that is none of the API's. It returns how many of these there were in a row,
// all nodes together.
func (t *FailureTracker) heard(answer, strange bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case answer:
		t.answers++
		t.strange = 0
	case strange:
		t.strange++
	}
	return t.strange
}

// forgive begins to count strange replies anew: a run ended for them.
func (t *FailureTracker) forgive() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.strange = 0
}

// failed counts a failure of any kind. It returns how many there were in a
// row, and whether another request was answered since the last one that
// [FailureTracker.failedAmidAnswers] counted.
func (t *FailureTracker) failed(id Node) (inRow int, othersAnswered bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.of(id)
	f.inRow++
	t.nodes[id] = f
	return f.inRow, t.answers > f.answers
}

// failedAmidAnswers counts a failure if another request was answered since the
// last one that was counted, as so many. It returns the count.
func (t *FailureTracker) failedAmidAnswers(id Node, weight int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.of(id)
	switch {
	case t.answers > f.answers:
		f.amidAnswers += weight
	case f.amidAnswers == 0:
		f.amidAnswers++
	}
	f.answers = t.answers
	t.nodes[id] = f
	return f.amidAnswers
}

// inRow returns how often a node failed since it was last answered.
func (t *FailureTracker) inRow(id Node) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nodes[id].inRow
}

// settled forgets the failures of a node that has a result.
func (t *FailureTracker) settled(id Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.nodes, id)
}

// divided counts the failures of a node against each of its halves, one of
// which at least has the trouble in it.
func (t *FailureTracker) divided(id Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.of(id)
	delete(t.nodes, id)
	first, second := id.halves()
	t.nodes[first], t.nodes[second] = f, f
}

// of returns the failures of a node, and makes room to store them.
func (t *FailureTracker) of(id Node) failures {
	if t.nodes == nil || len(t.nodes) > maxTracked {
		t.nodes = map[Node]failures{}
	}
	return t.nodes[id]
}
