package discover

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/nearest"
)

// An option is one key of upstream-options and what its value does. One that takes
// terms, whose problems are their own, has add instead of set.
type option struct {
	name     string
	expected string
	repeats  bool
	set      func(value span, rules *Rules, options *Options) bool
	add      func(value span, rules *Rules) error
	prune    func(value span, prune *Prune) bool // in place of set
}

const (
	expectedBool   = "true or false"
	expectedNumber = "a number from 0 to 999999999"
	expectedGlob   = "a name in which + stands for any run of characters"
)

// options is what upstream-options understands, in the order in which it is printed.
var options = append([]option{
	{name: "keep", expected: expectedFilter, repeats: true, add: addKeep},
	{name: "prerelease", expected: expectedBool, set: func(v span, r *Rules, _ *Options) bool { return setBool(v, &r.Prerelease) }},
	{name: "floating", expected: expectedBool, set: func(v span, r *Rules, _ *Options) bool { return setBool(v, &r.Floating) }},
	{name: "strict", expected: expectedBool, set: func(v span, r *Rules, _ *Options) bool { return setBool(v, &r.Strict) }},
	{name: "variant", expected: expectedGlob, set: func(v span, r *Rules, _ *Options) bool { return setVariant(v, &r.Variant) }},
	{name: "major", expected: expectedNumber, set: func(v span, r *Rules, _ *Options) bool { return setNumber(v, &r.Major) }},
	{name: "minor", expected: expectedNumber, set: func(v span, r *Rules, _ *Options) bool { return setNumber(v, &r.Minor) }},
	{name: "newest-by", expected: "version, created or name", set: func(v span, r *Rules, _ *Options) bool { return setOrder(v, &r.NewestBy) }},
	{name: "min-tags", expected: expectedNumber, set: func(v span, r *Rules, _ *Options) bool { return setCount(v, &r.MinTags) }},
	{name: "immutable", expected: expectedGlob, repeats: true, set: func(v span, r *Rules, _ *Options) bool { return addGlob(v, &r.Immutable) }},
	{name: "mutable", expected: expectedGlob, repeats: true, set: func(v span, r *Rules, _ *Options) bool { return addGlob(v, &r.Mutable) }},
	{name: "replace", expected: expectedBool, set: func(v span, _ *Rules, o *Options) bool { return setBool(v, &o.Replace) }},
	{name: "referrers", expected: expectedBool, set: func(v span, _ *Rules, o *Options) bool { return setBool(v, &o.Referrers) }},
}, pruneOptions()...)

// parseOptions reads "key=value key=value" into what it speaks of.
func parseOptions(value span, spec *Spec) error {
	var problems []error
	seen := make(map[string]bool)
	for _, field := range value.fields() {
		if err := parseOption(field, seen, spec); err != nil {
			problems = append(problems, err)
		}
	}
	if seen["immutable"] && seen["mutable"] && len(problems) == 0 {
		problems = append(problems, value.trim().problem("one of them; mutable leaves every other tag immutable", "immutable and mutable are given"))
	}
	return errors.Join(problems...)
}

func parseOption(field span, seen map[string]bool, spec *Spec) error {
	name, value, found := field.cut('=')
	known, ok := optionNamed(name.String())
	switch {
	case !ok:
		return name.problem(expectedOption(name.String()), "unknown option %q", name)
	case !found:
		return name.problem(known.name+"=VALUE, where the value is "+known.expected, "option %q has no value", name)
	case seen[known.name] && !known.repeats:
		return name.problem("each option once", "a second %q", name)
	}
	seen[known.name] = true
	if known.add != nil {
		return known.add(value, &spec.Rules)
	}
	if !known.read(value, spec) {
		return value.problem(known.expected, "%q is no value for %s", value, known.name)
	}
	return nil
}

// read puts a value where it belongs, and reports whether it is one.
func (o option) read(value span, spec *Spec) bool {
	if o.prune != nil {
		return o.prune(value, &spec.Prune)
	}
	return o.set(value, &spec.Rules, &spec.Options)
}

func optionNamed(name string) (option, bool) {
	for _, o := range options {
		if o.name == name {
			return o, true
		}
	}
	return option{}, false
}

// expectedOption names the option that was probably meant, or else all of them.
func expectedOption(name string) string {
	var names []string
	for _, o := range options {
		names = append(names, o.name)
	}
	if meant, ok := nearest.Word(name, names); ok {
		return meant
	}
	return "one of " + strings.Join(names, ", ")
}

func setBool(value span, to *bool) bool {
	*to = value.String() == "true"
	return *to || value.String() == "false"
}

func setNumber(value span, to **int) bool {
	var n int
	if !setCount(value, &n) {
		return false
	}
	*to = &n
	return true
}

var digits = regexp.MustCompile(`^[0-9]{1,9}$`)

func setCount(value span, to *int) bool {
	if !digits.MatchString(value.String()) {
		return false
	}
	n, err := strconv.Atoi(value.String())
	*to = n
	return err == nil
}

func setOrder(value span, to *Order) bool {
	switch value.String() {
	case "version":
		*to = ByVersion
	case string(ByCreated):
		*to = ByCreated
	case string(ByName):
		*to = ByName
	default:
		return false
	}
	return true
}

func setVariant(value span, to *string) bool {
	pattern, err := parseGlob(value)
	*to = pattern
	return err == nil
}

func addGlob(value span, to *[]string) bool {
	pattern, err := parseGlob(value)
	*to = append(*to, pattern)
	return err == nil
}

// addKeep reads the value of a keep option. A number alone is a tag, and hardly ever one
// that was meant.
func addKeep(value span, rules *Rules) error {
	if digits.MatchString(value.String()) {
		return value.problem(expectedFilter+"; newest:"+value.String()+" in the list of tags keeps that many versions", "%q is a number", value)
	}
	term, err := filterTerm(Term{Text: "keep=" + value.String(), Key: value.key, Position: value.position()}, value)
	if err != nil {
		return err
	}
	rules.Keep = append(rules.Keep, term)
	return nil
}
