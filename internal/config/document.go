package config

// A Node is a value of a YAML file in another program's format, with its place. Anchors
// and merge keys are resolved, and no key stands twice.
type Node struct {
	At      Place
	Kind    NodeKind
	Value   string  // of a Scalar, as it is written
	Tag     string  // of a Scalar: !!str, !!int, !!bool, !!float, !!null …
	Items   []*Node // of a List
	Entries []Entry // of a Mapping, in their order
}

// An Entry is a key of a Mapping and what it holds.
type Entry struct {
	Key   string
	At    Place
	Value *Node
}

// A NodeKind is what a Node is; its text names it in problems.
type NodeKind string

// The kinds of nodes.
const (
	Scalar  NodeKind = "a single value"
	List    NodeKind = "a list"
	Mapping NodeKind = "a map"
)

// ReadYAML reads a file of another program with the limits and the care that the
// program's own have: its size, its depth and what aliases make of it are bounded, and a
// key that stands twice is a problem. The name is that of the file in every Place.
//
// The error is Problems, and then the Node is nil.
func ReadYAML(name string, data []byte) (*Node, error) {
	book := &notebook{files: []string{name}}
	root := readNode(name, data, "", book)
	if err := book.err(); err != nil {
		return nil, err
	}
	return exported(root), nil
}

func exported(n *node) *Node {
	to := &Node{At: n.at, Value: n.value, Tag: n.tag}
	switch n.kind {
	case list:
		to.Kind = List
	case mapping:
		to.Kind = Mapping
	default:
		to.Kind = Scalar
	}
	for _, item := range n.items {
		to.Items = append(to.Items, exported(item))
	}
	for _, e := range n.entries {
		to.Entries = append(to.Entries, Entry{Key: e.key, At: e.at, Value: exported(e.value)})
	}
	return to
}
