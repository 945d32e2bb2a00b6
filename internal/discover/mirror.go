// Package discover says what should be mirrored. A Mirror is one rule: this
// upstream repository to that target repository, these tags. Rules come from resource
// tags on ECR repositories (FromTags reads their language) and from the command line;
// both compile to the same Mirror value.
//
// The package is pure: it knows no AWS and does no I/O. Package ecr fetches the
// resource tags and calls FromTags.
package discover

import (
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A Mirror is one rule. Nothing changes it once a run has begun to follow it: all
// that is planned for it points to the one value.
type Mirror struct {
	// Name is what a person calls the mirror when they choose some of several: the name
	// in the file, or the repository's own where resource tags describe it. Several
	// mirrors may share one; "" where nothing names it.
	Name string

	Upstream   ref.Repository
	Target     ref.Repository
	As         string // the tag at the target, where it is not upstream's; only for rules that choose one tag
	Rules      Rules
	Platforms  Platforms
	Options    Options
	Prune      Prune
	Origin     Origin
	Tags       Mutability     // which tags of Target may be overwritten
	Missing    bool           // Target was looked for and is not there; false where nobody looked
	Repository provision.Rule // whether Target is made, and how it is to be
}

// Origin says where a rule was written, for reports and for deciding what it may
// command.
type Origin struct {
	Kind   OriginKind
	Place  string // the repository's ARN, or "command line"
	Region string // AWS Region of the target, "" where there is none
}

// OriginKind tells rules apart by who wrote them.
type OriginKind string

// The kinds of origin. What resource tags may command is narrower than what an
// operator may: see mirror.Gate.
const (
	FromResourceTags OriginKind = "resource tags"
	FromCommandLine  OriginKind = "command line"
)

// A Finding is one repository that discovery looked at: a Mirror, or the reason why
// the repository's description cannot be followed. Warnings are remarks that stop
// nothing, such as a key that is nearly one of ours.
type Finding struct {
	Mirror   Mirror // Target and Origin are set also where Err is
	Err      error
	Warnings []string
}

// Mutability says which tags of a target repository may be overwritten. The zero
// Mutability allows all.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
type Mutability struct {
	Immutable  bool     // whether tags are immutable unless an exception matches
	Exceptions []string // wildcard filters ("dev-*") naming the tags for which the opposite holds
}

// Allows reports whether tag may be overwritten where it exists already.
func (m Mutability) Allows(tag string) bool {
	for _, filter := range m.Exceptions {
		if MatchGlob(filter, tag) {
			return m.Immutable
		}
	}
	return !m.Immutable
}
