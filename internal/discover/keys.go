package discover

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/nearest"
)

// The keys of resource tags where nothing else was asked for. ignore-tags is the name
// that onfido/ecr-mirror gave it.
const (
	defaultImageKey = "upstream-image"
	defaultTagKey   = "upstream-tags"
	ignoreKey       = "ignore-tags"
)

// Keys are the resource-tag keys a repository is described with.
type Keys struct {
	Image     string // the upstream repository
	Tags      string // which of its tags; continued in Tags-2, Tags-3 …
	Ignore    string // tags to leave out
	Platforms string // which platforms
	Options   string // the remaining switches
}

// NewKeys derives all keys from the two that can be renamed; "" stands for
// upstream-image and upstream-tags. An image key that ends in "-image" lends its stem
// to platforms and options (acme-image: acme-platforms, acme-options); after any other
// they keep their names, upstream-platforms and upstream-options. ignore-tags has no
// stem and is never renamed.
func NewKeys(imageKey, tagKey string) Keys {
	if imageKey == "" {
		imageKey = defaultImageKey
	}
	if tagKey == "" {
		tagKey = defaultTagKey
	}
	stem, found := strings.CutSuffix(imageKey, "-image")
	if !found || stem == "" {
		stem = "upstream"
	}
	return Keys{
		Image:     imageKey,
		Tags:      tagKey,
		Ignore:    ignoreKey,
		Platforms: stem + "-platforms",
		Options:   stem + "-options",
	}
}

// Queried returns the keys whose presence makes a repository a mirror. They are asked
// for separately and the answers united, so that a repository that has one without the
// other is found and reported.
func (k Keys) Queried() []string { return []string{k.Image, k.Tags} }

// Relevant reports whether FromTags reads the resource tag key.
func (k Keys) Relevant(key string) bool {
	_, continues := k.continuation(key)
	return continues || slices.Contains(k.all(), key)
}

// Continuation returns the key that holds part n of a long list: the tag key itself
// for 1, and Tags-n above.
func (k Keys) Continuation(n int) string {
	if n <= 1 {
		return k.Tags
	}
	return k.Tags + "-" + strconv.Itoa(n)
}

func (k Keys) all() []string {
	return []string{k.Image, k.Tags, k.Ignore, k.Platforms, k.Options}
}

// continuation reports whether key has the form Tags-digits, and which digits.
func (k Keys) continuation(key string) (digits string, ok bool) {
	digits, found := strings.CutPrefix(key, k.Tags+"-")
	if !found || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", false
	}
	return digits, true
}

// nearMisses remarks on the keys that are nearly one of ours: a mistyped key would
// otherwise be ignored without a word.
func (k Keys) nearMisses(tags map[string]string) []string {
	var warnings []string
	for key := range tags {
		if k.Relevant(key) {
			continue
		}
		if meant, ok := nearest.Word(key, k.all()); ok {
			warnings = append(warnings, fmt.Sprintf("resource tag %q is not read; did you mean %q?", key, meant))
		}
	}
	slices.Sort(warnings)
	return warnings
}
