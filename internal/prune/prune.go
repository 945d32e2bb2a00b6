// Package prune decides which tags of a target are to be removed: those that no rule
// wants any more. Views and the time flow in, decisions with their reasons flow out.
//
// Removing is the one thing that the program cannot make good again, so every doubt
// keeps a tag: a list that may not be whole, a row that failed, a mirror that was left
// out. docs/adr/0007 says why each brake is where it is.
//
// The package is pure: it knows no registry, no file and no clock.
package prune

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A View is what a run knows of one mirror, and of its target where it prunes. All
// mirrors of the run have one: what any of them wants stays.
type View struct {
	Mirror *discover.Mirror
	Wanted []string // by their names at the target
	Err    error    // why Wanted or the listing is not known, or not whole

	// Listing is what the target holds besides, nil where the mirror does not prune or
	// wants everything that is there.
	Listing *Listing
}

// A Listing is what was found at a target beside what a mirror wants there.
type Listing struct {
	Tags []string              // the whole list of the target
	Held map[string]ref.Digest // what the unwanted ones point at; every tag where LastTagDeletes
	Why  map[string]string     // why the mirror does not want a tag

	// Doubt says why upstream's list may not be what it seems, "" where nothing speaks
	// against it.
	Doubt string

	// LastTagDeletes says that the registry deletes an image with its last tag.
	LastTagDeletes bool
}

// A Run is what all decisions of a run share.
type Run struct {
	Planned []plan.Action // everything else that the run is to do
	Limits  Limits
	Now     time.Time

	// Since tells since when a tag, while it meant that digest, is known to be
	// unwanted; the zero time where that was not known before. Nil means that nothing is
	// remembered from run to run, and then nothing is removed.
	Since func(tag ref.Reference, d ref.Digest) time.Time

	// Veto says why nothing of a repository may be removed by this run, "" where nothing
	// stands against it. Nil vetoes nothing.
	Veto func(ref.Repository) string
}

// A Decision is about one tag that nobody wants. Its verb is Prune, Stale or Blocked.
type Decision struct {
	Action  plan.Action
	Deletes bool // the image goes with the tag, which is its last one

	staysAs string // a tag that the image keeps, where it would else be deleted
}

// An Observation is what a run saw at one target, for the next run to remember.
type Observation struct {
	Target   ref.Repository
	Certain  bool                  // nothing else is unwanted
	Unwanted map[string]ref.Digest // what each unwanted tag meant; nil where nothing can be said
	Wanted   []string
}

// Decide decides about every tag that is unwanted at a target, sorted by target and tag.
func Decide(views []View, run Run) ([]Decision, []Observation) {
	unsound := unsound(run.Planned)
	var decided []Decision
	var observed []Observation
	for _, t := range targets(views) {
		some, saw := t.decide(run, unsound[t.repo])
		decided = append(decided, some...)
		observed = append(observed, saw)
	}
	run.brake(decided)
	return decided, observed
}

// unsound names, for each repository, a row of the plan that failed or is blocked by an
// error.
func unsound(planned []plan.Action) map[ref.Repository]string {
	rows := make(map[ref.Repository]string)
	for _, a := range planned {
		if repo := a.To.Repository; rows[repo] == "" && (a.Verb == plan.Failed || a.Err != nil) {
			rows[repo] = fmt.Sprintf("%s is %s", cmp.Or(a.To.Tag, "the mirror of "+a.From.Repository.String()), a.Verb)
		}
	}
	return rows
}

// target is one repository, and all mirrors of the run that write to it.
type target struct {
	repo  ref.Repository
	views []View
}

func targets(views []View) []target {
	byRepo := make(map[ref.Repository][]View)
	for _, v := range views {
		byRepo[v.Mirror.Target] = append(byRepo[v.Mirror.Target], v)
	}
	all := make([]target, 0, len(byRepo))
	for repo, views := range byRepo {
		all = append(all, target{repo, views})
	}
	slices.SortFunc(all, func(a, b target) int { return a.repo.Compare(b.repo) })
	return all
}

// candidate is a tag that nobody wants.
type candidate struct {
	Decision
	since time.Time // zero where it was not known before
}

func (c *candidate) say(format string, args ...any) {
	c.Action.Reason += "; " + fmt.Sprintf(format, args...)
}

