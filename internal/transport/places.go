package transport

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// places bounds how many requests of one kind a host has under way, and finds out how
// many are good: it rises while more of them get more done, and halves when the host
// says that it is too much. What suits a registry beside us in the same Region is
// neither what suits one behind a slow link nor what a rate limit allows.
//
// The number rises by trials. A round is as many answers as there are places, all of
// them taken; two rounds after a rise, when those of before have left, the pace of the
// second one says whether it helped. The first trials double the number, until one does
// not help or the host refuses: if the first round shows already that it did, as at a host
// that is far away, the second one is not waited for. Later ones add an eighth, and after a
// trial that did not help some rounds go by before the next.
type places struct {
	most int

	mu      sync.Mutex
	limit   int
	taken   int
	waiting list.List // of chan struct{}, each closed when its owner has a place

	cuts   int  // how often the number was halved
	gentle bool // whether doubling is over
	calm   int  // rounds before the next trial
	before int  // the limit before the trial under way, 0 while there is none
	pace   float64
	round  round
}

// round is a number of answers in a row, and what they got done.
type round struct {
	began  time.Time
	left   int // answers until it ends
	work   float64
	wanted bool // somebody waited: more places would have been used
	warmUp bool // it holds requests from before the limit changed: that a trial did not help it cannot show
}

// How places adapt.
const (
	enoughGain  = 0.1 // of what a trial would bring if the pace grew like the number
	roundsCalm  = 4   // between a trial that did not help and the next
	bytesAnswer = 256 << 10
)

func newPlaces(first, most int) *places {
	p := &places{most: most, limit: min(first, most)}
	p.begin(false)
	return p
}

// A place is one request's leave to be under way. It is given back once.
type place struct {
	of   *places
	cuts int // of the places when this one was taken
	left bool
}

// outcome is what became of a request.
type outcome struct {
	overloaded bool // the host said that it is too much
	failed     bool // anything else but success: it says nothing about the number
	bytes      int64
}

// take waits for a place, first come first served. Its error is ctx's cause.
func (p *places) take(ctx context.Context) (*place, error) {
	p.mu.Lock()
	if p.taken < p.limit && p.waiting.Len() == 0 {
		defer p.mu.Unlock()
		p.taken++
		return p.given(), nil
	}
	p.round.wanted = true
	turn := make(chan struct{})
	at := p.waiting.PushBack(turn)
	p.mu.Unlock()

	select {
	case <-turn:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.given(), nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		select {
		case <-turn: // it came just then
			p.taken--
			p.admit()
		default:
			p.waiting.Remove(at)
		}
		return nil, context.Cause(ctx)
	}
}

func (p *places) given() *place { return &place{of: p, cuts: p.cuts} }

// leave gives the place back and says what became of the request. Only the first call
// counts.
func (pl *place) leave(o outcome) {
	p := pl.of
	p.mu.Lock()
	defer p.mu.Unlock()
	if pl.left {
		return
	}
	pl.left = true
	p.taken--
	switch {
	case o.overloaded:
		// Requests that were under way together are refused together: that is one
		// refusal of that many, and not a reason to halve for each.
		if pl.cuts == p.cuts {
			p.cut()
		}
	case !o.failed:
		p.count(float64(o.bytes + bytesAnswer))
	}
	p.admit()
}

// admit lets those in who wait, as far as there is room.
func (p *places) admit() {
	for p.taken < p.limit && p.waiting.Len() > 0 {
		close(p.waiting.Remove(p.waiting.Front()).(chan struct{}))
		p.taken++
	}
	if p.waiting.Len() > 0 {
		p.round.wanted = true
	}
}

func (p *places) cut() {
	p.cuts++
	p.gentle = true
	p.before, p.calm = 0, roundsCalm
	p.limit = max(1, p.limit/2)
	p.begin(true)
}

// count adds an answer to the round, whose last one decides.
func (p *places) count(work float64) {
	p.round.work += work
	p.round.left--
	if p.round.left > 0 {
		return
	}
	pace := p.round.work / max(time.Since(p.round.began).Seconds(), 1e-6)
	switch {
	case !p.round.wanted: // fewer than there are places would do
		p.before = 0
		p.begin(false)
	case p.round.warmUp && (p.gentle || !p.helped(pace)):
		p.begin(false)
	default:
		p.judge(pace)
	}
}

// helped reports whether the trial under way has brought enough, where work is done at this
// pace.
func (p *places) helped(pace float64) bool {
	hoped := float64(p.limit)/float64(p.before) - 1
	return pace >= p.pace*(1+enoughGain*hoped)
}

// judge ends a round in which work was done at this pace, in units of its own for each second.
func (p *places) judge(pace float64) {
	if p.before > 0 && !p.helped(pace) {
		p.limit, p.before = p.before, 0
		p.gentle, p.calm = true, roundsCalm
		p.begin(true)
		return
	}
	p.pace, p.before = pace, 0
	if p.calm > 0 || p.limit == p.most {
		p.calm = max(0, p.calm-1)
		p.begin(false)
		return
	}
	p.before = p.limit
	rise := p.limit
	if p.gentle {
		rise = max(1, p.limit/8)
	}
	p.limit = min(p.most, p.limit+rise)
	p.begin(true)
}

func (p *places) begin(warmUp bool) {
	p.round = round{began: time.Now(), left: p.limit, warmUp: warmUp}
}
