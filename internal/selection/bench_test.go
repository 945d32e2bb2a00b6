package selection_test

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

// BenchmarkSelect chooses from 100,000 tags with every construct at once.
func BenchmarkSelect(b *testing.B) {
	tags := manyTags(100_000)
	created := make(map[string]time.Time, len(tags))
	for i, tag := range tags {
		created[tag] = time.Unix(1_700_000_000+int64(i*7919%100_000), 0)
	}
	re := base64.RawURLEncoding.EncodeToString([]byte(`build-[0-9]+-(amd64|arm64)`))
	for _, bench := range []struct{ name, tags, options string }{
		{"glob", "1.+", ""},
		{"semver", "semver:ge10.2 lt20.0", ""},
		{"newest", "newest:5", ""},
		{"keep", "+", "keep=1.+ keep=not:+-rc+"},
		{"keep of variants", "semver:1.x/newest:50", "keep=+-alpine"},
		{"not", "not:1.+", ""},
		{"not expression", "not:re:" + re, ""},
		{"created", "1.+/newest:5", "newest-by=created"},
		{
			"everything",
			"latest/1.+-alpine/9+/+.3.+/semver:ge10.2 lt20.0/semver:30 - 35/re:" + re + "/not:2.+/newest:50/mode:higher/-+-rc+/-semver:lt3.0/-re:" + re,
			"prerelease=true variant=alpine+ mutable=latest keep=not:+5 keep=semver:ge1 keep=not:re:" + re,
		},
	} {
		for _, n := range []int{10_000, 100_000} { // memory is to grow with the tags, and no faster
			b.Run(fmt.Sprintf("%s/%d", bench.name, n), func(b *testing.B) {
				selector := compile(b, bench.tags, bench.options)
				in := selection.Input{Upstream: tags[:n], UpstreamListed: true, Target: tags[:1000], Created: created}
				b.ReportAllocs()
				for b.Loop() {
					result := selector.Select(in)
					if len(result.Picks)+len(result.Dropped) < n {
						b.Fatalf("%d picks and %d dropped of %d tags", len(result.Picks), len(result.Dropped), n)
					}
				}
			})
		}
	}
}

// manyTags makes up a repository of n tags: releases in variants, pre-releases,
// floating tags, builds and hashes.
func manyTags(n int) []string {
	tags := make([]string, 0, n)
	for i := 0; len(tags) < n; i++ {
		version := fmt.Sprintf("%d.%d.%d", i/1000, i/20%50, i%20)
		tags = append(tags,
			version, "v"+version, version+"-alpine", version+"-alpine3.20", version+"-slim-bookworm",
			version+"-rc.1", fmt.Sprintf("%d.%d-alpine-%d", i/1000, i/20%50, i),
			fmt.Sprintf("build-%d-amd64", i), fmt.Sprintf("%07x", i*2654435761%(1<<28)),
			fmt.Sprintf("sha256-%064x.sig", i))
	}
	return tags[:n]
}

// A failer is a test, a benchmark, or one check of a property.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func compile(tb failer, tags, options string) *selection.Selector {
	tb.Helper()
	selector, err := selection.Compile(rulesOf(tb, tags, options))
	if err != nil {
		tb.Fatal(err)
	}
	return selector
}

func rulesOf(tb failer, tags, options string) discover.Rules {
	tb.Helper()
	keys := discover.NewKeys("", "")
	spec, _, err := discover.FromTags(map[string]string{
		keys.Image: "docker.io/library/x", keys.Tags: tags, keys.Options: options,
	}, keys)
	if err != nil {
		tb.Fatal(err)
	}
	return spec.Rules
}
