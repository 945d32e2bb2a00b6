package selection_test

import (
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

// TestTrapsOfTheOldTools has a row for each place where the tools that this one replaces
// choose other tags than their users meant: what happens there, and what happens here.
func TestTrapsOfTheOldTools(t *testing.T) {
	const (
		redis   = "6 6.2 6.2.14 6.2.14-alpine 6.2.14-alpine3.18 6-alpine 7.0.0-rc1 7.0.15 7.2.4 7.2.4-alpine latest"
		busybox = "1 1.30.1 1.31 1.31-musl 1.31.0 1.31.0-musl 1.31.8-musl 1.31.9-musl 1.31.8 latest musl"
		bitnami = "16.4.0 16.4.0-debian-11-r9 16.4.0-debian-12-r1 16.4.0-debian-12-r10 16.4.0-debian-12 16.4 16"
	)
	for _, test := range []struct {
		name, tags, options, upstream string
		target                        string
		want                          string
		warning                       string // part of one
	}{
		// replicant
		{name: "replicant: higher never begins on an empty destination", tags: "mode:higher", upstream: redis, want: "7.2.4"},
		{name: "replicant: and then goes on from there", tags: "mode:higher", upstream: redis + " 7.2.5", target: "7.2.4", want: "7.2.5"},
		{name: "replicant: a destination of other variants only is empty", tags: "mode:higher", upstream: redis, target: "6-alpine latest", want: "7.2.4"},
		{name: "replicant: 6 and 6.2 pass for versions", tags: "mode:semver", options: "major=6", upstream: redis, want: "6.2.14"},
		{name: "replicant: they do where asked", tags: "mode:semver", options: "major=6 floating=true", upstream: redis, want: "6.2.14 6.2 6"},
		{name: "replicant: 1.2 and 1.2.0 tie at random", tags: "mode:highest", upstream: "1.2.0 1.2 v1.2.0", want: "1.2.0 v1.2.0"},
		{name: "replicant: compatibility is exact", tags: "mode:highest", options: "variant=alpine", upstream: redis, want: "7.2.4-alpine"},
		{name: "replicant: compatibility cannot say any alpine", tags: "mode:semver", options: "variant=alpine+", upstream: redis, want: "7.2.4-alpine 6.2.14-alpine 6.2.14-alpine3.18"},
		{name: "replicant: compatibility cannot say debian-12", tags: "newest:1", options: "variant=debian-12", upstream: bitnami, want: "16.4.0-debian-12-r10"},
		{name: "replicant: compatibility cannot say any Debian", tags: "newest:2", options: "variant=debian-+", upstream: bitnami, want: "16.4.0-debian-12-r10 16.4.0-debian-11-r9"},
		{name: "replicant: a pre-release is named exactly or never", tags: "mode:highest", options: "prerelease=true", upstream: "1.0.0 1.1.0-rc.1 1.1.0-rc.2", want: "1.1.0-rc.2"},
		{name: "replicant: 1.2.3-rc.1-alpine is no alpine", tags: "mode:semver", options: "variant=alpine prerelease=true", upstream: "1.2.3-rc.1-alpine 1.2.2-alpine", want: "1.2.3-rc.1-alpine 1.2.2-alpine"},
		{name: "replicant: calendar versions are dropped with the dates", tags: "mode:highest", upstream: "2023.12.4 2024.8.1 20240101 2024-08-07", want: "2024.8.1"},
		{name: "replicant: calendar versions with a leading zero", tags: "newest:2", upstream: "22.04 24.04 24.10 noble", want: "24.10 24.04"},
		{name: "replicant: four-part versions are rejected", tags: "newest:1", upstream: "4.0.8.1874 4.0.9.2244 4.0.9", want: "4.0.9.2244"},
		{name: "replicant: underscores are rejected", tags: "newest:1", options: "variant=jre", upstream: "21.0.4_7-jre 21.0.4_8-jre 21.0.3_9-jre", want: "21.0.4_8-jre"},
		{name: "replicant: pinned-major 0 looks unset", tags: "mode:highest", options: "major=0", upstream: "0.9.0 1.0.0", want: "0.9.0"},
		{name: "replicant: all ignores the filters", tags: "mode:all", options: "major=6 variant=alpine", upstream: redis, want: "6.2.14-alpine 6-alpine"},

		// dregsy
		{name: "dregsy: a filter that matches nothing means all", tags: "9.+", upstream: busybox, want: "", warning: "matches no tag"},
		{name: "dregsy: keep alone is ignored by one relay", tags: "+", options: "keep=+-musl", upstream: busybox, want: "1.31.9-musl 1.31.8-musl 1.31-musl 1.31.0-musl"},
		{name: "dregsy: keep that matches nothing means all", tags: "+", options: "keep=9.+", upstream: busybox, want: "", warning: "left out by a keep term"},
		{name: "dregsy: foo|bar means begins with foo or ends with bar", tags: re("1.30.1|musl"), upstream: busybox, want: "1.30.1 musl"},
		{name: "dregsy: so it does in keep", tags: "+", options: "keep=" + re("1.30.1|musl"), upstream: busybox, want: "1.30.1 musl"},
		{name: "dregsy: and inverted", tags: "not:" + re("1.+|latest"), upstream: busybox, want: "1 musl"},
		{name: "dregsy: an inverted expression", tags: "not:" + re(".*musl|1|latest"), upstream: busybox, want: "1.31.8 1.31 1.31.0 1.30.1"},
		{name: "dregsy: an inverted keep", tags: "semver:ge1.31", options: "keep=not:+.8", upstream: busybox, want: "1.31.0"},
		{name: "dregsy: every keep must match", tags: "1.+", options: "keep=1.31.+ keep=+-musl", upstream: busybox, want: "1.31.9-musl 1.31.8-musl 1.31.0-musl"},
		{name: "dregsy: 1.31.0-musl is below 1.31.0", tags: "semver:ge1.31.0", options: "variant=musl", upstream: busybox, want: "1.31.9-musl 1.31.8-musl 1.31.0-musl"},
		{name: "dregsy: 1.31.9-musl is below 1.31.9", tags: "semver:lt1.31.9", options: "variant=musl", upstream: busybox, want: "1.31.8-musl 1.31.0-musl"},
		{name: "dregsy: keep says the variant of a range", tags: "semver:ge1.31.0 lt1.31.9", options: "keep=+-musl", upstream: busybox, want: "1.31.8-musl 1.31.0-musl"},
		{name: "dregsy: its reading, where it is asked for", tags: "semver:lt1.31.9", options: "strict=true prerelease=true keep=+-musl", upstream: busybox, want: "1.31.8-musl 1.31.0-musl"},
		{name: "dregsy: strict takes a suffix for a pre-release", tags: "semver:ge1.31.0 lt1.31.9", options: "strict=true", upstream: busybox, want: "1.31.8 1.31.0"},
		{name: "dregsy: short versions with a suffix are none", tags: "newest:1", options: "variant=slim", upstream: "3.9-slim 3.8-slim 3.10-slim", want: "3.10-slim"},
		{name: "dregsy: keep latest drops a tag that was named", tags: "1.30.1/newest:1", upstream: busybox, want: "1.30.1 1.31.8"},
		{name: "dregsy: keep never drops a tag that was named", tags: "latest/1.+", options: "keep=+-musl", upstream: "latest 1.0 1.0-musl", want: "latest 1.0-musl"},
		{name: "dregsy: a tag that is named and matched is copied twice", tags: "1.31.0/1.31.+", options: "keep=+.0", upstream: busybox, want: "1.31.0"},
		{name: "dregsy: keep latest N keeps all that is no version", tags: "+/newest:1", upstream: "1.0.0 1.1.0 latest edge", want: "1.1.0"},
		{name: "dregsy: keep latest N sorts names as text", tags: "build-+/newest:1", options: "newest-by=name", upstream: "build-9 build-10", want: "build-10"},
		{name: "dregsy: keep latest counts after keep", tags: "1.+/newest:1", options: "keep=not:+.9", upstream: "1.0.7 1.0.8 1.0.9", want: "1.0.8"},

		// docker-sync
		{name: "docker-sync: @semver takes dates and short forms", tags: "mode:semver", upstream: "1 1.27 1.27.1 20230101 latest", want: "1.27.1"},
		{name: "docker-sync: ? and [ ] sometimes are wildcards", tags: re("1.2[56]"), upstream: "1.25 1.26 1.27", want: "1.26 1.25"},
		{name: "docker-sync: ignoredTags are exact", tags: "+/-1.27+", upstream: "1.26 1.27 1.27-alpine", want: "1.26"},
	} {
		t.Run(test.name, func(t *testing.T) {
			result := compile(t, test.tags, test.options).Select(selection.Input{
				Upstream: list(test.upstream), UpstreamListed: true, Target: list(test.target),
			})
			if result.Err != nil {
				t.Fatal(result.Err)
			}
			if got := pickedTags(result); got != test.want {
				t.Errorf("picks %q, want %q\ndropped %v", got, test.want, result.Dropped)
			}
			switch joined := strings.Join(result.Warnings, "\n"); {
			case test.warning == "" && joined != "":
				t.Errorf("unwanted warnings:\n%s", joined)
			case !strings.Contains(joined, test.warning):
				t.Errorf("warnings %q, want %q", joined, test.warning)
			}
		})
	}
}
