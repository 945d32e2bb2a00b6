package copy

import "container/heap"

// enoughToDo is how many errands have to be under way for others to wait for a scout.
const enoughToDo = 16

// scouts find out whether registry hosts grant mounts, which is only seen at the first
// one. As long as it is not known, a blob that several repositories of a host want has to
// be spooled when it is read: 416 MB of 2 GB once were, for a registry that granted every
// mount. So the smallest such blob of a host goes ahead, and the others stay back until
// the mounts of it are answered, or nothing more is to be learnt from it.
//
// That costs no time: where there is not enough to do without them, they go as well. At
// first little is under way, and nobody waits for more to come once an errand has ended.
type scouts map[string]*scouting // by host

// scouting is what came of a host's scout.
type scouting struct {
	sent bool
	left int // errands that will mount the scout's blob, after it was brought
	over bool
}

func (s scouts) of(host string) *scouting {
	if s[host] == nil {
		s[host] = &scouting{}
	}
	return s[host]
}

// choose makes the smallest of the errands that stay back at each host its scout, where
// there is none yet. The caller of this and of what follows holds the lock.
func (q *queue) choose() {
	smallest := map[string]*errand{}
	for _, e := range q.waiting {
		if e.staysBack == "" || q.scouts.of(e.staysBack).sent {
			continue
		}
		if other := smallest[e.staysBack]; other == nil || e.blob.size < other.blob.size {
			smallest[e.staysBack] = e
		}
	}
	for host, e := range smallest {
		q.scouts.of(host).sent = true
		e.staysBack, e.scoutOf = "", host
		heap.Fix(&q.waiting, e.index)
	}
}

// reported ends a scout's errand, or one that has followed it. Behind are those that can
// mount what a scout brought; where it brought nothing, there are none.
func (q *queue) reported(e *errand, behind []*errand) {
	switch {
	case e.scoutOf != "":
		for _, other := range behind {
			other.follows = e.scoutOf
		}
		q.scouts.of(e.scoutOf).left = len(behind)
		if len(behind) == 0 {
			q.release(e.scoutOf)
		}
	case e.follows != "":
		host := q.scouts.of(e.follows)
		if host.left--; host.left == 0 {
			q.release(e.follows)
		}
	}
}

// release lets those go that stay back at a host, and those that would.
func (q *queue) release(host string) {
	if q.scouts.of(host).over {
		return
	}
	q.scouts.of(host).over = true
	for _, e := range q.waiting {
		if e.staysBack == host {
			e.staysBack = ""
		}
	}
	heap.Init(&q.waiting)
	q.begin()
}

// ready reports whether the errand that is to be next may go.
func (q *queue) ready() bool {
	if len(q.waiting) == 0 || q.active >= errandsAtOnce {
		return false
	}
	enough := q.active >= enoughToDo || q.active > 0 && q.beginning > 0 && !q.moving
	return q.waiting[0].staysBack == "" || !enough
}

// decided tells that a host has shown whether it grants mounts. It takes the lock.
func (q *queue) decided(host string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(host)
}

// expect tells that an image is about to say what it wants, and returns what is to be
// called when it has. Both take the lock.
func (q *queue) expect() (told func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.beginning++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.beginning--
		q.begin()
	}
}
