package prune_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/prune"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// somebody's tags, and what they are about.
var names = []string{
	"1.0", "1.1", "1.2", "2.0", "2.1", "latest", "stable", "keep-a", "keep-b",
	"sha256-" + strings.Repeat("0", 64), "sha256-" + strings.Repeat("1", 64) + ".sig",
}

func draw[T any](t *rapid.T, of []T, label string) T { return rapid.SampledFrom(of).Draw(t, label) }

// views draws the mirrors of up to three repositories.
func views(t *rapid.T) []prune.View {
	var views []prune.View
	for r := range rapid.IntRange(1, 3).Draw(t, "repositories") {
		held := map[string]ref.Digest{}
		for _, tag := range rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID).Draw(t, "tags") {
			held[tag] = digest(draw(t, []string{"a", "b", "c", "d"}, "digest"))
		}
		deletes := rapid.Bool().Draw(t, "last tag deletes")
		for m := range rapid.IntRange(1, 3).Draw(t, "mirrors") {
			v := prune.View{Mirror: mirrorOf(fmt.Sprintf("quay.io/org/app%d", m))}
			v.Mirror.Target.Path = fmt.Sprintf("app%d", r)
			v.Mirror.Prune = discover.Prune{
				On:          rapid.IntRange(0, 9).Draw(t, "on") > 0,
				Protect:     draw(t, [][]string{nil, {"keep-*"}, {"latest", "1.*"}}, "protect"),
				KeepAtLeast: rapid.IntRange(0, 4).Draw(t, "keep"),
				Grace:       time.Duration(rapid.IntRange(1, 5).Draw(t, "grace")) * 24 * time.Hour,
			}
			v.Wanted = rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 6, rapid.ID).Draw(t, "wanted")
			if rapid.IntRange(0, 9).Draw(t, "fails") == 0 {
				v.Err = errors.New("down")
			}
			if rapid.IntRange(0, 9).Draw(t, "higher") == 0 {
				v.Mirror.Rules.Mode = discover.ModeHigher
			}
			v.Listing = &prune.Listing{Held: held, LastTagDeletes: deletes}
			for tag := range held {
				v.Listing.Tags = append(v.Listing.Tags, tag)
			}
			if rapid.IntRange(0, 9).Draw(t, "doubt") == 0 {
				v.Listing.Doubt = "it is odd"
			}
			views = append(views, v)
		}
	}
	return views
}

