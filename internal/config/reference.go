package config

import (
	"bytes"
	_ "embed"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

//go:embed example.yaml
var example string

//go:embed reference.md
var introduction string

// Example returns a configuration with comments to start from. It loads as it is.
func Example() []byte { return []byte(example) }

// Reference returns the reference for users in Markdown: docs/configuration.md.
func Reference() []byte {
	b := &book{title: make(map[reflect.Type]string)}
	b.collect("", reflect.TypeFor[File]())
	b.out.WriteString("<!-- Generated from internal/config by go test ./internal/config -update. -->\n\n")
	b.out.WriteString(introduction)
	for _, t := range b.order {
		b.section(t)
	}
	return b.out.Bytes()
}

// A book is a reference in the making: each struct is a section, named by the first key
// that holds it.
type book struct {
	out   bytes.Buffer
	order []reflect.Type
	title map[reflect.Type]string
}

func (b *book) collect(path string, t reflect.Type) {
	if _, seen := b.title[t]; seen {
		return
	}
	b.title[t] = path
	b.order = append(b.order, t)
	for _, f := range fieldsOf(t) {
		kind := t.FieldByIndex(f.index).Type
		if inner, ok := section(kind); ok {
			b.collect(join(path, f.name)+suffix(kind, f), inner)
		}
	}
}

// section returns the struct that a key's value is made of.
func section(t reflect.Type) (reflect.Type, bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t, t.Kind() == reflect.Struct && t != reflect.TypeFor[Secret]()
}

// suffix says how often a section stands below its key.
func suffix(t reflect.Type, f field) string {
	switch t.Kind() {
	case reflect.Slice:
		return "[]"
	case reflect.Map:
		return "." + strings.ToUpper(f.keyed())
	default:
		return ""
	}
}

func (b *book) section(t reflect.Type) {
	title := "The file"
	if b.title[t] != "" {
		title = "`" + b.title[t] + "`"
	}
	fmt.Fprintf(&b.out, "\n## %s\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n", title)
	for _, f := range fieldsOf(t) {
		kind := t.FieldByIndex(f.index).Type
		fallback := f.fallback
		if f.must {
			fallback = "required"
		}
		fmt.Fprintf(&b.out, "| `%s` | %s | %s | %s |\n", f.name, b.describe(kind, f), prose(fallback), prose(f.doc))
	}
}

// prose writes a text so that Markdown shows it as it is, in a cell of a table.
func prose(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "*", `\*`, "_", `\_`, "~", `\~`, "<", `\<`, "[", `\[`).Replace(s)
}

// describe says in words what a key's value is.
func (b *book) describe(t reflect.Type, f field) string {
	if inner, ok := section(t); ok {
		return b.describeSection(t, inner, f)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return b.describe(t.Elem(), f)
	case reflect.Slice:
		return grammarOf(f.is).noun + ", or a list"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return fmt.Sprintf("a whole number from %d to %d", f.low, f.high)
	case reflect.Float64:
		return fmt.Sprintf("a number above %d, up to %d", f.low, f.high)
	case reflect.Struct:
		return "a secret"
	default:
		return describeText(grammarOf(f.is))
	}
}

func describeText(g grammar) string {
	if g.values != nil {
		return "`" + strings.Join(g.values, "`, `") + "`"
	}
	return g.noun
}

// describeSection links to the section of a struct, and says what may stand for it.
func (b *book) describeSection(t, inner reflect.Type, f field) string {
	link := fmt.Sprintf("[map](#%s)", anchor(b.title[inner]))
	if t.Kind() == reflect.Map {
		link = fmt.Sprintf("a [map](#%s) for each %s", anchor(b.title[inner]), f.keyed())
	}
	short := map[reflect.Type]string{
		reflect.TypeFor[From]():        "a repository, or a ",
		reflect.TypeFor[Destination](): "a repository, or a ",
		reflect.TypeFor[Tags]():        "a short word, a list of them, or a ",
		reflect.TypeFor[Terms]():       "a short word, a list of them, or a ",
		reflect.TypeFor[Patterns]():    "a short word, a list of them, or a ",
		reflect.TypeFor[Keep]():        "a short word, a list of them, or a ",
		reflect.TypeFor[Credentials](): "`none`, or a ",
		reflect.TypeFor[Google]():      "`default`, or a ",
		reflect.TypeFor[Azure]():       "`default`, or a ",
		reflect.TypeFor[Prune]():       "true, false, or a ",
		reflect.TypeFor[Schedule]():    "an interval, a cron expression, or a ",
	}[inner]
	switch {
	case t.Kind() == reflect.Slice && short == "":
		return "a list of " + link + "s"
	case t.Kind() == reflect.Slice:
		return short + link + "; or a list of them"
	}
	return short + link
}

// anchor returns the name that GitHub gives a heading.
func anchor(title string) string {
	if title == "" {
		return "the-file"
	}
	kept := slices.DeleteFunc([]rune(strings.ToLower(title)), func(r rune) bool { return strings.ContainsRune(".[]`", r) })
	return string(kept)
}
