package discover_test

import (
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// FuzzFromTags: nothing in a resource tag makes the reader panic, every problem is a
// SyntaxError inside of its value, and what was understood can be printed and read.
func FuzzFromTags(f *testing.F) {
	faults.Covers(f, "I16")
	f.Add("docker.io/library/nginx", "1.27.+/latest/-+-rc+", "newest:5/mode:higher", "re:YXxi", "linux/amd64", "variant=alpine major=6")
	f.Add("quay.io:443/org/app", "semver:ge1.2 lt2.0/semver:1.2 - 1.9", "a@"+aDigest, "-semver:1.x", "all", "immutable=1.+")
	f.Add("nginx:1", "//", "mode:mode:", "re:+/=", "linux", "=")
	f.Add("nginx", "not:1.+/not:re:YXxi", "-not:a", "semver:ge1", "", "keep=not:semver:ge1 keep=re:YXxi mutable=latest")
	f.Add("", "--", "@", ":", " ", "x==")
	f.Fuzz(func(t *testing.T, image, tags, more, ignore, platforms, options string) {
		spec, _, err := discover.FromTags(map[string]string{
			keys.Image: image, keys.Tags: tags, keys.Continuation(2): more,
			keys.Ignore: ignore, keys.Platforms: platforms, keys.Options: options,
		}, keys)
		if err != nil {
			checkProblems(t, err)
			return
		}
		printed := discover.FormatTags(spec.Rules)
		read, err := discover.ParseRules("printed", printed)
		if err != nil {
			t.Fatalf("%q was printed as %q: %v", tags, printed, err)
		}
		if again := discover.FormatTags(read); again != printed {
			t.Fatalf("%q was printed again as %q", printed, again)
		}
		written, err := discover.Format(spec, keys)
		if err != nil {
			t.Skip(err)
		}
		if _, _, err := discover.FromTags(written, keys); err != nil {
			t.Fatalf("%q was written as %q: %v", options, written, err)
		}
	})
}

func checkProblems(t *testing.T, err error) {
	t.Helper()
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, part := range joined.Unwrap() {
			checkProblems(t, part)
		}
		return
	}
	var problem *discover.SyntaxError
	if !errors.As(err, &problem) {
		t.Fatalf("%v (%T) is no SyntaxError", err, err)
	}
	if problem.Position < 1 || problem.Position > utf8.RuneCountInString(problem.Value)+1 {
		t.Fatalf("position %d lies outside of %q", problem.Position, problem.Value)
	}
}