func (t target) decide(run Run, unsound string) ([]Decision, Observation) {
	saw := Observation{Target: t.repo, Certain: true, Wanted: slices.Sorted(maps.Keys(t.wanted()))}
	candidates := t.candidates(run)
	if reason := cmp.Or(t.cancelled(run), unsound); reason != "" {
		saw.Certain = !t.prunes()
		for _, c := range candidates {
			c.say("prune cancelled: %s", reason)
		}
		return decisions(candidates), saw
	}
	saw.Unwanted = make(map[string]ref.Digest, len(candidates))
	for _, c := range candidates {
		saw.Unwanted[c.Action.To.Tag] = c.Action.Have
	}
	if reason := run.reportOnly(); reason != "" {
		for _, c := range candidates {
			c.say("report only: %s", reason)
		}
		return decisions(candidates), saw
	}
	due := t.sparing(t.due(candidates, run))
	t.mark(due, run.Limits.Share)
	return decisions(candidates), saw
}

func decisions(candidates []*candidate) []Decision {
	decided := make([]Decision, 0, len(candidates))
	for _, c := range candidates {
		decided = append(decided, c.Decision)
	}
	return decided
}

// prunes reports whether any of the mirrors asks for it.
func (t target) prunes() bool {
	return slices.ContainsFunc(t.views, func(v View) bool { return v.Mirror.Prune.On })
}

// wanted is what any of the mirrors wants.
func (t target) wanted() map[string]bool {
	wanted := make(map[string]bool)
	for _, v := range t.views {
		for _, tag := range v.Wanted {
			wanted[tag] = true
		}
	}
	return wanted
}

// tags are the target's, without those that belong to an image and follow it.
func (t target) tags() map[string]bool {
	tags := make(map[string]bool)
	for _, l := range t.listings() {
		for _, tag := range l.Tags {
			if !Follows(tag) {
				tags[tag] = true
			}
		}
	}
	return tags
}

// Follows reports whether a tag is of the form of those that belong to an image and
// follow it: signatures, SBOMs, lists of referrers. None of them is ever removed.
func Follows(tag string) bool {
	return strings.HasPrefix(tag, "sha256-") || strings.HasPrefix(tag, "sha512-")
}

func (t target) listings() []*Listing {
	var listings []*Listing
	for _, v := range t.views {
		if v.Mirror.Prune.On && v.Listing != nil {
			listings = append(listings, v.Listing)
		}
	}
	return listings
}

func (t target) protects(tag string) bool {
	return slices.ContainsFunc(t.views, func(v View) bool { return v.Mirror.Prune.Protects(tag) })
}

// candidates are the tags that nobody wants and nothing protects, by name.
func (t target) candidates(run Run) []*candidate {
	wanted := t.wanted()
	var all []*candidate
	for _, tag := range slices.Sorted(maps.Keys(t.tags())) {
		held, why := t.about(tag)
		if wanted[tag] || t.protects(tag) || held == "" {
			continue
		}
		m := t.mirror()
		c := &candidate{Decision: Decision{Action: plan.Action{
			Verb: plan.Stale, From: ref.Reference{Repository: m.Upstream}, To: t.repo.Tagged(tag),
			Have: held, Reason: why, Mirror: m,
		}}}
		if run.Since != nil {
			c.since = run.Since(c.Action.To, held)
		}
		all = append(all, c)
	}
	return all
}

// mirror is the one that rows about the target's tags name: the first that prunes.
func (t target) mirror() *discover.Mirror {
	at := slices.IndexFunc(t.views, func(v View) bool { return v.Mirror.Prune.On })
	return t.views[max(at, 0)].Mirror
}