// Whatever mirrors want and registries hold: a tag goes only if nobody wants it, nothing
// protects it, nothing failed, its grace is over, and no brake is exceeded.
func TestNothingGoesThatShouldStay(t *testing.T) {
	faults.Covers(t, "F80", "I7")
	var removed, stopped int
	property := func(t *rapid.T) {
		views := views(t)
		since := map[string]time.Time{}
		for _, v := range views {
			for tag := range v.Listing.Held {
				since[v.Mirror.Target.Tagged(tag).String()] = now.AddDate(0, 0, -rapid.IntRange(0, 9).Draw(t, "days"))
			}
		}
		never := draw(t, append([]string{"", ""}, names...), "never seen")
		r := run(func(r *prune.Run) {
			r.Limits = prune.Limits{Max: rapid.IntRange(0, 12).Draw(t, "max"), Share: prune.Share(draw(t, []int{0, 1000, 2000, 3333, 5000, 10_000}, "share"))}
			r.Since = func(tag ref.Reference, _ ref.Digest) time.Time {
				if tag.Tag == never {
					return time.Time{}
				}
				return since[tag.String()]
			}
			if rapid.IntRange(0, 9).Draw(t, "forgets") == 0 {
				r.Since = nil
			}
			if rapid.IntRange(0, 5).Draw(t, "row fails") == 0 {
				failed := views[0].Mirror.Target.Tagged("1.0")
				r.Planned = []plan.Action{{Verb: plan.Failed, To: failed, Err: errors.New("down")}}
			}
		})
		decided, _ := prune.Decide(views, r)
		gone := map[ref.Repository][]string{}
		for _, d := range decided {
			if d.Action.Verb != plan.Prune {
				stopped++
				continue
			}
			removed++
			tag, target := d.Action.To.Tag, d.Action.To.Repository
			gone[target] = append(gone[target], tag)
			if r.Since == nil || strings.HasPrefix(tag, "sha256-") || tag == never {
				t.Fatalf("%s goes", d.Action.To)
			}
			for _, p := range r.Planned {
				if p.To.Repository == target {
					t.Fatalf("%s goes, though %s failed", d.Action.To, p.To)
				}
			}
			for _, v := range views {
				if v.Mirror.Target != target {
					continue
				}
				switch {
				case slices.Contains(v.Wanted, tag), v.Mirror.Prune.Protects(tag):
					t.Fatalf("%s goes, and %s wants or protects it", d.Action.To, v.Mirror.Upstream)
				case v.Err != nil, !v.Mirror.Prune.On, len(v.Wanted) == 0, v.Listing.Doubt != "", v.Mirror.Rules.Mode == discover.ModeHigher:
					t.Fatalf("%s goes, and %s is in doubt: %+v", d.Action.To, v.Mirror.Upstream, v)
				case now.Sub(since[d.Action.To.String()]) < v.Mirror.Prune.Grace:
					t.Fatalf("%s goes within the grace of %s", d.Action.To, v.Mirror.Upstream)
				case d.Action.Have != v.Listing.Held[tag]:
					t.Fatalf("%s goes as %s", d.Action.To, d.Action.Have)
				}
			}
		}
		all := 0
		for target, tags := range gone {
			all += len(tags)
			checkTarget(t, views, target, tags, decided, r.Limits.Share)
		}
		if all > r.Limits.Max {
			t.Fatalf("%d tags go, and --prune-max is %d", all, r.Limits.Max)
		}
	}
	// Few examples remove anything: of a hundred, one time in twenty none did.
	for range 20 {
		rapid.Check(t, property)
	}
	if removed == 0 || stopped == 0 {
		t.Errorf("the property says nothing: %d removed, %d kept", removed, stopped)
	}
}

// checkTarget holds what goes of one repository against the brakes, and against what was
// said about images.
func checkTarget(t *rapid.T, views []prune.View, target ref.Repository, gone []string, decided []prune.Decision, share prune.Share) {
	for _, v := range views {
		if v.Mirror.Target != target {
			continue
		}
		own := 0
		for tag := range v.Listing.Held {
			if !strings.HasPrefix(tag, "sha256-") {
				own++
			}
		}
		if own-len(gone) < v.Mirror.Prune.KeepAtLeast {
			t.Fatalf("%s keeps %d tags, and was to keep %d", target, own-len(gone), v.Mirror.Prune.KeepAtLeast)
		}
		if len(gone)*10_000 > int(share)*own {
			t.Fatalf("%d of %d tags go, and --prune-max-share is %s", len(gone), own, share)
		}
		for _, d := range decided {
			if d.Action.To.Repository != target || d.Action.Verb != plan.Prune {
				continue
			}
			left := 0
			for tag, held := range v.Listing.Held {
				if held == d.Action.Have && !slices.Contains(gone, tag) {
					left++
				}
			}
			if d.Deletes != (v.Listing.LastTagDeletes && left == 0) {
				t.Fatalf("%s: deletes %t, and %d tags are left", d.Action.To, d.Deletes, left)
			}
		}
	}
}

// Decisions do not depend on the order in which mirrors and tags are told.
func TestDecisionsAreStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		views := views(t)
		first, _ := prune.Decide(views, run())
		shuffled := rapid.Permutation(views).Draw(t, "views")
		for _, v := range shuffled {
			slices.Sort(v.Listing.Tags)
		}
		later, _ := prune.Decide(shuffled, run())
		verbs := func(decided []prune.Decision) (all []string) {
			for _, d := range decided {
				all = append(all, fmt.Sprint(d.Action.To, " ", d.Action.Verb))
			}
			return all
		}
		if !slices.Equal(verbs(first), verbs(later)) {
			t.Fatalf("%v and then %v", verbs(first), verbs(later))
		}
	})
}
