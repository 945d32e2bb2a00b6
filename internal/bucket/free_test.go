package bucket_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/bucket"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// calendar is a clock that tests move.
type calendar struct {
	mu  sync.Mutex
	now time.Time
}

func newCalendar() *calendar { return &calendar{now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)} }

func (c *calendar) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *calendar) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const week = 7 * 24 * time.Hour

// free frees, and insists on what became of how many objects.
func free(t *testing.T, target registry.Target, removed, waiting int) {
	t.Helper()
	got, err := registry.Free(t.Context(), target, repo, week)
	if err != nil || got.Objects != removed || got.Waiting != waiting || (got.Bytes > 0) != (removed > 0) {
		t.Errorf("%+v, %v; want %d removed and %d waiting", got, err, removed, waiting)
	}
}

func untag(t *testing.T, target registry.Target, tag string) {
	t.Helper()
	if err := registry.DeleteTag(t.Context(), target, repo.Tagged(tag)); err != nil {
		t.Fatal(err)
	}
}

// contentKeys are the objects that have a digest in their names.
func contentKeys(s *storage) []string {
	return slices.DeleteFunc(s.keys(), func(key string) bool { return !strings.Contains(key, "sha256:") })
}

func TestFree(t *testing.T) {
	s, clock := serve(t), newCalendar()
	target := s.target(bucket.Options{Now: clock.Now})
	kept := imagetest.Index(small("kept"), small("other"))
	gone := imagetest.Index(small("gone"), small("other"))
	push(t, target, "app", "kept", kept)
	referrer := imagetest.Referrer(kept.Children[0], "application/vnd.example.sbom", imagetest.Layer("sbom", 500))
	refer(t, target, referrer, kept.Children[0])
	want := contentKeys(s)
	s.asked()
	free(t, target, 0, 0)
	if writes := s.asked("PUT", "POST", "DELETE"); len(writes) > 0 {
		t.Errorf("with nothing to free it wrote %v", writes)
	}

	push(t, target, "app", "gone", gone)
	refer(t, target, imagetest.Referrer(gone, "application/vnd.example.sbom", imagetest.Layer("sbom", 500)), gone)
	untag(t, target, "gone")
	// Two manifests, the child's own two blobs but for the config that all share, the
	// referrer, and the list of referrers.
	loose := len(contentKeys(s)) - len(want)
	free(t, target, 0, loose)
	clock.pass(week - time.Minute)
	free(t, target, 0, loose)
	clock.pass(time.Minute)
	free(t, target, loose, 0)
	if got := contentKeys(s); !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
	free(t, target, 0, 0)
	if listed, err := target.Referrers(t.Context(), repo.Digested(kept.Children[0].Digest())); err != nil || len(listed) != 1 {
		t.Errorf("referrers %v, %v", listed, err)
	}
}

// refer writes a referrer with its blobs.
func refer(t *testing.T, target registry.Target, referrer, subject imagetest.Node) {
	t.Helper()
	push(t, target, "app", "passing", referrer)
	untag(t, target, "passing")
	dst, err := target.OpenDestination(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	m := registry.Manifest{MediaType: referrer.Descriptor.MediaType, Raw: referrer.Raw}
	if _, err := registry.WriteReferrer(t.Context(), dst, referrer.Digest(), subject.Digest(), m); err != nil {
		t.Fatal(err)
	}
}

// However short the grace, what is being copied has a day.
func TestFreeWaitsADay(t *testing.T) {
	s, clock := serve(t), newCalendar()
	target := s.target(bucket.Options{Now: clock.Now})
	push(t, target, "app", "1.0", small("one"))
	untag(t, target, "1.0")
	for _, wait := range []time.Duration{0, 23 * time.Hour} {
		clock.pass(wait)
		if got, err := registry.Free(t.Context(), target, repo, time.Second); err != nil || got.Objects > 0 || got.Waiting != 3 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	clock.pass(time.Hour)
	if got, err := registry.Free(t.Context(), target, repo, time.Second); err != nil || got.Objects != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

// What another run finds, and is about to refer to, stays from that moment on.
func TestWhatIsFoundStays(t *testing.T) {
	s, clock := serve(t), newCalendar()
	target := s.target(bucket.Options{Now: clock.Now})
	node := small("found again")
	push(t, target, "app", "1.0", node)
	untag(t, target, "1.0")
	free(t, target, 0, 3)
	clock.pass(week + time.Hour)

	other := s.target(bucket.Options{Now: clock.Now})
	dst, err := other.OpenDestination(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range node.Blobs {
		if held, err := registry.HasBlob(t.Context(), dst, ref.Descriptor{Digest: b.Digest(), Size: int64(len(b.Content))}); err != nil || !held {
			t.Fatalf("%t, %v", held, err)
		}
	}
	free(t, target, 1, 2) // the manifest alone
	push(t, other, "app", "2.0", node)
	clock.pass(2 * week)
	free(t, target, 0, 0)
	if m, err := other.Manifest(t.Context(), repo.Digested(node.Digest())); err != nil || len(m.Raw) == 0 {
		t.Error(err)
	}
}

// While a run removes objects, another one waits with writing them.
func TestWhatIsBeingRemovedIsLeftAlone(t *testing.T) {
	s, clock := serve(t), newCalendar()
	node := small("removed")
	push(t, s.target(bucket.Options{Now: clock.Now}), "app", "1.0", node)
	key := "v2/app/blobs/" + node.Blobs[0].Digest().String()
	marks := fmt.Sprintf(`{"apiVersion":"ecr-mirror-sync.io/unreferenced/v1","unreferenced":{},"freeing":{"until":%q,"keys":[%q]}}`,
		clock.Now().Add(time.Minute).Format(time.RFC3339), key)
	if _, err := s.client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(name), Key: aws.String("ecr-mirror-sync/unreferenced/app.json"), Body: strings.NewReader(marks),
	}); err != nil {
		t.Fatal(err)
	}
	target := s.target(bucket.Options{Now: clock.Now})
	err := write(t.Context(), target, "app", "2.0", node)
	if err == nil || registry.Final(err) || !strings.Contains(err.Error(), "is removing the object just now") {
		t.Errorf("%v", err)
	}
	free(t, target, 0, 0) // which is the other run's
	clock.pass(2 * time.Minute)
	push(t, target, "app", "2.0", node)
}

// What somebody who knows no marks has written since waits anew.
func TestWhatWasWrittenAgainWaits(t *testing.T) {
	s, clock := serve(t), newCalendar()
	target := s.target(bucket.Options{Now: clock.Now})
	node := small("again")
	push(t, target, "app", "1.0", node)
	untag(t, target, "1.0")
	free(t, target, 0, 3)
	clock.pass(week + time.Hour)
	time.Sleep(1100 * time.Millisecond) // the server counts in seconds
	key := "v2/app/blobs/" + node.Blobs[0].Digest().String()
	if _, err := s.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(name), Key: &key, Body: strings.NewReader(string(node.Blobs[0].Content))}); err != nil {
		t.Fatal(err)
	}
	free(t, target, 2, 1)
}

