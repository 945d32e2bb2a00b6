package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/nearest"
)

// A reader fills the types of a File from nodes. It goes on after a problem, so that
// all of them are found, and leaves the value zero that has one.
type reader struct {
	book    *notebook
	secrets *secrets         // nil while a file is looked at alone, which need not be complete
	places  map[string]Place // where each key's value stands
	broken  map[string]bool  // the maps that have a problem somewhere
	fields  map[reflect.Type][]field
}

func newReader(book *notebook, secrets *secrets) *reader {
	return &reader{
		book: book, secrets: secrets,
		places: map[string]Place{}, broken: map[string]bool{}, fields: map[reflect.Type][]field{},
	}
}

// complete reports whether what is read is the merge of all files, so that what is
// missing is missed.
func (r *reader) complete() bool { return r.secrets != nil }

// A union is a type that may be written in several forms.
type union interface {
	read(r *reader, n *node, path string)
}

// A checked type has rules that involve several of its keys. It is only asked where
// each of them is well formed.
type checked interface {
	check(r *reader, path string)
}

// fail notes a problem with the value of a key.
func (r *reader) fail(path, problem, expected string) {
	r.book.add(r.place(path), path, problem, expected)
}

// place returns where a key's value stands: the map it belongs to, where the key is
// absent.
func (r *reader) place(path string) Place {
	for {
		if at, ok := r.places[path]; ok || path == "" {
			return at
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}

func (r *reader) value(v reflect.Value, n *node, f field, path string) {
	r.places[path] = n.at
	if n.kind == unread {
		r.book.count++
		return
	}
	if u, ok := reflect.TypeAssert[union](v.Addr()); ok {
		u.read(r, n, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		r.value(fresh.Elem(), n, f, path)
		v.Set(fresh)
	case reflect.Struct:
		r.structure(v, n, path)
	case reflect.Slice:
		r.list(v, n, f, path)
	case reflect.Map:
		r.byKey(v, n, f, path)
	default:
		r.scalar(v, n, f, path)
	}
}

// structure reads a map whose keys are known.
func (r *reader) structure(v reflect.Value, n *node, path string) {
	r.places[path] = n.at
	if n.kind != mapping {
		r.wrongKind(n, path, "a map")
		return
	}
	before := r.book.count
	fields := r.fieldsOf(v.Type())
	meant := make(map[string]bool)
	for _, e := range n.entries {
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == e.key })
		if at < 0 {
			meant[r.unknown(e, fields, path)] = true
			continue
		}
		r.entry(v.FieldByIndex(fields[at].index), e, fields[at], join(path, e.key))
	}
	if r.complete() {
		r.missing(n, fields, meant, path)
	}
	r.sound(v.Addr().Interface(), before, path)
}

// sound asks a type for the rules that involve several keys, where no problem was noted
// since there were as many as before.
func (r *reader) sound(v any, before int, path string) {
	if c, ok := v.(checked); ok && r.complete() && r.book.count == before {
		c.check(r, path)
	}
	r.broken[path] = r.book.count != before
}

func (r *reader) fieldsOf(t reflect.Type) []field {
	fields, ok := r.fields[t]
	if !ok {
		fields = fieldsOf(t)
		r.fields[t] = fields
	}
	return fields
}

// entry reads the value of a key. A section may be empty, as it is once all its lines
// are commented out; a single value may not.
func (r *reader) entry(v reflect.Value, e entry, f field, path string) {
	if !e.value.absent() {
		r.value(v, e.value, f, path)
		return
	}
	if isSection(v.Type()) && !f.must {
		return
	}
	r.book.add(e.at, path, "the key has no value", f.expected())
}

// expected says what the value of a key may be, where a grammar knows.
func (f field) expected() string {
	if f.is == "" {
		return ""
	}
	return grammarOf(f.is).expected
}

// missing notes the keys that have to be there, but for those that were meant by
// another.
func (r *reader) missing(n *node, fields []field, meant map[string]bool, path string) {
	for _, f := range fields {
		if f.must && n.get(f.name) == nil && !meant[f.name] {
			r.book.add(n.at, path, f.name+" is missing", f.expected())
		}
	}
}

// unknown notes a key that is not known, and returns the one that was meant, if any. At
// the top, keys that begin with "x-" are the user's own: a place for anchors.
func (r *reader) unknown(e entry, fields []field, path string) (meant string) {
	if path == "" && strings.HasPrefix(e.key, "x-") {
		return ""
	}
	if r.book.full() {
		r.book.count++
		return ""
	}
	var names []string
	for _, f := range fields {
		if slices.ContainsFunc(f.aka, func(other string) bool { return nearest.Same(other, e.key) }) {
			r.book.add(e.at, path, "unknown key "+quoted(e.key), f.name+", as it is called here")
			return f.name
		}
		names = append(names, f.name)
	}
	meant, near := nearest.Word(e.key, names)
	expected := meant
	if !near {
		expected = "one of " + strings.Join(names, ", ")
	}
	r.book.add(e.at, path, "unknown key "+quoted(e.key), expected)
	return meant
}

// list reads a list. One text, and one of what can be written as a text, may stand
// without brackets.
func (r *reader) list(v reflect.Value, n *node, f field, path string) {
	element := v.Type().Elem()
	single := standsAlone(element)
	if n.kind != list {
		if !single {
			r.wrongKind(n, path, "a list")
			return
		}
		n = &node{at: n.at, kind: list, items: []*node{n}}
	}
	if single && len(n.items) == 0 {
		r.fail(path, "the list is empty", "at least one")
		return
	}
	for i, item := range n.items {
		fresh := reflect.New(element).Elem()
		r.value(fresh, item, f, path+label(nameOf(item), i))
		v.Set(reflect.Append(v, fresh))
	}
}

// standsAlone reports whether the only item of a list needs no brackets.
func standsAlone(element reflect.Type) bool {
	_, isUnion := reflect.TypeAssert[union](reflect.New(element))
	return isUnion || element.Kind() == reflect.String
}

// byKey reads a map whose keys are the user's.
func (r *reader) byKey(v reflect.Value, n *node, f field, path string) {
	if n.kind != mapping {
		r.wrongKind(n, path, "a map")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range n.entries {
		if err := grammarOf(f.is).read(e.key); err != nil {
			r.book.add(e.at, path, err.Error(), f.expected())
			continue
		}
		fresh := reflect.New(v.Type().Elem()).Elem()
		if !e.value.absent() {
			r.value(fresh, e.value, field{}, path+label(e.key, 0))
		}
		v.SetMapIndex(reflect.ValueOf(e.key), fresh)
	}
}

var (
	wholeNumber = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,17})$`)
	decimal     = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?$`)
)

