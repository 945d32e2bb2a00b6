// Package provision says how a destination repository is to be: whether the program makes
// it where it is missing, with which settings, and what becomes of settings that differ.
//
// The package is pure: it compares and words, and whoever knows the registry asks and
// writes.
package provision

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Rule is what holds for one destination repository. The zero Rule leaves repositories
// alone: what is missing stays missing.
type Rule struct {
	Create    Create
	Settings  Settings
	Reconcile Reconcile
}

// Create says how a repository that is missing comes into being.
type Create string

// The ways. OnPush leaves it to the registry: private ECR makes a repository with its first
// push where a creation template matches.
const (
	Never  Create = ""
	ByCall Create = "call"
	OnPush Create = "on-push"
)

// Reconcile says what becomes of settings that a repository has otherwise.
type Reconcile string

// The choices. With Report nothing is written.
const (
	Ignore Reconcile = ""
	Report Reconcile = "report"
	Apply  Reconcile = "apply"
)

// Settings are those of a repository. What is zero is not asked for: a new repository gets
// the registry's own default, and an old one keeps what it has.
type Settings struct {
	ResourceTags    map[string]string // others that the repository has stay
	ScanOnPush      *bool
	Encryption      Encryption
	TagMutability   TagMutability
	LifecyclePolicy string // JSON
	Policy          string // the repository's own, JSON
}

// Encryption is how a repository's images are kept. It cannot be changed.
type Encryption struct {
	Type   string // AES256, KMS or KMS_DSSE; "" is not asked for
	KMSKey string // an ARN, id or alias; "" is the account's default key
}

// TagMutability says which tags may be overwritten.
type TagMutability struct {
	Mode       string   // MUTABLE, IMMUTABLE, or one of these with _WITH_EXCLUSION; "" is not asked for
	Exclusions []string // wildcard filters, for the modes with exclusion
}

// A Setting is one of a repository's, as Difference names it.
type Setting string

// The settings.
const (
	ScanOnPush      Setting = "scanOnPush"
	EncryptedWith   Setting = "encryption"
	TagsMutable     Setting = "tagMutability"
	ResourceTags    Setting = "resourceTags"
	LifecyclePolicy Setting = "lifecyclePolicy"
	Policy          Setting = "policy"
)

// A Difference is a setting that a repository has otherwise than it is to be.
type Difference struct {
	Setting    Setting
	Have, Want string // for people
}

// Fixed reports whether the setting cannot be changed once the repository exists.
func (d Difference) Fixed() bool { return d.Setting == EncryptedWith }

func (d Difference) String() string {
	return fmt.Sprintf("%s is %s, and %s was asked for", d.Setting, d.Have, d.Want)
}

// Differences compares what a repository has with what is asked for. JSON documents are
// equal if they say the same; have's may be in any form.
func Differences(have, want Settings) []Difference {
	var all []Difference
	add := func(asked, same bool, s Setting, has, wanted string) {
		if asked && !same {
			all = append(all, Difference{s, has, wanted})
		}
	}
	scans := have.ScanOnPush != nil && *have.ScanOnPush
	if want.ScanOnPush != nil {
		add(true, scans == *want.ScanOnPush, ScanOnPush, fmt.Sprint(scans), fmt.Sprint(*want.ScanOnPush))
	}
	add(want.Encryption.Type != "", want.Encryption.met(have.Encryption), EncryptedWith, have.Encryption.String(), want.Encryption.String())
	add(want.TagMutability.Mode != "", want.TagMutability.same(have.TagMutability), TagsMutable, have.TagMutability.String(), want.TagMutability.String())
	lacking := missing(have.ResourceTags, want.ResourceTags)
	add(len(lacking) > 0, false, ResourceTags, written(have.ResourceTags, lacking), written(want.ResourceTags, lacking))
	add(want.LifecyclePolicy != "", sameJSON(have.LifecyclePolicy, want.LifecyclePolicy), LifecyclePolicy, document(have.LifecyclePolicy), document(want.LifecyclePolicy))
	add(want.Policy != "", sameJSON(have.Policy, want.Policy), Policy, document(have.Policy), document(want.Policy))
	return all
}

// met reports whether a repository is encrypted as it is to be. ECR shows a key by its
// ARN, whatever it was called when the repository was made; an alias can therefore not be
// compared, and neither can the account's default key.
func (e Encryption) met(have Encryption) bool {
	if e.Type != have.Type {
		return false
	}
	byName := e.KMSKey == "" || strings.Contains(e.KMSKey, "alias/")
	return byName || e.KMSKey == have.KMSKey || strings.HasSuffix(have.KMSKey, "key/"+e.KMSKey)
}

func (e Encryption) String() string {
	if e.KMSKey == "" {
		return orNone(e.Type)
	}
	return e.Type + " with " + e.KMSKey
}

func (m TagMutability) same(other TagMutability) bool {
	return m.Mode == other.Mode && slices.Equal(sorted(m.Exclusions), sorted(other.Exclusions))
}

func (m TagMutability) String() string {
	if len(m.Exclusions) == 0 {
		return orNone(m.Mode)
	}
	return m.Mode + " (" + strings.Join(sorted(m.Exclusions), " ") + ")"
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

// missing returns the keys of want that have lacks, or has with another value.
func missing(have, want map[string]string) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if value, ok := have[key]; !ok || value != want[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

// written shows some of a repository's resource tags.
func written(tags map[string]string, keys []string) string {
	var pairs []string
	for _, key := range keys {
		if value, ok := tags[key]; ok {
			pairs = append(pairs, key+"="+value)
		}
	}
	return orNone(strings.Join(pairs, ", "))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