// about says what a tag points at, and why it is not wanted.
func (t target) about(tag string) (held ref.Digest, why string) {
	var reasons []string
	for _, l := range t.listings() {
		held = cmp.Or(held, l.Held[tag])
		if reason := l.Why[tag]; reason != "" && !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	return held, cmp.Or(strings.Join(reasons, "; "), "no rule chooses it")
}

// cancelled says why nothing can be concluded about the target's tags, "" where
// everything is known.
func (t target) cancelled(run Run) string {
	for _, v := range t.views {
		if reason := v.cancels(); reason != "" {
			return reason
		}
	}
	if run.Veto != nil {
		return run.Veto(t.repo)
	}
	return ""
}

// cancels says why the mirror keeps every tag of its target, "" where nothing is wrong.
func (v View) cancels() string {
	of := v.Mirror.Upstream.String()
	switch {
	case v.Err != nil:
		return "the mirror of " + of + " failed"
	case !v.Mirror.Prune.On:
		return "the mirror of " + of + " writes here too, and does not prune"
	case v.Mirror.Rules.Mode == discover.ModeHigher:
		return "mode:higher wants only what is new"
	case len(v.Wanted) == 0:
		return "the rules for " + of + " choose no tag"
	case v.Listing != nil:
		return v.Listing.Doubt
	}
	return ""
}

// reportOnly says what is missing before anything may be removed at all.
func (r Run) reportOnly() string {
	switch {
	case r.Since == nil:
		return "without --state it is not known how long it has been so"
	case r.Limits.None():
		return "--prune-max and --prune-max-share say how many tags may go"
	}
	return ""
}

// due returns the candidates whose grace is over, those that are unwanted longest first.
func (t target) due(candidates []*candidate, run Run) []*candidate {
	var wait time.Duration
	for _, v := range t.views {
		wait = max(wait, v.Mirror.Prune.Wait())
	}
	var due []*candidate
	for _, c := range candidates {
		switch {
		case c.since.IsZero(): // however short the grace, one run has to have shown it
			c.say("it may go from %s on", run.Now.Add(wait).UTC().Format(time.RFC3339))
		case run.Now.Before(c.since.Add(wait)):
			c.say("it may go from %s on", c.since.Add(wait).UTC().Format(time.RFC3339))
		default:
			due = append(due, c)
		}
	}
	slices.SortStableFunc(due, func(a, b *candidate) int { return a.since.Compare(b.since) })
	return due
}

// sparing returns as many of those due as leave the target what it keeps in any case.
func (t target) sparing(due []*candidate) []*candidate {
	least := 0
	for _, v := range t.views {
		least = max(least, v.Mirror.Prune.KeepAtLeast)
	}
	room := min(max(len(t.tags())-least, 0), len(due))
	for _, c := range due[room:] {
		c.say("kept, since the repository keeps at least %d tags", least)
	}
	return due[:room]
}

// mark lets those due go, unless they are more than the share allows.
func (t target) mark(due []*candidate, share Share) {
	all := len(t.tags())
	if !share.allows(len(due), all) {
		for _, c := range due {
			c.Action.Verb = plan.Blocked
			c.say("%d of %d tags are due to go, more than --prune-max-share %s allows: none goes", len(due), all, share)
		}
		return
	}
	for _, c := range due {
		c.Action.Verb = plan.Prune
	}
	t.foretell(due)
}

// foretell notes what becomes of the images whose tags go, where the registry deletes
// those that have none left.
func (t target) foretell(going []*candidate) {
	goes := make(map[string]bool)
	for _, c := range going {
		goes[c.Action.To.Tag] = true
	}
	stays := make(map[ref.Digest]string) // a tag that stays
	deletes := false
	for _, l := range t.listings() {
		deletes = deletes || l.LastTagDeletes
		for _, tag := range slices.Sorted(maps.Keys(l.Held)) {
			if !goes[tag] && stays[l.Held[tag]] == "" {
				stays[l.Held[tag]] = tag
			}
		}
	}
	for _, c := range going {
		if deletes {
			c.staysAs = stays[c.Action.Have]
			c.Deletes = c.staysAs == ""
		}
	}
}

// brake stops all pruning of a run that would remove too many tags.
func (r Run) brake(decided []Decision) {
	n := 0
	for _, d := range decided {
		if d.Action.Verb == plan.Prune {
			n++
		}
	}
	if n <= r.Limits.Max {
		return
	}
	for i := range decided {
		d := &decided[i]
		if d.Action.Verb == plan.Prune {
			d.Action.Verb, d.Deletes = plan.Blocked, false
			d.Action.Reason += fmt.Sprintf("; %d tags of this run are due to go, more than --prune-max %d allows: none goes", n, r.Limits.Max)
		}
	}
}

// Actions returns the decisions as rows of a plan.
func Actions(decided []Decision) []plan.Action {
	actions := make([]plan.Action, 0, len(decided))
	for _, d := range decided {
		a := d.Action
		switch {
		case a.Verb != plan.Prune:
		case d.Deletes:
			a.Reason += "; its image has no other tag left, and the registry deletes it too"
		case d.staysAs != "":
			a.Reason += "; its image stays, as " + d.staysAs
		}
		actions = append(actions, a)
	}
	return actions
}

// Spare keeps the tags of a repository whose images would be deleted and are needed for
// something else: needed says of an image for what. Where err says why that is not
// known, none of those tags goes.
func Spare(decided []Decision, repo ref.Repository, needed map[ref.Digest]string, err error) {
	for i := range decided {
		d := &decided[i]
		if !d.Deletes || d.Action.To.Repository != repo {
			continue
		}
		why := needed[d.Action.Have]
		switch {
		case err != nil:
			d.Action = d.Action.Stop(fmt.Errorf("it is not known what needs the image: %w", err))
		case why != "":
			d.Action.Verb = plan.Stale
			d.Action.Reason += "; kept, since " + why
		default:
			continue
		}
		d.Deletes = false
	}
}
