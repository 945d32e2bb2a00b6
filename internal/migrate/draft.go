package migrate

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

// shortestInterval is the shortest that a schedule may have.
const shortestInterval = 30 * time.Second

// A draft is the configuration that an importer writes, with everything there is to say
// about it.
type draft struct {
	format    Format
	how       importer
	env       func(string) (string, bool)
	fileIndex map[string]int // of the inputs, by name

	destination string // see Options
	scoped      bool

	read     map[*config.Node]string // what was read, and the key it was read as
	odd      map[*config.Node]bool   // whose kind was a problem already
	problems config.Problems
	notes    []Note
	settings Settings

	head       []string           // comments above everything
	comments   map[*yaml.Node]int // how many there are above each node
	defaults   *section
	registries *section
	discovery  *section
	mirrors    *yaml.Node

	hosts     map[string]*registry
	secrets   map[string]auth.Secret
	variables map[[2]string]string // the variable of a secret, by the name wished for and the secret
	numbered  map[string]int       // how often each name of a variable was wished for
	places    map[string]*value    // where each key of the output comes from, by its path
	names     map[string]int       // how often each mirror name was asked for
}

func newDraft(format Format, how importer, files []Input, options Options) *draft {
	d := &draft{
		format: format, how: how, env: options.Env, destination: options.Destination, scoped: options.Scoped,
		fileIndex: make(map[string]int),
		read:      make(map[*config.Node]string),
		odd:       make(map[*config.Node]bool),
		comments:  make(map[*yaml.Node]int),
		mirrors:   newList(),
		hosts:     make(map[string]*registry),
		secrets:   make(map[string]auth.Secret),
		variables: make(map[[2]string]string),
		numbered:  make(map[string]int),
		places:    make(map[string]*value),
		names:     make(map[string]int),
	}
	if d.env == nil {
		d.env = func(string) (string, bool) { return "", false }
	}
	for i, file := range files {
		d.fileIndex[file.Name] = i
	}
	d.defaults = &section{draft: d, node: newMap(), path: "defaults"}
	d.registries = &section{draft: d, node: newMap(), path: "registries"}
	d.discovery = &section{draft: d, node: newMap(), path: "discovery"}
	return d
}

// fail notes a problem with a value.
func (d *draft) fail(v *value, problem, expected string) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, &config.Problem{Place: v.at, Key: oneLine(v.key), Problem: problem, Expected: expected})
	}
}

// maxProblems bounds how many problems are kept: past a hundred nobody reads them.
const maxProblems = 100

// note notes what is different for the file as a whole, and says it above everything.
func (d *draft) note(from *value, severity Severity, what, why string) {
	d.above(nil, from.note(severity, what, why).remark())
}

// maxComments is how many comments stand above one thing. The notes have them all.
const maxComments = 20

// above says something above a node of the output, or above everything.
func (d *draft) above(n *yaml.Node, text string) {
	d.comments[n]++
	switch count := d.comments[n]; {
	case count > maxComments:
		return
	case count == maxComments:
		text = "There is more of this: the notes of the import have it all."
	}
	switch {
	case n == nil:
		d.head = append(d.head, text)
	case n.HeadComment == "":
		n.HeadComment = commented(text)
	default:
		n.HeadComment += "\n" + commented(text)
	}
}

// mirror appends a mirror. Its name is made of the one that is wished for: a name that
// is taken gets a number.
func (d *draft) mirror(wish string, from *value) *section {
	name := mirrorName(wish)
	d.names[name]++
	for n := d.names[name]; n > 1; n++ {
		numbered := name + "-" + strconv.Itoa(n)
		if d.names[numbered] == 0 {
			d.names[name] = n
			d.names[numbered] = 1
			name = numbered
			break
		}
	}
	to := newMap()
	d.mirrors.Content = append(d.mirrors.Content, to)
	m := &section{draft: d, node: to, path: "mirrors[" + name + "]", above: to}
	d.places[m.path] = from
	m.text("name", name, from)
	return m
}

// maxName is the most characters of a name that are kept, with room for a number.
const maxName = 120

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._/-]+`)

// mirrorName makes a mirror's name of any text.
func mirrorName(s string) string {
	name := strings.Trim(notInNames.ReplaceAllString(s, "-"), "._/-")
	if len(name) > maxName {
		name = name[:maxName]
	}
	if name == "" {
		return "mirror"
	}
	return name
}

// finish renders the draft and has package config judge it, so that whatever is returned
// can be loaded.
func (d *draft) finish() (*Imported, error) {
	text, err := d.render()
	if err != nil {
		return nil, err
	}
	d.judge(text)
	if len(d.problems) > 0 {
		slices.SortStableFunc(d.problems, func(a, b *config.Problem) int { return d.order(a.Place, b.Place) })
		return nil, d.problems
	}
	return &Imported{YAML: text, Secrets: d.secrets, Notes: d.sortNotes(), Settings: d.settings, Places: d.mirrorPlaces()}, nil
}

// mirrorPlaces returns where the mirrors stand in the old files.
func (d *draft) mirrorPlaces() map[string]config.Place {
	places := make(map[string]config.Place, len(d.mirrors.Content))
	for _, m := range d.mirrors.Content {
		name := m.Content[1].Value
		places[name] = d.places["mirrors["+name+"]"].at
	}
	return places
}

// judge loads the rendered configuration and reports what is wrong with it as problems
// of the old files, where they have none yet. All variables and files that it refers to
// are taken to be there.
func (d *draft) judge(text []byte) {
	const name = "imported"
	readFile := func(file string) ([]byte, error) {
		if file == name {
			return text, nil
		}
		return []byte("there"), nil
	}
	_, err := config.Load([]string{name}, func(string) (string, bool) { return "there", true }, readFile)
	known := make(map[config.Place]bool)
	for _, p := range d.problems {
		known[p.Place] = true
	}
	problems, _ := errors.AsType[config.Problems](err)
	for _, p := range problems {
		from := d.origin(p.Key)
		if known[from.at] {
			continue
		}
		if p.Key == "" {
			p.Problem = "as a configuration of this program, " + p.Problem
		}
		d.fail(from, ownPlace.ReplaceAllString(p.Problem, ""), p.Expected)
	}
}

// ownPlace is a place in the rendered configuration, which nobody has seen.
var ownPlace = regexp.MustCompile(`(, at imported:[0-9]+| \(imported:[0-9]+\))`)

// origin returns the value of the old files that a key of the output comes from, or the
// nearest key above it.
func (d *draft) origin(key string) *value {
	for key != "" {
		if from := d.places[key]; from != nil {
			return from
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	for name, index := range d.fileIndex {
		if index == 0 {
			return &value{draft: d, at: config.Place{File: name}}
		}
	}
	return &value{draft: d}
}
