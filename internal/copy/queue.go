package copy

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"sync"
)

// Bounds of what a run has under way, whatever it is to do.
const (
	// streamsAtOnce bounds the blobs that are moved. Each host finds out below it how many
	// are good; where answers take 80 ms, 2,000 tiny blobs came in two thirds of the time
	// that 64 took, and more than this brought nothing. It bounds memory, whatever the
	// images weigh.
	streamsAtOnce = 256

	// errandsAtOnce bounds the blobs that are seen to: besides those that are moved, those
	// that are asked for, mounted, or wait for what another brings.
	errandsAtOnce = streamsAtOnce + 128

	// imagesAtOnce bounds the images, where nobody gave a bound: those whose blobs are on
	// their way, and those that are waiting for answers about their manifests.
	imagesAtOnce = 128

	// imagesBeginning bounds those of them that have not said yet which blobs they want.
	imagesBeginning = 8
)

// queue is what all images of a run want of blobs. It sees to those first that several
// repositories want, and then to the largest, so that nobody waits for them at the end.
// Before all others go scouts.
// A blob that waits costs an errand and no goroutine.
//
// Of the errands for one blob, in whatever repositories, the first goes alone: the others
// would only wait for it to mount what it uploads, or to read what it downloads. It is
// flights that make sure of that, also of what the queue does not see.
type queue struct {
	shared func(blobID) sharing

	mu        sync.Mutex
	waiting   errandHeap
	parked    map[blobID][]*errand // behind an errand that goes alone
	brought   map[blobID]bool      // its errands no longer go alone
	seen      int                  // errands so far
	active    int                  // errands under way, but for those that rest
	moving    bool                 // an errand has ended
	beginning int                  // images that are about to say what they want
	scouts    scouts
	calm      chan struct{} // closed when few are waiting; nil where nobody waits for that
}

// sharing says of a blob who wants it.
type sharing struct {
	several bool   // repositories, or did when the run began
	host    string // of all that still do; "" for different ones, or where fewer than two do
}

// errand is one blob that an image wants in a repository.
type errand struct {
	blob blobID
	do   func(context.Context) error

	of     *batch
	shared bool
	number int
	alone  bool
	index  int // among those waiting, -1 where it is not

	// Of finding out whether a host grants mounts: its name where the errand is the scout
	// there, waits for the scout, or mounts what the scout brought.
	scoutOf, staysBack, follows string
}

// batch is what errands that are asked for together have in common.
type batch struct {
	ctx  context.Context //nolint:containedctx // an errand is a call that is made later
	done chan error      // has room for all of them
}

func newQueue(shared func(blobID) sharing) *queue {
	return &queue{shared: shared, parked: map[blobID][]*errand{}, brought: map[blobID]bool{}, scouts: scouts{}}
}

// run does errands and returns when all have ended.
func (q *queue) run(ctx context.Context, errands []*errand) error { return q.want(ctx, errands)() }

// want does errands, and has them in the queue when it returns. Wait returns when all have
// ended, and must be called. The first error cancels the others, and is returned; errands
// that have not begun by then never do.
func (q *queue) want(ctx context.Context, errands []*errand) (wait func() error) {
	ctx, cancel := context.WithCancelCause(ctx)
	b := &batch{ctx, make(chan error, len(errands))}
	q.add(b, errands)
	return func() error {
		defer cancel(nil)
		defer context.AfterFunc(ctx, func() { q.drop(errands, context.Cause(ctx)) })()
		var first error
		for range errands {
			if err := <-b.done; err != nil && first == nil {
				first = err
				cancel(err)
			}
		}
		return first
	}
}

func (q *queue) add(b *batch, errands []*errand) {
	q.mu.Lock()
	defer q.mu.Unlock()
	unled := false // whether there is a host whose errands wait for a scout to be sent
	for _, e := range errands {
		q.seen++
		e.of, e.number, e.index = b, q.seen, -1
		sharing := q.shared(e.blob)
		e.shared = sharing.several
		behind, taken := q.parked[e.blob]
		switch {
		case q.brought[e.blob]:
			heap.Push(&q.waiting, e)
		case taken:
			q.parked[e.blob] = append(behind, e)
		default:
			e.alone, q.parked[e.blob] = true, nil
			if sharing.host != "" && !q.scouts.of(sharing.host).over {
				e.staysBack = sharing.host
				unled = unled || !q.scouts.of(sharing.host).sent
			}
			heap.Push(&q.waiting, e)
		}
	}
	if unled {
		q.choose()
	}
	q.begin()
}

