package selection

// trains knows which releases a list of tags has, to tell floating tags from releases
// with short numbers. No rule about the number of parts can: PostgreSQL's 16.4 is a
// release, and nginx's 1.27 moves with every 1.27.z. But where 1.27 floats, a longer
// version says so: a short version is floating where the same list has a longer one of
// its train, in any variant. A pre-release is floating by the same rule unless it is
// numbered: 3.13-rc is, 3.1-dev6 is not.
type trains map[train]*tag

// A train is the leading numbers that releases have in common.
type train struct {
	numbers [3]uint64
	parts   int
}

func trainOf(v *Version, parts int) train {
	t := train{parts: parts}
	copy(t.numbers[:parts], v.numbers[:parts])
	return t
}

// add records the trains that t is a release of.
func (ts trains) add(t *tag) {
	if !t.isVersion {
		return
	}
	for parts := 1; parts < t.version.parts; parts++ {
		key := trainOf(&t.version, parts)
		if known, ok := ts[key]; !ok || betterExample(t, known) {
			ts[key] = t
		}
	}
}

// betterExample prefers releases to pre-releases, which a train may have only later.
func betterExample(t, known *tag) bool {
	if t.version.pre == "" != (known.version.pre == "") {
		return t.version.pre == ""
	}
	return higher(t, known)
}

// release returns the highest release that makes t a floating tag, if there is one.
func (ts trains) release(t *tag) (*tag, bool) {
	if !t.isVersion || t.version.parts > 3 || t.version.isNumberedPrerelease() {
		return nil, false
	}
	release, ok := ts[trainOf(&t.version, t.version.parts)]
	return release, ok
}

// higher orders the tags of a train so that a reason names the one which a reader
// knows: by version, then the simplest.
func higher(a, b *tag) bool {
	if c := a.version.Compare(b.version); c != 0 {
		return c > 0
	}
	if len(a.name) != len(b.name) {
		return len(a.name) < len(b.name)
	}
	return a.name < b.name
}

func (v *Version) isNumberedPrerelease() bool {
	for i := range len(v.pre) {
		if isDigit(v.pre[i]) {
			return true
		}
	}
	return false
}
