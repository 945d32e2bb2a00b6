package config

// merge puts later over earlier: maps key by key, mirrors by their names, everything
// else as a whole. A schedule is one value, though it is written as a map: the cron
// expression of one file does not join the interval of another. Neither argument is
// changed.
func merge(earlier, later *node, path string) *node {
	switch {
	case later.absent():
		return earlier
	case earlier.absent():
		return later
	case path == "mirrors" && earlier.kind == list && later.kind == list:
		return mergeMirrors(earlier, later)
	case path == "defaults.schedule" || earlier.kind != mapping || later.kind != mapping:
		return later
	}
	merged := &node{at: later.at, kind: mapping}
	for _, e := range earlier.entries {
		if over := later.get(e.key); over != nil {
			e.value = merge(e.value, over, join(path, e.key))
		}
		merged.entries = append(merged.entries, e)
	}
	for _, e := range later.entries {
		if earlier.get(e.key) == nil {
			merged.entries = append(merged.entries, e)
		}
	}
	return merged
}

// mergeMirrors replaces each mirror that the later file names too, where it stands, and
// appends the others.
func mergeMirrors(earlier, later *node) *node {
	replacement := make(map[string]*node)
	for _, m := range later.items {
		if name := nameOf(m); name != "" {
			replacement[name] = m
		}
	}
	merged := &node{at: later.at, kind: list}
	taken := make(map[*node]bool)
	for _, m := range earlier.items {
		if over := replacement[nameOf(m)]; over != nil {
			m = over
			taken[over] = true
		}
		merged.items = append(merged.items, m)
	}
	for _, m := range later.items {
		if !taken[m] {
			merged.items = append(merged.items, m)
		}
	}
	return merged
}

// nameOf returns the name of a mirror, "" where it has none that is well formed.
func nameOf(mirror *node) string {
	name := mirror.get("name")
	if name == nil || name.kind != scalar || !mirrorName.MatchString(name.value) {
		return ""
	}
	return name.value
}
