package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// summary says the totals in one line: "12 images: 3 copied, 1 updated, 8 in sync;
// 45.2 MB moved in 3.1 s".
func summary(r Report) string {
	t := r.Totals
	elapsed := human.Duration(time.Duration(t.ElapsedMs) * time.Millisecond)
	head := human.Count(t.Images, "image") + ": " + counts(t)
	switch r.Kind {
	case KindPlan:
		return fmt.Sprintf("%s; planned in %s%s", head, elapsed, pulls(t))
	case KindList:
		return head + pulls(t)
	case KindVerify:
		return fmt.Sprintf("%s%s; verified in %s%s", head, verified(t), elapsed, pulls(t))
	default:
		return fmt.Sprintf("%s; %s moved in %s%s", head, human.Bytes(t.Bytes), elapsed, pulls(t))
	}
}

// verified says what verifying has read, and what repairing has written.
func verified(t Totals) string {
	var text string
	if t.BytesHashed > 0 {
		text += "; " + human.Bytes(t.BytesHashed) + " hashed"
	}
	if t.Bytes > 0 {
		text += "; " + human.Bytes(t.Bytes) + " moved"
	}
	return text
}

// pulls says how many manifests were read upstream, where any was: registries with a
// pull limit count them, unlike HEADs.
func pulls(t Totals) string {
	if t.ManifestsRead == 0 {
		return ""
	}
	return "; " + human.Count(t.ManifestsRead, "manifest") + " read upstream"
}

// counts lists how many rows have each status, leaving out those that none has.
func counts(t Totals) string {
	var parts []string
	for _, s := range []Status{
		StatusVerified, StatusRepaired, StatusDamaged, StatusMissing,
		StatusCopied, StatusUpdated, StatusPruned, StatusWouldCopy, StatusWouldUpdate, StatusWouldPrune, StatusListed, StatusLeftOut,
		StatusInSync, StatusPresent, StatusDrifted, StatusStale, StatusBlocked, StatusFailed, StatusNotDone,
	} {
		if n := *t.count(s); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ")
}

// remarks are the lines that qualify the totals.
func remarks(r Report) []string {
	var lines []string
	if r.Shard != "" {
		lines = append(lines, "shard "+r.Shard+": other destinations are other shards'")
	}
	if r.DryRun {
		lines = append(lines, "dry run: nothing was written")
	}
	if r.Kind == KindVerify {
		return append(lines, cutShort(r)...)
	}
	if r.Interrupted {
		lines = append(lines, "interrupted: what is not done is at the destination as it was")
	}
	if r.BudgetUsedUp {
		lines = append(lines, "time budget used up: what is not done is at the destination as it was")
	}
	if n := r.Totals.Incomplete; n > 0 {
		lines = append(lines, human.Count(n, "image")+" incomplete: signatures, SBOMs or attestations are missing")
	}
	if n := r.Totals.ReferrersNotCompared; n > 0 {
		lines = append(lines, human.Count(n, "image")+" compared by digest alone: --recheck compares signatures, SBOMs and attestations")
	}
	return lines
}

// cutShort says of a verification that it did not come to its end, and why.
func cutShort(r Report) []string {
	switch {
	case r.Interrupted:
		return []string{"interrupted: what is not done was not verified"}
	case r.BudgetUsedUp:
		return []string{"time budget used up: what is not done was not verified"}
	}
	return nil
}

// source names what a row reads: the repository, and the tag where the destination's
// is another.
func source(row Row) string {
	if row.SourceTag != "" && row.Tag != "" && row.SourceTag != row.Tag {
		return human.Text(row.Source + ":" + row.SourceTag)
	}
	return human.Text(row.Source)
}

// shortDigest is what of a digest tells it from others at a glance: 12 hex digits.
func shortDigest(d string) string {
	_, hex, found := strings.Cut(d, ":")
	if !found {
		hex = d
	}
	return human.Head(human.Text(hex), 12)
}

// size writes a size, or nothing where it is not known.
func size(row Row) string {
	if row.Size <= 0 {
		return ""
	}
	return human.Bytes(row.Size)
}

// reason is the row's reason, with the digest that was replaced or removed where one was.
func reason(row Row) string {
	text := human.Line(row.Reason)
	switch row.Status {
	case StatusUpdated, StatusWouldUpdate, StatusPruned, StatusWouldPrune, StatusRepaired:
		if row.Previous != "" && row.Previous != row.Digest {
			text += " (was " + shortDigest(string(row.Previous)) + ")"
		}
	default:
	}
	return strings.TrimSpace(text)
}