// scalar reads a single value. A text is what it looks like: 1.10, 012 and no stay as
// they are written.
func (r *reader) scalar(v reflect.Value, n *node, f field, path string) {
	if n.kind != scalar {
		r.wrongKind(n, path, "a single value")
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		if n.tag != "!!bool" || n.value != "true" && n.value != "false" {
			r.fail(path, isNot(n.value, "a switch"), "true or false, without quotes")
			return
		}
		v.SetBool(n.value == "true")
	case reflect.Int:
		read, err := strconv.Atoi(n.value)
		if n.tag != "!!int" || !wholeNumber.MatchString(n.value) || err != nil || read < f.low || read > f.high {
			r.fail(path, isNot(n.value, fmt.Sprintf("a number from %d to %d", f.low, f.high)), "a whole number without quotes")
			return
		}
		v.SetInt(int64(read))
	case reflect.Float64:
		read, err := strconv.ParseFloat(n.value, 64)
		if n.tag != "!!int" && n.tag != "!!float" || !decimal.MatchString(n.value) || err != nil || read <= float64(f.low) || read > float64(f.high) {
			r.fail(path, isNot(n.value, fmt.Sprintf("a number above %d, up to %d", f.low, f.high)), "a number such as 5 or 0.5, without quotes")
			return
		}
		v.SetFloat(read)
	default:
		if text, ok := r.text(n, f.is, path); ok {
			v.SetString(text)
		}
	}
}

// text reads a text of a grammar.
func (r *reader) text(n *node, is, path string) (string, bool) {
	r.places[path] = n.at
	g := grammarOf(is)
	if n.kind != scalar {
		r.wrongKind(n, path, g.expected)
		return "", false
	}
	if strings.Contains(n.value, "${") && is != "replacement" {
		r.fail(path, `"${" is read in secrets only`, "the value itself")
		return "", false
	}
	if err := g.read(n.value); err != nil {
		r.fail(path, err.Error(), g.expected)
		return "", false
	}
	if is == "path" || is == "state" && !inBucket(n.value) {
		return besides(n.at.File, n.value), true
	}
	return n.value, true
}

// wrongKind notes a list where a map belongs, and the like. It quotes nothing: what
// stands there may be a secret.
func (r *reader) wrongKind(n *node, path, expected string) {
	r.places[path] = n.at
	r.fail(path, "this is "+string(n.kind), expected)
}

// among names keys of a map that do not go together, and where each stands if that is
// not one file.
func (r *reader) among(path string, keys []string) string {
	named, files := make([]string, len(keys)), make(map[string]bool)
	for i, key := range keys {
		at := r.place(join(path, key))
		named[i] = key + " (" + at.line() + ")"
		files[at.File] = true
	}
	if len(files) == 1 {
		named = keys
	}
	return strings.Join(named, " and ")
}

// ofWhich returns those of the given keys that are set, sorted, for problems that name
// them.
func ofWhich(set map[string]bool) []string {
	maps.DeleteFunc(set, func(_ string, on bool) bool { return !on })
	return slices.Sorted(maps.Keys(set))
}

// structureOf is structure for a pointer to a struct.
func (r *reader) structureOf(to any, n *node, path string) {
	r.structure(reflect.ValueOf(to).Elem(), n, path)
}
