package discover

import (
	"slices"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Rules is the selection language, parsed: which upstream tags a mirror wants.
// Package selection compiles and applies it, and defines what a version is.
//
// Choosing terms are united; Keep, Major, Minor, Variant, Mode and Newest then filter
// what globs, ranges and expressions chose, never literals or pins; excluding terms win
// over all. The zero Rules chooses nothing.
type Rules struct {
	Choose  []Term
	Exclude []Term // none of them inverted
	Keep    []Term // globs, ranges and expressions; what was chosen stays where it matches every one

	Newest   int   // keep the N highest; 0 keeps all
	NewestBy Order // what "highest" means to Newest
	Mode     Mode  // "" where no mode was given

	Variant    string // keep versions whose variant this glob matches; "" says nothing about variants
	Major      *int   // keep versions with this major; nil keeps all
	Minor      *int   // keep versions with this minor; nil keeps all
	Prerelease bool   // whether pre-releases count as versions
	Floating   bool   // whether floating tags ("1.27" beside "1.27.3") count as versions
	Strict     bool   // whether versions are read as semver.org has them: any suffix is a pre-release

	MinTags int // matching fewer tags than this is an error; 0 switches the guard off

	// Immutable are globs naming the tags that never change upstream. Mutable says the
	// same the other way round: where it is given it decides alone, and every tag that
	// none of its globs matches is immutable.
	Immutable []string
	Mutable   []string
}

// IsImmutable reports whether the rules declare that tag never changes upstream, so
// that it need not be compared once it is at the target.
func (r Rules) IsImmutable(tag string) bool {
	if len(r.Mutable) > 0 {
		return !matchesAny(r.Mutable, tag)
	}
	return matchesAny(r.Immutable, tag)
}

// DeclaresImmutable reports whether there are tags for which IsImmutable may hold.
func (r Rules) DeclaresImmutable() bool { return len(r.Immutable)+len(r.Mutable) > 0 }

func matchesAny(globs []string, tag string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool { return MatchGlob(glob, tag) })
}

// Mode is a narrowing rule by version, named after replicant's.
type Mode string

// The modes. Higher needs to know the target's tags.
const (
	ModeHighest Mode = "highest" // the highest version
	ModeHigher  Mode = "higher"  // what is above the target's highest; on an empty target, the highest
	ModeSemver  Mode = "semver"  // every version
	ModeAll     Mode = "all"     // every tag
)

// Order is what newest:N sorts by.
type Order string

// The orders. ByCreated needs to know when each image was created.
const (
	ByVersion Order = ""        // the zero Order
	ByCreated Order = "created" // the image's creation time
	ByName    Order = "name"    // the tag itself, digits as numbers: for noble-20240827
)

// A Term chooses, excludes or keeps tags. Text is the term as the user wrote it, and Key
// and Position say where, so that every decision can name its reason.
//
// An inverted term means the tags that its pattern does not match; where it chooses,
// never those of the form sha256-…. Literals, pins and excluding terms are not inverted.
type Term struct {
	Kind     TermKind
	Not      bool       // whether the term is inverted
	Text     string     // as written: "1.27.+"
	Pattern  string     // what Kind reads: the tag, the glob with "*", the range, the expression
	Digest   ref.Digest // only for Pin
	Key      string     // the resource tag or flag it stands in
	Position int        // 1 for the first character of the value
}

// ChoosesOne reports whether the term names a single tag, which narrowing leaves alone.
func (t Term) ChoosesOne() bool { return t.Kind == Literal || t.Kind == Pin }

// TermKind says how a Term's pattern is read.
type TermKind string

// The kinds of terms. Only Literal, Regexp and Pin ever match tags of the form
// sha256-…: those belong to an image and follow it as referrers.
const (
	Literal TermKind = "literal"
	Glob    TermKind = "glob"
	Semver  TermKind = "semver" // a range in the syntax of Masterminds/semver
	Regexp  TermKind = "regexp" // RE2; the whole tag must match
	Pin     TermKind = "pin"    // name@sha256:…: that digest under that name
)

// Platforms says which platforms of an image are mirrored. The zero Platforms means
// all of them, with the upstream digest unchanged.
type Platforms struct {
	Keep []ref.Platform // write a smaller index with these platforms
	One  *ref.Platform  // write the image for this platform alone, as skopeo's --override-* do
}

// All reports whether images are mirrored unchanged.
func (p Platforms) All() bool { return len(p.Keep) == 0 && p.One == nil }

// Options are the remaining switches of a mirror.
type Options struct {
	Replace   bool // update a tag whose upstream moved; otherwise leave it and report that it drifted
	Referrers bool // mirror signatures, SBOMs and attestations with the image
}

// DefaultOptions are those of a mirror that says nothing about them.
func DefaultOptions() Options { return Options{Replace: true, Referrers: true} }
