package copy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
)

// several are actions on images of one repository that share a layer.
func several(w *world, n int) (images []imagetest.Node, actions []plan.Action) {
	base := imagetest.Layer("base", 2000)
	for i := range n {
		node := imagetest.Image(amd64, base, imagetest.Layer(fmt.Sprint(i), 100))
		w.push(w.up, "team/app", fmt.Sprint(i), node)
		images, actions = append(images, node), append(actions, w.action("team/app", fmt.Sprint(i), node))
	}
	return images, actions
}

// A repository in which the plan has found nothing is asked for one blob.
func TestVacantRepositoryIsAskedOnce(t *testing.T) {
	for name, down := range map[string]func(*testing.T) *place{
		"a registry": distribution, "ECR": func(t *testing.T) *place { t.Helper(); return ecr(t, "team/app") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution(t), down(t), nil)
			images, actions := several(w, 3)
			for i, r := range w.run(t.Context(), copy.Options{}, actions...) {
				expect(t, r, plan.Copied)
				w.judge(fmt.Sprint(i), images[i])
			}
			if got := count(w.down, "blob-head"); got != 1 {
				t.Errorf("it was asked for %d blobs", got)
			}
		})
	}
}

// Where the plan has found one of its tags there may be more, and each blob is asked for.
func TestUsedRepositoryIsAskedForEachBlob(t *testing.T) {
	for _, verb := range []plan.Verb{plan.InSync, plan.Present, plan.Drifted, plan.Update} {
		t.Run(string(verb), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution(t), distribution(t), nil)
			images, actions := several(w, 3)
			push(t, w.down, "team/app", "0", images[1]) // whose content image 1 finds
			actions[0] = update(actions[0], images[1])
			actions[0].Verb = verb
			w.down.forget()
			results := w.run(t.Context(), copy.Options{}, actions...)
			expect(t, results[1], plan.Copied)
			expect(t, results[2], plan.Copied)
			for _, b := range images[1].AllBlobs() {
				if got := w.down.wrote(string(b.Digest())); got != 0 {
					t.Errorf("a blob that was there was uploaded %d times", got)
				}
			}
		})
	}
}

