package sessionindex

import "strings"

// Writer writes into an index, for one goroutine.
type Writer struct {
	x       *Index
	numbers map[Key]uint32 // of the index, those met
	entered []entry        // not yet in the index
}

type entry struct {
	mark  uint64
	group uint32
}

// atATime is how many sessions are entered under one lock.
const atATime = 1024

// Writer returns a writer. Several may write at the same time.
func (x *Index) Writer() *Writer { return &Writer{x: x, numbers: map[Key]uint32{}} }

// Group returns the number of a group: 0, 1 and so on, in the order in which they
// come. The texts of the key may lie in memory that is written anew after that.
func (w *Writer) Group(k Key) uint32 {
	n, ok := w.numbers[k]
	if !ok {
		k = Key{strings.Clone(k.Channel), strings.Clone(k.Date)}
		n = w.x.enterKey(k)
		w.numbers[k] = n
	}
	return n
}

// Enter enters a session with its group, in the end by [Writer.Flush]:
// [ErrCollision] and [ErrCrowded] as of [Table.Enter].
func (w *Writer) Enter(mark uint64, group uint32) error {
	if w.entered = append(w.entered, entry{mark, group}); len(w.entered) < atATime {
		return nil
	}
	return w.Flush()
}

// Flush puts what was entered into the index.
func (w *Writer) Flush() error {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	for _, e := range w.entered {
		if err := w.x.table.Enter(e.mark, e.group); err != nil {
			return err
		}
	}
	w.entered = w.entered[:0]
	return nil
}

// Fill gives a session that was noted its group; see [Index.Note]. One that was not
// it leaves out.
func (w *Writer) Fill(mark uint64, k Key) {
	if s := w.x.table.slot(mark); s.mark() == mark {
		s.number = w.Group(k)
	}
}
