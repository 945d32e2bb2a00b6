// Package state is what pruning remembers from run to run: which tags nobody wants, and
// since when. It is a cache. Nothing but the patience of pruning depends on it, and where
// it is lost, patience begins anew.
//
// Only unwanted tags are written down, so that the file stays small however much is
// mirrored.
package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// APIVersion names the form of the file.
const APIVersion = "ecr-mirror-sync.io/state/v1"

// MaxSize bounds the file, in bytes: some hundred thousand tags.
const MaxSize = 64 << 20

// Lapse is how long a tag may go without being looked at. What happened in a longer gap
// nobody knows: the tag may have been wanted meanwhile. It is longer than a month, for
// those who prune monthly.
const Lapse = 40 * 24 * time.Hour

// State is what is remembered. The zero State remembers nothing. It is a value: its
// methods change nothing.
type State struct {
	repositories map[string]map[string]entry // by repository and tag
}

// entry is one tag that nobody wants.
type entry struct {
	Digest ref.Digest `json:"digest"`
	Since  time.Time  `json:"since"` // when it was first seen unwanted
	Seen   time.Time  `json:"seen"`  // when it was last seen unwanted
}

// Observation is what a run saw of one repository.
type Observation struct {
	Repository ref.Repository
	Unwanted   map[string]ref.Digest // what each unwanted tag means
	Wanted     []string              // of these, nothing is remembered any more
	Certain    bool                  // Unwanted is all that is unwanted
}

// Since tells since when a tag, meaning that digest, is known to be unwanted; the zero
// time where it is not known.
func (s State) Since(tag ref.Reference, d ref.Digest, now time.Time) time.Time {
	e, ok := s.repositories[tag.Repository.String()][tag.Tag]
	if !ok || e.Digest != d || e.lapsed(now) {
		return time.Time{}
	}
	return e.Since
}

// lapsed reports whether the tag was not looked at for too long. A clock that went back
// tells nothing.
func (e entry) lapsed(now time.Time) bool { return now.Sub(e.Seen) > Lapse || now.Before(e.Seen) }

// Observe returns what is remembered after a run.
func (s State) Observe(observed []Observation, now time.Time) State {
	now = now.UTC().Truncate(time.Second)
	next := State{repositories: make(map[string]map[string]entry)}
	for repo, tags := range s.repositories {
		kept := maps.Clone(tags)
		maps.DeleteFunc(kept, func(_ string, e entry) bool { return e.lapsed(now) })
		next.repositories[repo] = kept
	}
	for _, o := range observed {
		repo := o.Repository.String()
		tags := next.repositories[repo]
		if tags == nil {
			tags = make(map[string]entry)
		}
		next.repositories[repo] = o.applied(tags, now)
	}
	maps.DeleteFunc(next.repositories, func(_ string, tags map[string]entry) bool { return len(tags) == 0 })
	return next
}

// applied changes what is remembered of one repository's tags.
func (o Observation) applied(before map[string]entry, now time.Time) map[string]entry {
	after := make(map[string]entry)
	if !o.Certain {
		after = maps.Clone(before)
	}
	for tag, d := range o.Unwanted {
		e := entry{Digest: d, Since: now, Seen: now}
		if known, ok := before[tag]; ok && known.Digest == d {
			e.Since = known.Since
		}
		after[tag] = e
	}
	for _, tag := range o.Wanted {
		delete(after, tag)
	}
	return after
}

// file is the written form.
type file struct {
	APIVersion   string                      `json:"apiVersion"`
	Repositories map[string]map[string]entry `json:"repositories"`
}

// Encode writes the state as Parse reads it.
func (s State) Encode() ([]byte, error) {
	repositories := s.repositories
	if repositories == nil {
		repositories = map[string]map[string]entry{}
	}
	encoded, err := json.MarshalIndent(file{APIVersion: APIVersion, Repositories: repositories}, "", " ")
	if err != nil {
		return nil, err
	}
	if len(encoded) >= MaxSize {
		return nil, fmt.Errorf("the state would have %d bytes, and at most %d are read", len(encoded)+1, MaxSize)
	}
	return append(encoded, '\n'), nil
}

// Parse reads a state. It is strict: what is not exactly a state is an error, since a
// date that was misread could let a tag go.
func Parse(data []byte) (State, error) {
	if len(data) > MaxSize {
		return State{}, fmt.Errorf("it has %d bytes, and at most %d are read", len(data), MaxSize)
	}
	var f file
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return State{}, fmt.Errorf("it is no state: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return State{}, errors.New("it is no state: something follows its end")
	}
	if f.APIVersion != APIVersion {
		return State{}, fmt.Errorf("its apiVersion is %q, and this version reads %s", f.APIVersion, APIVersion)
	}
	return State{repositories: f.Repositories}, f.check()
}

// check refuses what no version of the program has written.
func (f file) check() error {
	for _, repo := range slices.Sorted(maps.Keys(f.Repositories)) {
		if r, err := ref.ParseTarget(repo); err != nil || r.Identifier() != "" {
			return fmt.Errorf("%q is no repository", repo)
		}
		for _, tag := range slices.Sorted(maps.Keys(f.Repositories[repo])) {
			if err := f.Repositories[repo][tag].check(tag); err != nil {
				return fmt.Errorf("%s: tag %q: %w", repo, tag, err)
			}
		}
	}
	return nil
}

func (e entry) check(tag string) error {
	_, err := ref.ParseDigest(string(e.Digest))
	switch {
	case !ref.ValidTag(tag):
		return errors.New("it is no tag")
	case err != nil:
		return fmt.Errorf("%q is no digest", e.Digest)
	case e.Since.IsZero() || e.Seen.Before(e.Since):
		return errors.New("its times contradict each other")
	}
	return nil
}
