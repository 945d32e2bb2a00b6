package discover

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A Spec is what a description asks for, wherever it is to be mirrored to.
type Spec struct {
	Upstream  ref.Repository
	Rules     Rules
	Platforms Platforms
	Options   Options
	Prune     Prune
}

// FromTags reads the resource tags of one repository. tags may hold other people's
// keys; they are ignored, and those that are nearly ours are remarked on in the
// warnings, which stop nothing.
//
// All problems are reported together, each a *SyntaxError of one line. With them the
// Spec is not to be followed; its Upstream is set where that much was readable.
//
// An optional resource tag with an empty value, a continuation among them, says as much
// as none: templates often write them, and so does a Change on its way.
func FromTags(tags map[string]string, keys Keys) (Spec, []string, error) {
	spec := Spec{Options: DefaultOptions()}
	var problems []error
	var err error

	spec.Upstream, err = parseImage(tags, keys)
	problems = append(problems, err)
	spec.Rules, err = parseLists(tags, keys)
	problems = append(problems, err)
	spec.Platforms, err = parsePlatforms(newSpan(keys.Platforms, tags[keys.Platforms]))
	problems = append(problems, err)
	said := newSpan(keys.Options, tags[keys.Options])
	problems = append(problems, parseOptions(said, &spec), checkPrune(spec, said))

	warnings := keys.nearMisses(tags)
	if err := errors.Join(problems...); err != nil {
		return Spec{Upstream: spec.Upstream}, warnings, err
	}
	return spec, slices.Concat(warnings, idle(spec.Rules, keys), idlePrune(spec.Prune, keys)), nil
}

func parseImage(tags map[string]string, keys Keys) (ref.Repository, error) {
	const expected = "a repository such as docker.io/library/nginx"
	value, ok := tags[keys.Image]
	if !ok {
		return ref.Repository{}, &SyntaxError{Key: keys.Image, Problem: "is missing", Expected: expected}
	}
	text := newSpan(keys.Image, value).trim()
	if text.empty() {
		return ref.Repository{}, text.problem(expected, "an empty value")
	}
	if scheme, _, found := strings.Cut(text.String(), "://"); found {
		return ref.Repository{}, text.problem(expected, "%q is not part of a repository", scheme+"://")
	}
	parsed, err := ref.Parse(text.String())
	if err != nil {
		return ref.Repository{}, text.problem(expected, "%v", err)
	}
	switch {
	case parsed.Digest != "":
		at := text.from(strings.IndexByte(text.String(), '@'))
		return parsed.Repository, at.problem(fmt.Sprintf("a repository alone; put the digest into %s, as NAME%s", keys.Tags, at), "a digest")
	case parsed.Tag != "":
		at := text.from(strings.LastIndexByte(text.String(), ':'))
		return parsed.Repository, at.problem(fmt.Sprintf("a repository alone; put the tag into %s", keys.Tags), "tag %q", parsed.Tag)
	}
	return parsed.Repository, nil
}

// parseLists reads the tag list with its continuations, and the tags to leave out.
func parseLists(tags map[string]string, keys Keys) (Rules, error) {
	var p parser
	if _, ok := tags[keys.Tags]; !ok {
		p.fail(&SyntaxError{Key: keys.Tags, Problem: "is missing", Expected: "the tags to mirror, such as 1.27.+; + alone stands for every tag"})
	}
	for n := 1; ; n++ {
		value, ok := tags[keys.Continuation(n)]
		if !ok && n > 1 {
			break
		}
		list := newSpan(keys.Continuation(n), value)
		if ok && (n == 1 || !list.trim().empty()) {
			p.list(list)
		}
	}
	for _, err := range misnumbered(tags, keys) {
		p.fail(err)
	}
	p.finish()
	if ignored := newSpan(keys.Ignore, tags[keys.Ignore]); !ignored.trim().empty() {
		p.ignored(ignored)
	}
	return p.rules, errors.Join(p.problems...)
}

// misnumbered finds the continuations that the count from 2 upward does not reach.
func misnumbered(tags map[string]string, keys Keys) []error {
	last := 1
	for {
		if _, ok := tags[keys.Continuation(last+1)]; !ok {
			break
		}
		last++
	}
	var stray []string
	for key := range tags {
		digits, ok := keys.continuation(key)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil || key != keys.Continuation(n) || n > last {
			stray = append(stray, key)
		}
	}
	slices.Sort(stray)
	var problems []error
	for _, key := range stray {
		problems = append(problems, newSpan(key, tags[key]).problem(
			fmt.Sprintf("continuations numbered from 2 without a gap; the next would be %s", keys.Continuation(last+1)),
			"the key does not continue the list"))
	}
	return problems
}

// parsePlatforms reads "all" or a list of platforms.
func parsePlatforms(value span) (Platforms, error) {
	const expected = "all, or platforms such as linux/amd64 linux/arm64"
	var platforms Platforms
	var problems []error
	fields := value.fields()
	if len(fields) == 1 && fields[0].String() == "all" {
		return Platforms{}, nil
	}
	for _, field := range fields {
		platform, err := ref.ParsePlatform(field.String())
		switch {
		case err != nil:
			problems = append(problems, field.problem(expected, "%q is not a platform", field))
		case !slices.Contains(platforms.Keep, platform):
			platforms.Keep = append(platforms.Keep, platform)
		}
	}
	return platforms, errors.Join(problems...)
}

// idle remarks on switches that have nothing to act on, because literals and pins are
// taken as they are written.
func idle(rules Rules, keys Keys) []string {
	many := func(term Term) bool { return !term.ChoosesOne() }
	if rules.Newest > 0 || rules.Mode != "" || slices.ContainsFunc(rules.Choose, many) {
		return nil
	}
	var without []string
	for _, option := range formatNarrowing(rules) {
		without = append(without, fmt.Sprintf("%s: %s has no effect, since %s names single tags only", keys.Options, option, keys.Tags))
	}
	return without
}
