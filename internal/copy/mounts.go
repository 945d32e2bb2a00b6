package copy

import (
	"sync"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// mounts is what a run knows of taking blobs over from one repository to another of the
// same registry: where each blob is, and what the registry makes of being asked. No
// registry is known by its name here, ECR included: what it allows is in its answers.
type mounts struct {
	// uploads are those of the run, one for a blob and registry host at a time. Their
	// outcome is the repository that has the blob since. Which upload fails at a
	// destination says nothing about the others; an upstream that lacks the blob does.
	uploads flights[spot, ref.Repository]

	mu     sync.Mutex
	habits map[string]*habits
	inUse  map[spot]ref.Repository // a repository with a manifest that names the blob
	taken  map[content]bool        // what was mounted
}

// spot is a blob at a registry host, in whichever repository.
type spot struct {
	host   string
	digest ref.Digest
	size   int64
}

func (c content) spot() spot { return spot{c.repo.Host, c.digest, c.size} }

// habits are what a registry host answers to mounts. ECR grants only those of blobs that
// a manifest in the source repository names, and only where an account has switched them
// on; most registries grant those of any blob, and some grant none.
type habits struct{ named, bare habit }

// habit is what a registry host has answered to mounts of one kind.
type habit struct {
	granted bool
	refused int
}

// mostRefusals is how many mounts of a kind a host may refuse, having granted none,
// until it is not asked again. One refusal may be about one blob or one repository.
const mostRefusals = 3

func (h habit) worthAsking() bool { return h.granted || h.refused < mostRefusals }

// mountSource is a repository that a blob may be mounted from.
type mountSource struct {
	repo  ref.Repository
	named bool // a manifest there names the blob
}

func newMounts() *mounts {
	m := &mounts{habits: map[string]*habits{}, inUse: map[spot]ref.Repository{}, taken: map[content]bool{}}
	m.uploads.final = ofSource
	return m
}

// of returns the habits of a host. The caller holds the lock.
func (m *mounts) of(host string) *habits {
	h, ok := m.habits[host]
	if !ok {
		h = &habits{}
		m.habits[host] = h
	}
	return h
}

// source returns where a blob that at lacks can be mounted from now, as far as its
// registry is worth asking.
func (m *mounts) source(at content) (mountSource, bool) {
	holder, held := m.uploads.outcome(at.spot())
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(at.repo.Host)
	if user, used := m.inUse[at.spot()]; used && user != at.repo && h.named.worthAsking() {
		return mountSource{user, true}, true
	}
	return mountSource{holder, false}, held && holder != at.repo && h.bare.worthAsking()
}

// sure returns where a blob will be mounted from for all that is known, so that looking
// for it first is a request too many.
func (m *mounts) sure(at content) (mountSource, bool) {
	from, ok := m.source(at)
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(at.repo.Host)
	return from, ok && !m.taken[at] && (h.bare.granted || from.named && h.named.granted)
}

// worthWaiting reports whether a blob that is on its way to another repository of host
// can be mounted as soon as it is there.
func (m *mounts) worthWaiting(host string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(host).bare.worthAsking()
}

// grants reports whether host grants mounts of whatever blob it has.
func (m *mounts) grants(host string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(host).bare.granted
}

// decided reports whether host has shown what it makes of mounts of whatever blob it has.
func (m *mounts) decided(host string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	bare := m.of(host).bare
	return bare.granted || !bare.worthAsking()
}

// answered notes what came of a mount.
func (m *mounts) answered(at content, from mountSource, granted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(at.repo.Host)
	kind := &h.bare
	if from.named {
		kind = &h.named
	}
	if granted {
		kind.granted = true
		m.taken[at] = true
		return
	}
	kind.refused++
}

// found notes that a repository has a blob that the run did not bring.
func (m *mounts) found(at content) { m.uploads.settle(at.spot(), at.repo) }

// named notes that the manifest of n is in repo now, which names its blobs.
func (m *mounts) named(repo ref.Repository, n *Node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range n.Blobs {
		at := spot{repo.Host, b.Digest, b.Size}
		if _, known := m.inUse[at]; !known {
			m.inUse[at] = repo
		}
	}
}

// tookOver reports whether a mount of a blob has been granted.
func (m *mounts) tookOver(at content) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.taken[at]
}

// missing notes that a repository has not got a blob, whatever was known. A registry that
// had granted its mount before the blob was looked for is not asked for another. What
// tookOver says after the look is no evidence: the blob of a vacant repository's sample is
// looked for by one errand and may be mounted by another meanwhile, and once a registry
// that did as it was told was held for a liar, and got what it had a second time.
func (m *mounts) missing(at content, tookOver bool) {
	if holder, ok := m.uploads.outcome(at.spot()); ok && holder == at.repo {
		m.uploads.forgetLanded(at.spot())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inUse[at.spot()] == at.repo {
		delete(m.inUse, at.spot())
	}
	if tookOver {
		never := habit{refused: mostRefusals}
		m.habits[at.repo.Host] = &habits{named: never, bare: never}
	}
}