// begin sets out on as many errands as may be under way. The caller holds the lock.
func (q *queue) begin() {
	for q.ready() {
		q.active++
		go q.work(q.pop())
	}
}

// work does one errand after the other until none is waiting.
func (q *queue) work(e *errand) {
	for e != nil {
		err := context.Cause(e.of.ctx)
		if err == nil {
			_, err = contained(e.of.ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, e.do(ctx) })
		}
		e = q.next(e, err)
	}
}

// next ends an errand and returns another for the same goroutine, nil where there is none.
func (q *queue) next(e *errand, err error) *errand {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.moving = true
	q.end(e, err)
	q.active--
	if !q.ready() {
		return nil
	}
	q.active++
	return q.pop()
}

// end tells whoever wants to know, and lets those go on that an errand kept waiting: all
// of them where it brought the blob, and else one. The caller holds the lock.
func (q *queue) end(e *errand, err error) {
	e.of.done <- err
	if !e.alone {
		q.reported(e, nil)
		return
	}
	behind := q.parked[e.blob]
	delete(q.parked, e.blob)
	if err == nil {
		q.reported(e, behind)
		q.brought[e.blob] = true
		for _, other := range behind {
			heap.Push(&q.waiting, other)
		}
		q.begin()
		return
	}
	q.reported(e, nil)
	if len(behind) > 0 {
		behind[0].alone = true
		q.parked[e.blob] = behind[1:]
		heap.Push(&q.waiting, behind[0])
	}
}

// drop ends those errands that have not begun.
func (q *queue) drop(errands []*errand, cause error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range errands {
		behind := q.parked[e.blob]
		if i := slices.Index(behind, e); i >= 0 {
			q.parked[e.blob] = slices.Delete(behind, i, i+1)
			e.of.done <- cause
		} else if e.index >= 0 {
			heap.Remove(&q.waiting, e.index)
			q.end(e, cause)
		}
	}
	q.begin()
	q.calmed()
}

// pop takes the errand that is to be next. The caller holds the lock.
func (q *queue) pop() *errand {
	e := heap.Pop(&q.waiting).(*errand) //nolint:forcetypeassert // add puts in nothing else
	q.calmed()
	return e
}

// rest lets another errand go on while one waits to try again. Whoever rests wakes.
func (q *queue) rest() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.active--
	q.begin()
}

func (q *queue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.active++
}

// calmed tells who waits for it that few errands are waiting. The caller holds the lock.
func (q *queue) calmed() {
	if q.calm != nil && len(q.waiting) < errandsAtOnce {
		close(q.calm)
		q.calm = nil
	}
}

// room waits until few errands are waiting, or ctx ends: there is room for another image.
func (q *queue) room(ctx context.Context) {
	q.mu.Lock()
	if len(q.waiting) < errandsAtOnce {
		q.mu.Unlock()
		return
	}
	if q.calm == nil {
		q.calm = make(chan struct{})
	}
	calm := q.calm
	q.mu.Unlock()
	select {
	case <-calm:
	case <-ctx.Done():
	}
}

// errandHeap has the errand on top that is to be next.
type errandHeap []*errand

func (s errandHeap) Len() int { return len(s) }

func (s errandHeap) Less(i, j int) bool {
	a, b := s[i], s[j]
	if a.scoutOf != b.scoutOf {
		return a.scoutOf != "" && (b.scoutOf == "" || a.scoutOf < b.scoutOf)
	}
	if back := a.staysBack != ""; back != (b.staysBack != "") {
		return !back
	}
	if a.shared != b.shared {
		return a.shared
	}
	return cmp.Or(cmp.Compare(b.blob.size, a.blob.size), cmp.Compare(a.number, b.number)) < 0
}

func (s errandHeap) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

// Push is heap's to call.
func (s *errandHeap) Push(x any) {
	e := x.(*errand) //nolint:forcetypeassert // add puts in nothing else
	e.index = len(*s)
	*s = append(*s, e)
}

// Pop is heap's to call.
func (s *errandHeap) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	(*s)[last] = nil
	*s, e.index = (*s)[:last], -1
	return e
}
