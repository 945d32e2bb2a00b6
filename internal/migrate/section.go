package migrate

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A section is a map of the output. Its keys stand in the order in which they are set.
type section struct {
	draft *draft
	node  *yaml.Node
	path  string // as problems of package config name it
	above *yaml.Node
}

// A line is one key of a section, with its value. What is said of it stands above.
type line struct {
	draft *draft
	key   *yaml.Node
}

// set adds a key. From is the value of the old file that it comes from: problems with it
// are reported there.
func (s *section) set(key string, value *yaml.Node, from *value) *line {
	k := textNode(key)
	s.node.Content = append(s.node.Content, k, value)
	s.draft.places[joinKey(s.path, key)] = from
	return &line{draft: s.draft, key: k}
}

// text sets a text.
func (s *section) text(key, text string, from *value) *line {
	return s.set(key, textNode(text), from)
}

// texts sets a list of texts. One alone needs no list. Where each of them comes from a
// value of its own, each says which.
func (s *section) texts(key string, texts []string, from *value, each ...*value) *line {
	for i, v := range each {
		s.draft.places[joinKey(s.path, key)+"["+strconv.Itoa(i)+"]"] = v
	}
	if len(texts) == 1 {
		return s.text(key, texts[0], from)
	}
	l := newList()
	if len(strings.Join(texts, ", ")) <= 80 {
		l.Style = yaml.FlowStyle
	}
	for _, text := range texts {
		l.Content = append(l.Content, textNode(text))
	}
	return s.set(key, l, from)
}

// flag sets a switch.
func (s *section) flag(key string, on bool, from *value) *line {
	return s.set(key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(on)}, from)
}

// number sets a whole number.
func (s *section) number(key string, n int, from *value) *line {
	return s.set(key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(n)}, from)
}

// section sets a map that is filled afterwards.
func (s *section) section(key string, from *value) *section {
	to := newMap()
	set := s.set(key, to, from)
	return &section{draft: s.draft, node: to, path: joinKey(s.path, key), above: set.key}
}

// has reports whether a key was set.
func (s *section) has(key string) bool {
	for i := 0; i < len(s.node.Content); i += 2 {
		if s.node.Content[i].Value == key {
			return true
		}
	}
	return false
}

// empty reports whether nothing was set.
func (s *section) empty() bool { return len(s.node.Content) == 0 }

// comment says something above the section, in addition to what is said there already.
func (s *section) comment(text string) { s.draft.above(s.above, text) }

// note notes what is different about from and says it in a comment above the section.
func (s *section) note(from *value, severity Severity, what, why string) {
	s.comment(from.note(severity, what, why).remark())
}

// comment says something above the line.
func (l *line) comment(text string) { l.draft.above(l.key, text) }

// note notes what is different about from and says it in a comment above the line.
func (l *line) note(from *value, severity Severity, what, why string) {
	l.comment(from.note(severity, what, why).remark())
}

func newMap() *yaml.Node  { return &yaml.Node{Kind: yaml.MappingNode} }
func newList() *yaml.Node { return &yaml.Node{Kind: yaml.SequenceNode} }

// textNode writes a text so that it is read as one: 1.10 in quotes.
func textNode(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}