// A run ended when the repository had blobs and no tag. The next one finds the first blob
// that it asks for, and asks for the others then.
func TestInterruptedRunIsContinued(t *testing.T) {
	t.Parallel()
	down := distribution(t)
	var refuse atomic.Bool
	front := between(t, down, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && refuse.Load() {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	w := newWorld(t, distribution(t), front, nil)
	images, actions := several(w, 3)
	refuse.Store(true)
	for _, r := range w.run(t.Context(), copy.Options{}, actions...) {
		expect(t, r, plan.HasFailed)
	}
	refuse.Store(false)
	w.up.forget()
	for i, r := range w.run(t.Context(), copy.Options{}, actions...) {
		expect(t, r, plan.Copied)
		w.judge(fmt.Sprint(i), images[i])
		for _, b := range images[i].AllBlobs() {
			if got := down.wrote(string(b.Digest())); got != 1 {
				t.Errorf("blob %s was uploaded %d times", b.Digest(), got)
			}
		}
	}
}

// A run was interrupted while one blob was still on its way. The next run asked for just
// that one, took the others for missing too, and brought a whole repository again. What is
// wasted is what was under way, whichever that is, and no more.
func TestInterruptedRunWastesWhatWasUnderWay(t *testing.T) {
	layers := []imagetest.Blob{imagetest.Layer("large", 500_000)}
	for i := range 4 {
		layers = append(layers, imagetest.Layer(fmt.Sprint(i), 1000*(i+1)))
	}
	node := imagetest.Image(amd64, layers...)
	for _, late := range node.Blobs {
		t.Run(fmt.Sprint(late.Descriptor.Size), func(t *testing.T) {
			t.Parallel()
			down := distribution(t)
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			front := between(t, down, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPut && r.URL.Query().Get("digest") == string(late.Digest()) && ctx.Err() == nil {
					<-ctx.Done()
					panic(http.ErrAbortHandler)
				}
				next.ServeHTTP(w, r)
			})
			w := newWorld(t, distribution(t), front, nil)
			w.push(w.up, "team/app", "1", node)
			go interruptAtRest(down, interrupt)
			expect(t, w.plannedRun(ctx, w.action("team/app", "1", node))[0], plan.Pending)

			expect(t, w.plannedRun(t.Context(), w.action("team/app", "1", node))[0], plan.Copied)
			w.judge("1", node)
			for _, b := range node.AllBlobs() {
				if got := down.wrote(string(b.Digest())); got != 1 {
					t.Errorf("a blob of %d bytes was uploaded %d times", b.Descriptor.Size, got)
				}
			}
		})
	}
}

// plannedRun is run after planning, which has read the manifests of what is to be copied.
func (w *world) plannedRun(ctx context.Context, actions ...plan.Action) []plan.Result {
	w.t.Helper()
	library := copy.NewLibrary(16)
	for _, a := range actions {
		if _, err := copy.Root(context.WithoutCancel(ctx), library, w.Source(a), a); err != nil {
			w.t.Fatal(err)
		}
	}
	copier := copy.New(w, library, copy.Options{})
	defer copier.Close()
	return copier.Run(ctx, plan.Plan{Actions: actions})
}

// The first repositories had more blobs than may be seen to at once, and each of those
// waited for its repository's sample: nobody asked for the next repository's meanwhile.
func TestOneSampleDoesNotWaitForAnother(t *testing.T) {
	t.Parallel()
	down := distribution(t)
	begun, begin := context.WithCancel(t.Context())
	defer begin()
	asked, ask := context.WithCancel(t.Context())
	defer ask()
	front := between(t, down, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v2/team/small/manifests/"):
			<-begun.Done()
		case r.Method == http.MethodHead && strings.HasPrefix(r.URL.Path, "/v2/team/small/blobs/"):
			ask()
		case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/v2/team/large/blobs/"):
			begin()
			select {
			case <-asked.Done():
			case <-time.After(20 * time.Second):
				t.Error("team/small was not asked for its sample while that of team/large was on its way")
			}
		}
		next.ServeHTTP(w, r)
	})
	w := newWorld(t, distribution(t), front, nil)
	var many []imagetest.Blob
	for i := range 400 {
		many = append(many, imagetest.Layer(fmt.Sprint("many", i), 1000))
	}
	large, small := imagetest.Image(amd64, many...), imagetest.Image(amd64, imagetest.Layer("one", 100))
	w.push(w.up, "team/large", "1", large)
	w.push(w.up, "team/small", "1", small)
	first := w.action("team/large", "1", large)
	first.Size = 400_000 // the largest begins first
	for _, r := range w.plannedRun(t.Context(), first, w.action("team/small", "1", small)) {
		expect(t, r, plan.Copied)
	}
}

// interruptAtRest interrupts a run when nothing has been written for a while.
func interruptAtRest(p *place, interrupt func()) {
	for before := -1; ; {
		time.Sleep(300 * time.Millisecond)
		now := len(p.log.all())
		if now == before {
			break
		}
		before = now
	}
	interrupt()
}

// What was taken for missing, or for brought, is asked for where a manifest is refused.
func TestVacantRepositoryThatLosesALayer(t *testing.T) {
	t.Parallel()
	down := distribution(t)
	node := image("x", amd64)
	front := onTagPut(t, down, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		collect(t, next, string(node.Blobs[1].Digest()))
		next.ServeHTTP(w, r)
	})
	w := newWorld(t, distribution(t), front, nil)
	w.push(w.up, "team/app", "1", node)
	expect(t, w.run(t.Context(), copy.Options{}, w.action("team/app", "1", node))[0], plan.Copied)
	for i, b := range node.AllBlobs() {
		want := 1
		if i == 1 {
			want = 2
		}
		if got := down.wrote(string(b.Digest())); got != want {
			t.Errorf("blob %d was uploaded %d times, want %d", i, got, want)
		}
	}
	w.judge("1", node)
}
