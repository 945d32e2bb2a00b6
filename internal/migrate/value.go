package migrate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

// A value is a value of an old file, or the place where there could be one. What an
// importer asks for counts as read; what nobody asks for is noted as ignored in the end.
type value struct {
	draft *draft
	node  *config.Node // nil where there is nothing
	at    config.Place // where there is nothing: the map that could have it
	name  string       // the key or, in a list, the index
	key   string       // with the keys above: "images[redis].mode"
}

// has reports whether there is anything. A key without a value is nothing.
func (v *value) has() bool {
	return v.node != nil && (v.node.Kind != config.Scalar || v.node.Tag != "!!null")
}

// isMap, isList and isText report what there is.
func (v *value) isMap() bool  { return v.has() && v.node.Kind == config.Mapping }
func (v *value) isList() bool { return v.has() && v.node.Kind == config.List }
func (v *value) isText() bool { return v.has() && v.node.Kind == config.Scalar }

// wasRead reports whether an importer looked at the value.
func (v *value) wasRead() bool {
	_, read := v.draft.read[v.node]
	return read
}

// get returns the value of a key. The map counts as read, the value does not yet.
func (v *value) get(key string) *value {
	found := &value{draft: v.draft, at: v.at, name: key, key: joinKey(v.key, key)}
	if !v.opens(config.Mapping, "a map") {
		return found
	}
	wanted := v.draft.folded(key)
	for _, e := range v.node.Entries {
		if v.draft.folded(e.Key) == wanted {
			found.node, found.at = e.Value, e.Value.At
			return found
		}
	}
	return found
}

// path returns the value below several keys.
func (v *value) path(keys ...string) *value {
	for _, key := range keys {
		v = v.get(key)
	}
	return v
}

// entries returns what a map with the user's own keys holds, in its order.
func (v *value) entries() []*value {
	if !v.opens(config.Mapping, "a map") {
		return nil
	}
	values := make([]*value, 0, len(v.node.Entries))
	for _, e := range v.node.Entries {
		values = append(values, &value{draft: v.draft, node: e.Value, at: e.At, name: e.Key, key: v.key + "[" + e.Key + "]"})
	}
	return values
}

// items returns what a list holds. A text alone is a list of one.
func (v *value) items() []*value {
	if v.isText() {
		return []*value{v}
	}
	if !v.opens(config.List, "a list") {
		return nil
	}
	values := make([]*value, 0, len(v.node.Items))
	for i, item := range v.node.Items {
		index := strconv.Itoa(i)
		values = append(values, &value{draft: v.draft, node: item, at: item.At, name: index, key: v.key + "[" + index + "]"})
	}
	return values
}

// text returns a single value as it is written, "" where there is none.
func (v *value) text() string {
	if !v.opens(config.Scalar, "a single value") {
		return ""
	}
	return v.node.Value
}

// given reports whether there is a text that is not empty. Nothing is a problem.
func (v *value) given(expected string) bool {
	if v.text() != "" {
		return true
	}
	if !v.isMap() && !v.isList() {
		v.fail("nothing is given", expected)
	}
	return false
}

// flag returns a switch, in any of the spellings that YAML has had, and the given value
// where there is none.
func (v *value) flag(absent bool) bool {
	text := v.text()
	if !v.isText() {
		return absent
	}
	switch strings.ToLower(text) {
	case "true", "yes", "on", "y", "t", "1":
		return true
	case "false", "no", "off", "n", "f", "0":
		return false
	}
	v.fail(fmt.Sprintf("%s is not a switch", quoted(text)), "true or false")
	return absent
}

// number returns a whole number, and the given one where there is none.
func (v *value) number(absent int) int {
	text := v.text()
	if !v.isText() {
		return absent
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil {
		v.fail(fmt.Sprintf("%s is not a whole number", quoted(text)), "a whole number")
		return absent
	}
	return int(n)
}

// skip marks everything in the value as read, for an importer that says itself what
// becomes of it.
func (v *value) skip() {
	if v.node != nil {
		v.draft.skip(v.node)
	}
}

// opens reports whether the value is of a kind, and marks it as read. One of another
// kind is a problem.
func (v *value) opens(kind config.NodeKind, expected string) bool {
	if v.node == nil {
		return false
	}
	v.draft.read[v.node] = v.key
	if !v.has() {
		return false
	}
	if v.node.Kind != kind {
		if !v.draft.odd[v.node] {
			v.draft.odd[v.node] = true
			v.fail("this is "+string(v.node.Kind), expected)
		}
		return false
	}
	return true
}

// fail notes a problem: what is there, and what should be. Neither may quote a secret.
func (v *value) fail(problem, expected string) {
	v.draft.fail(v, problem, expected)
}

// note notes what is different now. Where the output has a place for it, use the note of
// a section or a line instead, which writes a comment there too.
func (v *value) note(severity Severity, what, why string) Note {
	note := Note{Severity: severity, Place: v.at, Key: v.key, What: what, Why: why}
	v.draft.notes = append(v.draft.notes, note)
	return note
}

// joinKey appends a key to the keys above it.
func joinKey(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// maxQuoted is how many characters of a value are quoted.
const maxQuoted = 60

// quoted writes what stands in a file so that it fits on a line.
func quoted(s string) string {
	if runes := []rune(s); len(runes) > maxQuoted {
		s = string(runes[:maxQuoted]) + "…"
	}
	return strconv.Quote(s)
}

// oneLine keeps what would begin another line, or is no text, out of a text.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
