package discover

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// A Change is how the resource tags of one repository get from what they are to what
// they are to be. It speaks only of the keys that make a mirror: all others stay.
type Change struct {
	Entries []Entry // one for each key that is there or is to be there, in the order in which a rule is read
}

// An Entry is what becomes of one resource tag.
type Entry struct {
	Key  string
	Now  string // "" where Verb is Add
	Then string // "" where Verb is Remove
	Verb EntryVerb
}

// EntryVerb says what is done to a resource tag.
type EntryVerb string

// What is done to a resource tag.
const (
	Add     EntryVerb = "add"
	Replace EntryVerb = "replace"
	Remove  EntryVerb = "remove"
	Keep    EntryVerb = "keep"
)

// NewChange compares all resource tags that a repository has now with those of its
// mirror-to-be, as Format writes them; none end the mirror. A key of a mirror's that
// then does not have is removed, also one that continues a list wrongly. It is an error
// if the repository has no room for so many: what is removed is so only after the rest
// is written, and counts.
func NewChange(now, then map[string]string, keys Keys) (Change, error) {
	var change Change
	for key, value := range now {
		if !keys.Relevant(key) {
			continue
		}
		entry := Entry{Key: key, Now: value, Verb: Remove}
		if wanted, ok := then[key]; ok {
			entry.Then, entry.Verb = wanted, Replace
		}
		if entry.Verb == Replace && entry.Now == entry.Then {
			entry.Verb = Keep
		}
		change.Entries = append(change.Entries, entry)
	}
	for key, value := range then {
		if _, there := now[key]; !there {
			change.Entries = append(change.Entries, Entry{Key: key, Then: value, Verb: Add})
		}
	}
	slices.SortFunc(change.Entries, func(a, b Entry) int { return keys.inOrder(a.Key, b.Key) })
	if n := len(now) + change.Count(Add); n > maxTags {
		return Change{}, fmt.Errorf("it would hold %d resource tags, and AWS allows %d: remove others first, or say less", n, maxTags)
	}
	return change, nil
}

// maxTags is how many resource tags a repository holds at most.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-using-tags.html
const maxTags = 50

// inOrder compares keys as a rule is read: the image, the list with its continuations,
// what is left out, platforms, options.
func (k Keys) inOrder(a, b string) int {
	return cmp.Or(cmp.Compare(k.place(a), k.place(b)), cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

func (k Keys) place(key string) int {
	if _, continues := k.continuation(key); continues {
		key = k.Tags
	}
	return slices.Index(k.all(), key)
}

// Empty reports whether there is nothing to do.
func (c Change) Empty() bool {
	return !slices.ContainsFunc(c.Entries, func(e Entry) bool { return e.Verb != Keep })
}

// Count returns how many entries have the verb.
func (c Change) Count(verb EntryVerb) int {
	n := 0
	for _, e := range c.Entries {
		if e.Verb == verb {
			n++
		}
	}
	return n
}

// Set returns the resource tags to write first, in one call. A run that reads between
// that call and the removal of Removed must not follow half of the old rule beside the
// new one: an old excluding term that is missing, or one that was meant for another
// image. So what will be removed is written, too, as an empty value, which says as much
// as none. Where nothing but removals is left to do there is nothing to write: AWS
// removes several keys in one call.
func (c Change) Set() map[string]string {
	set := map[string]string{}
	for _, e := range c.Entries {
		if e.Verb == Add || e.Verb == Replace {
			set[e.Key] = e.Then
		}
	}
	if len(set) == 0 {
		return nil
	}
	for _, key := range c.Removed() {
		set[key] = ""
	}
	return set
}

// Removed returns the keys to remove last, in one call.
func (c Change) Removed() []string {
	var removed []string
	for _, e := range c.Entries {
		if e.Verb == Remove {
			removed = append(removed, e.Key)
		}
	}
	return removed
}

// Apply returns what all of a repository's resource tags are after the change.
func (c Change) Apply(now map[string]string) map[string]string {
	then := maps.Clone(now)
	if then == nil {
		then = map[string]string{}
	}
	for _, e := range c.Entries {
		if e.Verb == Remove {
			delete(then, e.Key)
			continue
		}
		then[e.Key] = e.Then
	}
	return then
}
