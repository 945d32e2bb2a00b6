package progress

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// board is what is known about a run. It draws nothing and does not lock.
type board struct {
	phase  string
	images int   // planned
	bytes  int64 // planned, 0 where not known
	active []*image
	byID   map[string]*image

	done     int            // images finished
	statuses map[string]int // what came of them
	unsized  bool           // some image's size was not known, so bytes is not all there is
	settled  int64          // planned bytes of the images finished, moved or found there already
	moved    int64          // bytes that arrived

	began time.Time // when the first image was started
	pace  pace
}

// image is one that is being copied.
type image struct {
	id, label string
	size      int64 // 0 where not known
	moved     int64
}

func newBoard() board {
	return board{byID: map[string]*image{}, statuses: map[string]int{}}
}

func (b *board) start(id, label string, size int64, now time.Time) {
	if b.began.IsZero() {
		b.began = now
		b.pace = pace{at: now}
	}
	b.drop(id)
	started := &image{id: id, label: human.Text(label), size: max(size, 0)}
	b.active = append(b.active, started)
	b.byID[id] = started
	b.unsized = b.unsized || started.size == 0
}

func (b *board) move(id string, n int) {
	b.moved += int64(n)
	if i, ok := b.byID[id]; ok {
		i.moved += int64(n)
	}
}

func (b *board) finish(id, status string) {
	b.done++
	b.statuses[human.Text(status)]++
	if i, ok := b.byID[id]; ok {
		b.settled += i.size
		b.drop(id)
	}
}

func (b *board) drop(id string) {
	delete(b.byID, id)
	b.active = slices.DeleteFunc(b.active, func(i *image) bool { return i.id == id })
}

// fraction is how much of the run is done, from 0 to 1: by bytes where all of them are
// known, else by images.
func (b *board) fraction() float64 {
	if b.bytes <= 0 || b.unsized {
		done := float64(b.done)
		for _, i := range b.active {
			done += i.fraction()
		}
		return ratio(done, float64(b.images))
	}
	settled := b.settled
	for _, i := range b.active {
		settled += min(i.moved, i.size)
	}
	return ratio(float64(settled), float64(b.bytes))
}

func (i *image) fraction() float64 { return ratio(float64(i.moved), float64(i.size)) }

func ratio(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return min(part/whole, 1)
}

// left estimates how long the rest takes, if it goes on as it went so far.
func (b *board) left(now time.Time) (time.Duration, bool) {
	done := b.fraction()
	elapsed := now.Sub(b.began)
	if done <= 0 || done >= 1 || elapsed < time.Second {
		return 0, false
	}
	left := elapsed.Seconds() * (1 - done) / done
	const longest = 30 * 24 * time.Hour // beyond that an estimate says nothing
	if left > longest.Seconds() {
		return 0, false
	}
	return time.Duration(left * float64(time.Second)), true
}

// facts are the parts of a line about the whole run, the most important first.
func (b *board) facts(now time.Time) []string {
	facts := []string{
		fmt.Sprintf("%d of %s", b.done, human.Count(b.images, "image")),
		human.Bytes(b.moved) + " moved",
	}
	if b.pace.rate >= 1 {
		facts = append(facts, human.Bytes(int64(b.pace.rate))+"/s")
	}
	if left, ok := b.left(now); ok {
		facts = append(facts, human.Duration(left.Round(time.Second))+" left")
	}
	return append(facts, b.tally()...)
}

// tally says what came of the images so far: "3 copied", "1 failed".
func (b *board) tally() []string {
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(b.statuses)) {
		parts = append(parts, fmt.Sprintf("%d %s", b.statuses[status], status))
	}
	return parts
}

// pace is the speed of the last few seconds, in bytes per second: a mean in which each
// moment counts less the longer ago it is.
type pace struct {
	rate   float64
	weight float64 // of all that rate is the mean of, below 1 only at first
	at     time.Time
	moved  int64
}

// memory is how long a change of speed takes to show.
const memory = 5 * time.Second

// measure takes in how many bytes have moved by now.
func (p *pace) measure(moved int64, now time.Time) {
	elapsed := now.Sub(p.at)
	if p.at.IsZero() || elapsed <= 0 {
		return
	}
	current := float64(moved-p.moved) / elapsed.Seconds()
	fade := math.Exp(-elapsed.Seconds() / memory.Seconds())
	p.weight = p.weight*fade + 1 - fade
	p.rate += (current - p.rate) * (1 - fade) / p.weight
	p.at, p.moved = now, moved
}
