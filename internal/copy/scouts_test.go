package copy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"
)

// field is a queue that sends scouts, and what is seen of it. Several repositories want
// every blob whose name has a host after an @.
type field struct {
	q     *queue
	diary diary
	gates map[string]chan error // errands that end when they are told to, by what they note
}

func newField(gated ...string) *field {
	f := &field{gates: map[string]chan error{}}
	for _, line := range gated {
		f.gates[line] = make(chan error)
	}
	hosts := map[blobID]string{}
	for _, name := range []string{"tiny@h", "small@h", "middle@h", "large@h", "small@i", "large@i"} {
		_, hosts[namedBlob(name)], _ = strings.Cut(name, "@")
	}
	f.q = newQueue(func(b blobID) sharing { return sharing{several: hosts[b] != "", host: hosts[b]} })
	return f
}

// namedBlob is a blob whose size goes by the first word of its name.
func namedBlob(name string) blobID {
	word, _, _ := strings.Cut(name, "@")
	return blobID{digest.FromString(name), map[string]int64{"tiny": 1, "small": 10, "middle": 100, "large": 1000}[word]}
}

// want is an image that wants blobs in a repository.
func (f *field) want(ctx context.Context, repo string, names ...string) {
	var batch []*errand
	for _, name := range names {
		line := repo + " " + name
		batch = append(batch, &errand{blob: namedBlob(name), do: func(ctx context.Context) error {
			f.diary.note(line)
			if f.gates[line] == nil {
				return nil
			}
			select {
			case err := <-f.gates[line]:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
	}
	go func() { _ = f.q.run(ctx, batch) }() // what errands end with is the test's own doing
	synctest.Wait()
}

// enough keeps the queue busy until release is called.
func (f *field) enough(ctx context.Context) (release func()) {
	ended := make(chan struct{})
	var batch []*errand
	for i := range enoughToDo {
		batch = append(batch, &errand{blob: blobOf(fmt.Sprint("enough", i), 1), do: func(context.Context) error {
			<-ended
			return nil
		}})
	}
	go func() { _ = f.q.run(ctx, batch) }() // they do not fail
	synctest.Wait()
	return func() { close(ended); synctest.Wait() }
}

func (f *field) end(line string, err error) {
	f.gates[line] <- err
	synctest.Wait()
}

func (f *field) check(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(f.diary.lines) // those that set out together do so in any order
	slices.Sort(want)
	if diff := inOrder(f.diary.lines, want...); diff != "" {
		t.Errorf("begun (-want +got)\n%s", diff)
	}
}

// The smallest blob that several repositories of a host want goes first of all, and those
// who want the same mount it. The others follow as soon as mounts are answered.
func TestTheSmallestSharedBlobIsTheScout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField("a small@h", "b small@h", "c small@h")
		defer f.enough(t.Context())()
		f.want(t.Context(), "a", "large@h", "middle@h", "small@h", "small of its own")
		f.check(t, "a small@h", "a small of its own")
		f.want(t.Context(), "b", "large@h", "small@h")
		f.want(t.Context(), "c", "tiny@h", "small@h") // too late to be one
		f.check(t, "a small@h", "a small of its own")
		f.end("a small@h", nil)
		f.check(t, "a small@h", "a small of its own", "b small@h", "c small@h")
		f.q.decided("h")
		synctest.Wait()
		f.check(t, "a small@h", "a small of its own", "b small@h", "c small@h", "a large@h", "b large@h", "a middle@h", "c tiny@h")
		f.diary.lines = nil
		f.want(t.Context(), "d", "middle@h")
		f.check(t, "d middle@h")
		f.end("b small@h", nil)
		f.end("c small@h", nil)
	})
}

// Nobody waits for a scout from which nothing is to be learnt, or where there is not
// enough to do without those who wait.
func TestNobodyWaitsForAScoutInVain(t *testing.T) {
	for name, learn := range map[string]func(f *field, release, cancel func()){
		"it fails":           func(f *field, _, _ func()) { f.end("a small@h", errors.New("lost")) },
		"it is given up":     func(_ *field, _, cancel func()) { cancel() },
		"nobody follows it":  func(f *field, _, _ func()) { f.end("a small@h", nil) },
		"not enough to do":   func(_ *field, release, _ func()) { release() },
		"mounts are decided": func(f *field, _, _ func()) { f.q.decided("h") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newField("a small@h")
				ended := false
				release := f.enough(t.Context())
				ending := func() {
					if !ended {
						ended = true
						release()
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				f.want(ctx, "a", "small@h")
				f.want(t.Context(), "b", "middle@h", "large@h")
				f.check(t, "a small@h")
				learn(f, ending, cancel)
				synctest.Wait()
				if len(f.diary.lines) != 3 {
					t.Errorf("only %v began", f.diary.lines)
				}
				cancel()
				ending()
			})
		})
	}
}

// Followers that learn nothing, such as those to whom a single mount was refused, are
// waited for, and nobody after them.
func TestFollowersOfAScout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField("a small@h", "b small@h", "c small@h")
		defer f.enough(t.Context())()
		f.want(t.Context(), "a", "small@h", "large@h")
		f.want(t.Context(), "b", "small@h")
		f.want(t.Context(), "c", "small@h")
		f.end("a small@h", nil)
		f.end("b small@h", nil)
		f.check(t, "a small@h", "b small@h", "c small@h") // the last follower is waited for
		f.end("c small@h", errors.New("lost"))
		f.check(t, "a small@h", "b small@h", "c small@h", "a large@h")
	})
}

// At first little is under way, and more may be to come. When an errand has ended that
// came with the scout, it has been waited for long enough: images may begin as slowly as
// repositories are made for them.
func TestScoutsGoAheadWhileImagesBegin(t *testing.T) {
	for name, then := range map[string]func(f *field, told func()){
		"all have said what they want": func(_ *field, told func()) { told() },
		"they take their time":         func(f *field, _ func()) { f.end("a small of its own", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newField("a small@h", "a small of its own")
				f.q.expect()()
				told := f.q.expect()
				f.want(t.Context(), "a", "small@h", "large@h", "small of its own")
				f.check(t, "a small@h", "a small of its own")
				then(f, told)
				synctest.Wait()
				f.check(t, "a small@h", "a small of its own", "a large@h")
				close(f.gates["a small of its own"])
				f.end("a small@h", nil)
			})
		})
	}
}

func TestEachHostHasItsScout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField("a small@h", "a small@i")
		defer f.enough(t.Context())()
		f.want(t.Context(), "a", "small@h", "large@h", "small@i", "large@i")
		f.check(t, "a small@h", "a small@i")
		f.q.decided("i")
		synctest.Wait()
		f.check(t, "a small@h", "a small@i", "a large@i")
		f.q.decided("h")
		synctest.Wait()
		f.check(t, "a small@h", "a small@i", "a large@i", "a large@h")
		f.end("a small@h", nil)
		f.end("a small@i", nil)
	})
}
