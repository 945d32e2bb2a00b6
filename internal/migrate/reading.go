package migrate

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

// open reads the files.
func (d *draft) open(files []Input) []*value {
	if len(files) == 0 {
		d.problems = append(d.problems, &config.Problem{Problem: "no file was named"})
	}
	roots := make([]*value, 0, len(files))
	for _, file := range files {
		node, err := config.ReadYAML(file.Name, file.Data)
		if problems, ok := errors.AsType[config.Problems](err); ok {
			d.problems = append(d.problems, problems...)
			continue
		}
		root := &value{draft: d, node: node, at: node.At}
		if !root.has() {
			root.fail("the file is empty", "a configuration of "+string(d.format))
		} else if d.how.rootLists && root.isList() || root.opens(config.Mapping, "a configuration of "+string(d.format)) {
			roots = append(roots, root)
		}
	}
	if d.how.merges && len(roots) > 1 {
		return []*value{d.merge(roots)}
	}
	return roots
}

// merge makes one file of several: maps key by key, lists and single values as a whole,
// later over earlier.
func (d *draft) merge(roots []*value) *value {
	merged := *roots[0]
	for _, root := range roots[1:] {
		merged.node = d.mergeNodes(merged.node, root.node)
	}
	return &merged
}

func (d *draft) mergeNodes(under, over *config.Node) *config.Node {
	if under.Kind != config.Mapping || over.Kind != config.Mapping {
		return over
	}
	merged := *under
	merged.Entries = slices.Clone(under.Entries)
	places := make(map[string]int, len(merged.Entries))
	for i, e := range merged.Entries {
		places[d.folded(e.Key)] = i
	}
	for _, e := range over.Entries {
		at, known := places[d.folded(e.Key)]
		if !known {
			merged.Entries = append(merged.Entries, e)
			continue
		}
		merged.Entries[at].Value = d.mergeNodes(merged.Entries[at].Value, e.Value)
	}
	return &merged
}

// folded returns what the old tool takes a key for.
func (d *draft) folded(key string) string {
	if d.how.foldKeys {
		return strings.ToLower(key)
	}
	return key
}

// skip marks a node and all within as read.
func (d *draft) skip(n *config.Node) {
	d.read[n] = ""
	for _, item := range n.Items {
		d.skip(item)
	}
	for _, e := range n.Entries {
		d.skip(e.Value)
	}
}

// leftovers notes what no importer asked for.
func (d *draft) leftovers(roots []*value) {
	for _, root := range roots {
		d.leftover(root)
	}
}

func (d *draft) leftover(v *value) {
	if v.node == nil {
		return
	}
	key, known := d.read[v.node]
	if !known {
		v.note(Ignored, "nothing that "+string(d.format)+" knows", "")
		return
	}
	for _, e := range v.node.Entries {
		d.leftover(&value{draft: d, node: e.Value, at: e.At, key: joinKey(key, e.Key)})
	}
	for i, item := range v.node.Items {
		d.leftover(&value{draft: d, node: item, at: item.At, key: key + "[" + strconv.Itoa(i) + "]"})
	}
}
