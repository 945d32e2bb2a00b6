package discover

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// String writes the terms of r as FormatTags does.
func (r Rules) String() string { return FormatTags(r) }

// FormatTags writes the terms of rules in the tag language: choosing terms in their
// order, narrowing terms, excluding terms. ParseRules reads it back to the same terms.
// What upstream-options says is not part of it; Format writes both. A range that the
// language has no words for appears in its own syntax.
func FormatTags(rules Rules) string { return strings.Join(formatTerms(rules), "/") }

func formatTerms(rules Rules) []string {
	var terms []string
	for _, term := range rules.Choose {
		terms = append(terms, term.String())
	}
	if rules.Newest > 0 {
		terms = append(terms, "newest:"+strconv.Itoa(rules.Newest))
	}
	if rules.Mode != "" {
		terms = append(terms, "mode:"+string(rules.Mode))
	}
	for _, term := range rules.Exclude {
		terms = append(terms, "-"+term.String())
	}
	return terms
}

// String writes the term in the tag language, without the "-" of an excluding one.
func (t Term) String() string {
	if t.Not {
		return "not:" + t.inverted().String()
	}
	switch t.Kind {
	case Glob:
		return formatGlob(t.Pattern)
	case Semver:
		if said, ok := words(t.Pattern); ok {
			return "semver:" + said
		}
		return "semver:" + t.Pattern
	case Regexp:
		return "re:" + base64.RawURLEncoding.EncodeToString([]byte(t.Pattern))
	case Pin:
		return t.Pattern + "@" + string(t.Digest)
	case Literal:
		return t.Pattern
	}
	return t.Pattern
}

func formatGlob(pattern string) string { return strings.ReplaceAll(pattern, "*", "+") }

// maxValue is the longest value of a resource tag, in characters.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-using-tags.html
const maxValue = 256

// Format writes spec as the resource tags that FromTags reads back to it, continuing a
// list that outgrows one value. Only what differs from the defaults is written. Its
// errors are about what resource tags cannot say.
func Format(spec Spec, keys Keys) (map[string]string, error) {
	tags := map[string]string{keys.Image: spec.Upstream.String()}
	if err := sayable(spec); err != nil {
		return nil, err
	}
	for i, value := range formatLists(spec.Rules) {
		tags[keys.Continuation(i+1)] = value
	}
	if platforms := formatPlatforms(spec.Platforms); platforms != "" {
		tags[keys.Platforms] = platforms
	}
	if options := strings.Join(slices.Concat(formatNarrowing(spec.Rules), formatSwitches(spec), formatPrune(spec.Prune)), " "); options != "" {
		tags[keys.Options] = options
	}
	for key, value := range tags {
		if len(value) > maxValue {
			return nil, fmt.Errorf("%s would be %d characters long, and a resource tag holds %d", key, len(value), maxValue)
		}
	}
	return tags, nil
}

// sayable returns an error about what resource tags have no words for.
func sayable(spec Spec) error {
	rules := spec.Rules
	for _, term := range slices.Concat(rules.Choose, rules.Exclude, rules.Keep) {
		if _, ok := words(term.Pattern); term.Kind == Semver && !ok {
			return fmt.Errorf("resource tags have no words for the range %q", term.Pattern)
		}
	}
	for _, term := range rules.Keep {
		if strings.Contains(term.String(), " ") {
			return fmt.Errorf("resource tags cannot say keep=%s: options are parted by spaces; several keep= options must all match", term)
		}
	}
	switch {
	case len(rules.Immutable) > 0 && len(rules.Mutable) > 0:
		return fmt.Errorf("resource tags say which tags are immutable or which are mutable, not both")
	case spec.Platforms.One != nil:
		return fmt.Errorf("resource tags cannot say that the image for %s alone is mirrored", spec.Platforms.One)
	}
	return nil
}

// formatLists packs the terms into as few values as they need, in order.
func formatLists(rules Rules) []string {
	var values []string
	for _, term := range formatTerms(rules) {
		last := len(values) - 1
		if last >= 0 && len(values[last])+1+len(term) <= maxValue {
			values[last] += "/" + term
			continue
		}
		values = append(values, term)
	}
	return values
}

func formatPlatforms(platforms Platforms) string {
	var names []string
	for _, platform := range platforms.Keep {
		names = append(names, platform.String())
	}
	return strings.Join(names, " ")
}

// formatNarrowing writes the options that say which tags are chosen.
func formatNarrowing(rules Rules) []string {
	var said []string
	for _, term := range rules.Keep {
		said = append(said, "keep="+term.String())
	}
	for _, o := range []struct {
		name string
		on   bool
	}{{"prerelease", rules.Prerelease}, {"floating", rules.Floating}, {"strict", rules.Strict}} {
		if o.on {
			said = append(said, o.name+"=true")
		}
	}
	if rules.Variant != "" {
		said = append(said, "variant="+formatGlob(rules.Variant))
	}
	if rules.Major != nil {
		said = append(said, "major="+strconv.Itoa(*rules.Major))
	}
	if rules.Minor != nil {
		said = append(said, "minor="+strconv.Itoa(*rules.Minor))
	}
	if rules.NewestBy != ByVersion {
		said = append(said, "newest-by="+string(rules.NewestBy))
	}
	return said
}

// formatSwitches writes the options that say what happens to the chosen tags.
func formatSwitches(spec Spec) []string {
	var said []string
	if spec.Rules.MinTags > 0 {
		said = append(said, "min-tags="+strconv.Itoa(spec.Rules.MinTags))
	}
	for _, glob := range spec.Rules.Immutable {
		said = append(said, "immutable="+formatGlob(glob))
	}
	for _, glob := range spec.Rules.Mutable {
		said = append(said, "mutable="+formatGlob(glob))
	}
	if !spec.Options.Replace {
		said = append(said, "replace=false")
	}
	if !spec.Options.Referrers {
		said = append(said, "referrers=false")
	}
	return said
}