// Where anything cannot be read, it is not known what is needed, and nothing goes.
func TestFreeStopsAtWhatItDoesNotUnderstand(t *testing.T) {
	s, clock := serve(t), newCalendar()
	target := s.target(bucket.Options{Now: clock.Now})
	push(t, target, "app", "1.0", small("one"))
	untag(t, target, "1.0")
	free(t, target, 0, 3)
	clock.pass(2 * week)
	odd := `{"what":"is this"}`
	if _, err := s.client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(name), Key: aws.String("v2/app/manifests/odd"), Body: strings.NewReader(odd), ContentType: aws.String(imgspec.MediaTypeImageManifest),
	}); err != nil {
		t.Fatal(err)
	}
	if got, err := registry.Free(t.Context(), target, repo, week); err == nil || got.Objects > 0 || !strings.Contains(err.Error(), "odd") {
		t.Errorf("%+v, %v", got, err)
	}
	if n := len(contentKeys(s)); n != 3 {
		t.Errorf("%d objects are left", n)
	}
}

// Copies go on while others free, and every tag leads to a complete image, always. Days
// pass between copies, and not while something is being removed.
func TestFreeingBesideCopying(t *testing.T) {
	s, clock := serve(t), newCalendar()
	seeds := []string{"a", "b", "c"}
	var wg sync.WaitGroup
	var removing sync.RWMutex
	ctx, done := context.WithCancel(t.Context())
	defer done()
	for range 2 {
		target := s.target(bucket.Options{Now: clock.Now})
		wg.Go(func() {
			for ctx.Err() == nil {
				removing.RLock()
				_, err := registry.Free(ctx, target, repo, 0)
				removing.RUnlock()
				if err != nil && ctx.Err() == nil {
					t.Errorf("free: %v", err)
				}
			}
		})
	}
	writer := s.target(bucket.Options{Now: clock.Now})
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		seed := seeds[random.IntN(len(seeds))]
		if err := write(t.Context(), writer, "app", seed, small(seed)); err != nil {
			if !strings.Contains(err.Error(), "just now") && !strings.Contains(err.Error(), "meanwhile") {
				t.Errorf("write: %v", err)
			}
			continue
		}
		complete(t, s, seed, small(seed))
		if err := registry.DeleteTag(t.Context(), writer, repo.Tagged(seed)); err != nil {
			t.Errorf("untag: %v", err)
		}
		removing.Lock()
		clock.pass(time.Duration(random.IntN(40)) * time.Hour)
		removing.Unlock()
	}
	done()
	wg.Wait()
}

// complete insists that everything of a tag is there.
func complete(t *testing.T, s *storage, tag string, node imagetest.Node) {
	t.Helper()
	held := s.keys()
	want := []string{"v2/app/manifests/" + tag, "v2/app/manifests/" + node.Digest().String()}
	for _, b := range node.Blobs {
		want = append(want, "v2/app/blobs/"+b.Digest().String())
	}
	for _, key := range want {
		if !slices.Contains(held, key) {
			t.Errorf("%s is tagged, and %s is gone", tag, key)
		}
	}
}
