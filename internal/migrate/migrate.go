// Package migrate reads the configurations of other tools and says the same in the
// program's own format. What cannot be said the same way is noted: nothing of an old
// file disappears without a word.
//
// The package does no I/O. It reads text and returns text; the environment is a
// function.
package migrate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

// A Format is the configuration of another tool.
type Format string

// The formats that can be imported.
const (
	Replicant  Format = "replicant"
	Dregsy     Format = "dregsy"
	DockerSync Format = "docker-sync"
	SkopeoSync Format = "skopeo-sync"
	Regsync    Format = "regsync"
	ECRMirror  Format = "ecr-mirror"
)

// Formats returns every format, in the order in which help and documents name them.
func Formats() []Format {
	return []Format{Replicant, Dregsy, DockerSync, SkopeoSync, Regsync, ECRMirror}
}

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	if slices.Contains(Formats(), Format(s)) {
		return Format(s), nil
	}
	names := make([]string, len(Formats()))
	for i, format := range Formats() {
		names[i] = string(format)
	}
	return "", fmt.Errorf("%q is no format that can be imported: expected one of %s", s, strings.Join(names, ", "))
}

// importer returns what reads the format.
func (f Format) importer() importer {
	switch f {
	case Replicant:
		return importer{read: importReplicant, foldKeys: true}
	case Dregsy:
		return importer{read: importDregsy}
	case DockerSync:
		return importer{read: importDockerSync, foldKeys: true, merges: true}
	case SkopeoSync:
		return importer{read: importSkopeoSync}
	case Regsync:
		return importer{read: importRegsync}
	case ECRMirror:
		return importer{read: importECRMirror, rootLists: true}
	}
	return importer{}
}

// An importer writes what the files of one format say into a draft. There is at least
// one file, each a map; what the importer does not ask for is noted as ignored.
type importer struct {
	read      func(d *draft, files []*value)
	foldKeys  bool // the old tool takes keys in any case
	rootLists bool // a file may be a list
	merges    bool // files are merged into one, later over earlier
}

// Options are what some old tools are told outside of their files.
type Options struct {
	// Env looks up the old tool's environment variables; nil stands for none.
	Env func(string) (string, bool)

	Destination string // skopeo sync's second argument: a registry, or a repository prefix
	Scoped      bool   // skopeo sync's --scoped
}

// DefaultFile returns the file that the old tool reads where none is named, "" where it
// reads none.
func (f Format) DefaultFile(env func(string) (string, bool)) string {
	switch f {
	case Replicant:
		if file, ok := env("REPLICANT_CONFIG_FILE"); ok {
			return file
		}
		return "/config/replicant.yaml"
	case DockerSync:
		return "config.yaml"
	case Dregsy, SkopeoSync, Regsync, ECRMirror:
	}
	return ""
}

// An Input is a file of another tool.
type Input struct {
	Name string // what its places are called: the path, or "-"
	Data []byte
}

// Imported is what files of another tool say, in the program's own format.
type Imported struct {
	// YAML is the configuration, with a comment wherever it means something else than
	// the old file. config.Load takes it once Secrets are in the environment. Paths in it
	// are as the old files have them: seen from the working directory.
	YAML []byte

	// Secrets are the credentials of the old files, by the name of the environment
	// variable that stands in their place.
	Secrets map[string]auth.Secret

	Notes    []Note
	Settings Settings

	// Places are where each mirror stands in the old files, by its name.
	Places map[string]config.Place
}

// Env returns a look-up that knows the secrets of the old files besides what env knows.
// With it the configuration runs as it is, without anything being set.
func (i *Imported) Env(env func(string) (string, bool)) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if secret, ok := i.Secrets[name]; ok {
			return secret.Reveal(), true
		}
		return env(name)
	}
}

// Settings are what an old file or the old tool's environment says of a run, and what
// are flags here. The zero value of each says nothing.
type Settings struct {
	Debug       bool
	ExitOnError bool          // stop at the first error
	MaxErrors   int           // stop after so many
	Interval    time.Duration // from one run of a daemon to the next
}

// A Severity says how much a Note matters.
type Severity string

// The severities, the gravest first.
const (
	Lost    Severity = "lost"    // what the old file asks for is not done
	Changed Severity = "changed" // it is done, and not in every case as before
	Ignored Severity = "ignored" // it has no meaning here, or had none there
)

// Severities returns every severity, the gravest first.
func Severities() []Severity { return []Severity{Lost, Changed, Ignored} }

// A Note is one thing in an old file that is not carried over as it is. It never holds
// a secret.
type Note struct {
	Severity Severity
	Place    config.Place // in the old file
	Key      string       // "images[redis].mode"; "" for the file as a whole
	What     string       // what is different now
	Why      string       // the reason, or what to do about it; may be empty
}

// String is one line: place, severity, key, and the text.
func (n Note) String() string {
	parts := []string{oneLine(n.Place.String()), string(n.Severity)}
	if n.Key != "" {
		parts = append(parts, oneLine(n.Key))
	}
	return strings.Join(append(parts, n.text()), ": ")
}

// text is what there is to say, without the place.
func (n Note) text() string {
	if n.Why == "" {
		return oneLine(n.What)
	}
	return oneLine(n.What + "; " + n.Why)
}

// remark is what a comment says of it.
func (n Note) remark() string { return string(n.Severity) + ": " + n.text() }

// Import reads files of another tool. Several are read as that tool would, where it
// reads several; else each adds its mirrors.
//
// The error is config.Problems, with places in the old files: what cannot be read there,
// and what cannot be followed here. Then Imported is nil.
func Import(format Format, files []Input, options Options) (*Imported, error) {
	how := format.importer()
	if how.read == nil {
		return nil, config.Problems{{Problem: fmt.Sprintf("%q is no format that can be imported", string(format))}}
	}
	d := newDraft(format, how, files, options)
	roots := d.open(files)
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	how.read(d, roots)
	d.leftovers(roots)
	return d.finish()
}

// sortNotes sorts by place, and keeps one of those that say the same.
func (d *draft) sortNotes() []Note {
	slices.SortStableFunc(d.notes, func(a, b Note) int {
		return cmp.Or(d.order(a.Place, b.Place), slices.Index(Severities(), a.Severity)-slices.Index(Severities(), b.Severity))
	})
	return slices.Compact(d.notes)
}

// order compares places as a reader comes upon them.
func (d *draft) order(a, b config.Place) int {
	return cmp.Or(
		cmp.Compare(d.fileIndex[a.File], d.fileIndex[b.File]),
		cmp.Compare(a.Line, b.Line),
		cmp.Compare(a.Column, b.Column),
	)
}
