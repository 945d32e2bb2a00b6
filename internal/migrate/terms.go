package migrate

import (
	"slices"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A term is an entry of an old file that chooses tags, as it is written here.
type term struct {
	text string
	from *value
	say  func(*line) // notes what is different; nil where nothing is
}

// areTags reports whether each term is a tag, so that it says so in a list of short words
// too.
func areTags(terms []term) bool {
	return !slices.ContainsFunc(terms, func(t term) bool { return !ref.ValidTag(t.text) })
}

// writeTerms writes terms of one kind, and what is different about them.
func writeTerms(to *section, key string, terms []term, list *value) {
	if len(terms) == 0 {
		return
	}
	texts, each := make([]string, len(terms)), make([]*value, len(terms))
	for i, term := range terms {
		texts[i], each[i] = term.text, term.from
	}
	line := to.texts(key, texts, list, each...)
	for _, term := range terms {
		if term.say != nil {
			term.say(line)
		}
	}
}

// writeStrict has versions read as the old tool reads them.
func writeStrict(to *section, from *value, tool string) {
	to.flag("strict", true, from).
		comment("As " + tool + " reads versions: 1.31.0-musl is a pre-release, and so below 1.31.0; 1.31 is 1.31.0.")
	to.flag("prerelease", true, from)
	to.flag("floating", true, from)
}

// remarks are what was said of a file as a whole.
type remarks map[string]bool

// once notes what is different for the file as a whole, the first time that it is.
func (r remarks) once(from *value, what, why string) {
	if !r[what] {
		r[what] = true
		from.draft.note(from, Changed, what, why)
	}
}
