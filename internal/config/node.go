package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits of a file. A file of that size with its every byte used holds some ten
// thousand mirrors; aliases count as often as they are used.
const (
	// MaxFile is the most bytes a configuration file may have. A function that reads
	// files for Load need not return more than one byte above it.
	MaxFile = 1 << 20

	maxNodes = 150_000
	maxDepth = 32
)

// A node is a value of a YAML file with its place. Anchors and merge keys are resolved,
// and no key stands twice.
type node struct {
	at      Place
	kind    nodeKind
	value   string // of a scalar
	tag     string // of a scalar: !!str, !!int, !!bool, !!float, !!null …
	items   []*node
	entries []entry
}

// An entry is a key of a mapping.
type entry struct {
	key   string
	at    Place
	value *node
}

type nodeKind string

const (
	scalar  nodeKind = "a single value"
	list    nodeKind = "a list"
	mapping nodeKind = "a map"
	unread  nodeKind = "a value with a problem" // which is noted already
)

// absent reports whether the node is nothing at all, as below a key whose lines are all
// commented out.
func (n *node) absent() bool { return n.kind == scalar && n.tag == "!!null" && n.value == "" }

// get returns the value of a key, nil where it is not there.
func (n *node) get(key string) *node {
	for _, e := range n.entries {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// readNode reads one file; expected says what an empty one should hold. Where it returns
// nil, a problem says why; what it returns despite a problem is the part that could be
// read.
func readNode(file string, data []byte, expected string, book *notebook) *node {
	start := Place{File: file}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	switch {
	case len(data) > MaxFile:
		book.add(start, "", "the file is too large", fmt.Sprintf("at most %d bytes", MaxFile))
		return nil
	case !utf8.Valid(data):
		book.add(start, "", "the file is not text", "YAML in UTF-8")
		return nil
	case separators(data) > maxNodes:
		book.add(start, "", "the file has too many values", fmt.Sprintf("at most %d", maxNodes))
		return nil
	}
	var document, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		book.add(start, "", "the file is empty", expected)
		return nil
	}
	if err != nil {
		syntaxProblem(file, data, err, book)
		return nil
	}
	if err := decoder.Decode(&second); err == nil {
		book.add(Place{file, second.Line, second.Column}, "", "a second document begins here", "one document in a file; several files can be given instead")
	} else if !errors.Is(err, io.EOF) {
		syntaxProblem(file, data, err, book)
	}
	n := convert(file, &document, book)
	if n.absent() {
		book.add(start, "", "the file is empty", expected)
		return nil
	}
	return n
}

// separators counts what stands between values, and so bounds how many there can be,
// before anything is allocated for them.
func separators(data []byte) int {
	count := 0
	for _, b := range data {
		switch b {
		case ',', '\n', '[', '{', '?':
			count++
		}
	}
	return count + bytes.Count(data, []byte(": ")) + bytes.Count(data, []byte("- "))
}

var (
	syntaxLine  = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?(.*)$`)
	anchorFault = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	braces      = regexp.MustCompile(`\$\{|\{\{`)
	parserFault = regexp.MustCompile(`^did not find expected (',' or|'-' indicator|key|node content|<)`)
)

// syntaxProblem says in plainer words what the YAML library found. The library counts
// the lines of some of its errors from 0, and names none for the first.
func syntaxProblem(file string, data []byte, err error, book *notebook) {
	at, problem := Place{File: file, Line: 1}, err.Error()
	if m := syntaxLine.FindStringSubmatch(oneLine(problem)); m != nil {
		problem = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			at.Line = n
		}
		if parserFault.MatchString(problem) && m[1] != "" {
			at.Line++
		}
	}
	expected := ""
	switch {
	case anchorFault.MatchString(problem): // which may be a password that begins with "*"
		at = placeOf(file, data, "*"+anchorFault.FindStringSubmatch(problem)[1])
		problem, expected = "an alias (*NAME) to an anchor that is not in the file", `quotes round a value that begins with "*"`
	case strings.HasPrefix(problem, "did not find expected alphabetic or numeric character"):
		problem, expected = `"*" and "&" begin aliases and anchors in YAML`, `quotes round a value that begins with one, as in "*-alpine"`
	case strings.HasPrefix(problem, "exceeded max depth"):
		problem, expected = "the file is nested too deeply", ""
	case parserFault.MatchString(problem) && braces.Match(lineOf(data, at.Line)):
		expected = `quotes round a value with braces inside of { }, as in "${NAME}"`
	default:
		if tab, ok := tabIn(data, at.Line); ok {
			at, problem, expected = Place{file, at.Line, tab}, "a tab in the indentation", "spaces"
		}
	}
	book.add(at, "", oneLine(problem), expected)
}

// placeOf returns where a text stands first.
func placeOf(file string, data []byte, text string) Place {
	before, _, found := bytes.Cut(data, []byte(text))
	if !found {
		return Place{File: file}
	}
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	return Place{file, bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(line) + 1}
}

// lineOf returns a line's text, nothing where there is no such line.
func lineOf(data []byte, line int) []byte {
	lines := bytes.Split(data, []byte("\n"))
	if line < 1 || line > len(lines) {
		return nil
	}
	return lines[line-1]
}

// tabIn returns the column of a tab that indents a line.
func tabIn(data []byte, line int) (column int, ok bool) {
	text := lineOf(data, line)
	indentation := text[:len(text)-len(bytes.TrimLeft(text, " \t-"))]
	at := bytes.IndexByte(indentation, '\t')
	return at + 1, at >= 0
}

// convert turns the library's tree into ours.
func convert(file string, document *yaml.Node, book *notebook) *node {
	c := converter{file: file, book: book, open: map[*yaml.Node]bool{}}
	root := document
	if root.Kind == yaml.DocumentNode {
		root = root.Content[0]
	}
	return c.node(root, 0)
}

// A converter counts what it makes, so that aliases of aliases do not fill the memory.
type converter struct {
	file  string
	book  *notebook
	nodes int
	full  bool
	open  map[*yaml.Node]bool // the anchors that are being followed
}

// node returns an unread node where a problem leaves nothing to look at.
func (c *converter) node(n *yaml.Node, depth int) *node {
	if n.Kind == yaml.AliasNode {
		return c.alias(n, depth)
	}
	at := c.place(n)
	c.nodes++
	switch {
	case c.full:
		return &node{at: at, kind: unread}
	case c.nodes > maxNodes:
		c.full = true
		return c.fail(at, "aliases make the file too large", fmt.Sprintf("at most %d values", maxNodes))
	case depth > maxDepth:
		c.full = true
		return c.fail(at, "the file is nested too deeply", "")
	}
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str" && n.Tag != "!!map" && n.Tag != "!!seq" {
		// The tag is not quoted: it may be a password that begins with "!".
		return c.fail(at, "a YAML tag (!NAME)", `quotes round a value that begins with "!"`)
	}
	switch n.Kind {
	case yaml.MappingNode:
		return c.mapping(n, depth)
	case yaml.SequenceNode:
		return c.list(n, depth)
	default:
		return &node{at: at, kind: scalar, value: n.Value, tag: n.ShortTag()}
	}
}

func (c *converter) fail(at Place, problem, expected string) *node {
	c.book.add(at, "", problem, expected)
	return &node{at: at, kind: unread}
}

func (c *converter) place(n *yaml.Node) Place { return Place{c.file, n.Line, n.Column} }

func (c *converter) alias(n *yaml.Node, depth int) *node {
	if c.open[n.Alias] {
		return c.fail(c.place(n), "an alias inside of its own anchor", "")
	}
	c.open[n.Alias] = true
	defer delete(c.open, n.Alias)
	return c.node(n.Alias, depth)
}

func (c *converter) list(n *yaml.Node, depth int) *node {
	l := &node{at: c.place(n), kind: list}
	for _, item := range n.Content {
		l.items = append(l.items, c.node(item, depth+1))
	}
	return l
}

func (c *converter) mapping(n *yaml.Node, depth int) *node {
	m := &node{at: c.place(n), kind: mapping}
	places := make(map[string]Place, len(n.Content)/2)
	var merged []*node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		at := c.place(key)
		switch first, again := places[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			c.book.add(at, "", "a key that is no single word", "KEY: VALUE")
		case key.ShortTag() == "!!merge":
			merged = append(merged, c.merged(value, depth)...)
		case again:
			c.book.add(at, "", fmt.Sprintf("a second %s; the first is in line %d", quoted(key.Value), first.Line), "each key once")
		default:
			places[key.Value] = at
			m.entries = append(m.entries, entry{key: key.Value, at: at, value: c.node(value, depth+1)})
		}
	}
	for _, e := range merged {
		m.adopt(e, places)
	}
	return m
}

// merged returns the maps that a merge key names: <<: *common, or <<: [*one, *other].
func (c *converter) merged(value *yaml.Node, depth int) []*node {
	n := c.node(value, depth+1)
	maps := []*node{n}
	if n.kind == list {
		maps = n.items
	}
	for _, m := range maps {
		if m.kind != mapping {
			c.book.add(m.at, "<<", "merges "+string(m.kind), "a map")
			return nil
		}
	}
	return maps
}

// adopt adds what a merged map has and n has not.
func (n *node) adopt(from *node, places map[string]Place) {
	for _, e := range from.entries {
		if _, has := places[e.key]; !has {
			places[e.key] = e.at
			n.entries = append(n.entries, e)
		}
	}
}
