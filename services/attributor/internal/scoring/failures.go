package scoring

import "sync"

// FailureTracker counts the failures of each node since it was last answered.
// It tells trouble that lies in the journeys from trouble of the API: a node
// that fails again and again, while the API answers others in between, is to
// blame itself. The zero value is ready to use.
type FailureTracker struct {
	mu      sync.Mutex
	answers uint64 // requests answered, of all nodes
	nodes   map[Node]failures
}

// failures are those of one node since it was last answered.
type failures struct {
	inRow       int    // of any kind
	amidAnswers int    // that a reply tells of, with an answer to another node between each two
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

// failed counts a failure of any kind. It returns how many there were in a row.
func (t *FailureTracker) failed(id Node) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.of(id)
	f.inRow++
	t.nodes[id] = f
	return uint64(f.inRow)
}

// failedAmidAnswers counts a failure if another request was answered since the
// last one that was counted. It returns the count.
func (t *FailureTracker) failedAmidAnswers(id Node) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.of(id)
	if f.amidAnswers == 0 || t.answers > f.answers {
		f.amidAnswers++
	}
	f.answers = t.answers
	t.nodes[id] = f
	return f.amidAnswers
}

// answered forgets the failures of a node.
func (t *FailureTracker) answered(id Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answers++
	delete(t.nodes, id)
}

// of returns the failures of a node, and makes room to store them.
func (t *FailureTracker) of(id Node) failures {
	if t.nodes == nil || len(t.nodes) > maxTracked {
		t.nodes = map[Node]failures{}
	}
	return t.nodes[id]
}
