package copy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

// fleet is several repositories with images of two platforms, which share layers across
// tags and repositories.
type fleet struct {
	w       *world
	shared  []imagetest.Blob
	nodes   map[string]imagetest.Node // by "repository:tag"
	actions []plan.Action
}

func fleetOf(w *world, repositories, tags int) *fleet {
	f := &fleet{w: w, nodes: map[string]imagetest.Node{}}
	for i := range 3 {
		f.shared = append(f.shared, imagetest.Layer(fmt.Sprint("shared", i), 20_000+i))
	}
	for r := range repositories {
		repo := fmt.Sprintf("fleet/r%d", r)
		for tag := range tags {
			own := imagetest.Layer(fmt.Sprint(repo, tag), 3000)
			node := imagetest.Index(imagetest.Image(amd64, append(slices.Clone(f.shared), own)...), imagetest.Image(arm64, f.shared[0], own))
			name := fmt.Sprint("t", tag)
			push(w.t, w.up, repo, name, node)
			f.nodes[repo+":"+name] = node
			f.actions = append(f.actions, w.action(repo, name, node))
		}
	}
	w.up.forget()
	return f
}

// blobs returns every blob of the fleet, each once.
func (f *fleet) blobs() map[string]imagetest.Blob {
	all := map[string]imagetest.Blob{}
	for _, n := range f.nodes {
		for _, b := range n.AllBlobs() {
			all[string(b.Digest())] = b
		}
	}
	return all
}

// judge fails the test unless every result is a copy, and a place holds the whole fleet.
func (f *fleet) judge(down *place, results []plan.Result) {
	f.w.t.Helper()
	for _, r := range results {
		expect(f.w.t, r, plan.Copied)
	}
	for name, node := range f.nodes {
		repo, tag, _ := strings.Cut(name, ":")
		report := f.w.walk(down, repo, tag)
		if err := walker.Same(f.w.walk(f.w.up, repo, tag), report); err != nil || report.Root != node.Digest() {
			f.w.t.Errorf("%s is %s, want %s: %v", name, report.Root, node.Digest(), err)
		}
	}
}

// ecrFleet is a local ECR for a fleet, with mounts switched on or off.
func ecrFleet(t *testing.T, repositories int, mounts bool) *place {
	t.Helper()
	r := ecrlocaltest.Start(t)
	for i := range repositories {
		if err := r.CreateRepository(fmt.Sprintf("fleet/r%d", i), ecrlocal.RepositoryOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	r.SetBlobMounting("", "", mounts)
	return logged(t, &place{handler: r.Server, server: r.Server, username: "AWS", password: r.Password("", "")})
}

// A registry that grants mounts gets each blob once, and upstream is asked for it once,
// whatever happens side by side.
func TestSharedBlobsAreMounted(t *testing.T) {
	for _, images := range []int{1, 3, -1} {
		t.Run(fmt.Sprint(images), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution(t), distribution(t), nil)
			f := fleetOf(w, 5, 2)
			results := w.run(t.Context(), copy.Options{Images: images}, f.actions...)
			var bytes, want int64
			for digest, b := range f.blobs() {
				want += b.Descriptor.Size
				if up, down := count(w.up, "blob-get", digest), w.down.wrote(digest); up != 1 || down != 1 {
					t.Errorf("blob %s was read %d times and uploaded %d times", digest, up, down)
				}
			}
			for _, r := range results {
				bytes += r.Bytes
			}
			if bytes != want {
				t.Errorf("the results tell of %d bytes, want %d", bytes, want)
			}
			if images == 1 {
				// Each blob is looked for in the first repository. Those of the second image that
				// are under way before a mount was granted are looked for once more; from then on
				// the answer is known.
				heads := count(w.down, "blob-head")
				if own := len(f.blobs()); heads > own+len(f.shared) {
					t.Errorf("%d questions about %d blobs", heads, own)
				}
			}
			f.judge(w.down, results)
		})
	}
}

// ECR grants mounts of what a manifest names already, where they are switched on.
func TestMountsAtECR(t *testing.T) {
	const repositories = 5
	for _, test := range []struct {
		mounts bool
		images int
	}{{true, 1}, {true, -1}, {false, 1}, {false, -1}} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution(t), ecrFleet(t, repositories, test.mounts), nil)
			f := fleetOf(w, repositories, 1)
			results := w.run(t.Context(), copy.Options{Images: test.images}, f.actions...)
			uploads := 0
			for digest := range f.blobs() {
				uploads += w.down.wrote(digest)
			}
			mounts, posts := count(w.down, "mount"), count(w.down, "upload-post")
			base := w.down.wrote(string(f.shared[0].Digest()))
			switch {
			case test.mounts && test.images == 1:
				if uploads != len(f.blobs()) {
					t.Errorf("%d uploads of %d blobs", uploads, len(f.blobs()))
				}
			case !test.mounts && test.images == 1:
				if base != repositories {
					t.Errorf("the layer was uploaded %d times", base)
				}
				// Those under way side by side are the shared blobs of one image.
				if mounts > 2+2*len(f.shared) {
					t.Errorf("asked %d times for what is switched off", mounts)
				}
			}
			if !test.mounts && mounts+posts != uploads {
				t.Errorf("%d uploads took %d refused mounts and %d sessions of their own", uploads, mounts, posts)
			}
			f.judge(w.down, results)
		})
	}
}

// What names the blobs of an image of one platform is the manifest that its tag stands for,
// which is written last. Here the first repository takes blobs and no manifest, so that ECR
// grants no mount from it, and three refusals end the asking for blobs that nothing names; the
// third repository takes them over from the second all the same, where the tag does.
func TestImagesOfOnePlatformAreMountedAtECR(t *testing.T) {
	const repositories = 3
	down := between(t, ecrFleet(t, repositories, true), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/v2/fleet/r0/manifests/") {
			http.Error(w, `{"errors":[{"code":"DENIED","message":"no manifests here"}]}`, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	w := newWorld(t, distribution(t), down, nil)
	var shared []imagetest.Blob
	for i := range 4 {
		shared = append(shared, imagetest.Layer(fmt.Sprint("shared", i), 20_000))
	}
	var actions []plan.Action
	for r := range repositories {
		repo := fmt.Sprintf("fleet/r%d", r)
		node := imagetest.Image(amd64, append(slices.Clone(shared), imagetest.Layer(repo, 3000))...)
		push(t, w.up, repo, "1", node)
		actions = append(actions, w.action(repo, "1", node))
	}
	w.up.forget()
	results := w.run(t.Context(), copy.Options{Images: 1}, actions...)
	expect(t, results[0], plan.HasFailed, "no manifests here")
	expect(t, results[1], plan.Copied)
	expect(t, results[2], plan.Copied)
	for _, b := range shared {
		if n := down.wrote(string(b.Digest())); n != 2 {
			t.Errorf("blob %s was uploaded %d times, want to the first and the second repository", b.Digest(), n)
		}
	}
}

// mounting puts a handler in front of a place for the requests that ask for mounts.
func mounting(t *testing.T, p *place, handle func(w http.ResponseWriter, r *http.Request, next http.Handler)) *place {
	t.Helper()
	return between(t, p, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost && r.URL.Query().Get("mount") != "" {
			handle(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Whatever a registry makes of being asked, the images arrive, and one that keeps on
// refusing, or does not do what it says, is left alone.
func TestMountsThatAreNoHelp(t *testing.T) {
	faults.Covers(t, "F51")
	answer := func(status int) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(status) }
	}
	for name, test := range map[string]struct {
		handle func(http.ResponseWriter, *http.Request, http.Handler)
		most   int64 // mounts asked for
	}{
		"denied":           {answer(http.StatusForbidden), 9},
		"not found":        {answer(http.StatusNotFound), 9},
		"not supported":    {answer(http.StatusMethodNotAllowed), 9},
		"bad request":      {answer(http.StatusBadRequest), 9},
		"broken":           {answer(http.StatusInternalServerError), 1000},
		"no location":      {answer(http.StatusAccepted), 9},
		"granted and lost": {answer(http.StatusCreated), 9},
		"another blob": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
			w.WriteHeader(http.StatusCreated)
		}, 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			w := newWorld(t, distribution(t), mounting(t, distribution(t), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				asked.Add(1)
				test.handle(w, r, next)
			}), nil)
			f := fleetOf(w, 5, 1)
			results := w.run(t.Context(), copy.Options{Images: 1}, f.actions...)
			f.judge(w.down, results)
			if got := asked.Load(); got == 0 || got > test.most {
				t.Errorf("asked for %d mounts", got)
			}
		})
	}
}

// held keeps a request waiting until its client gives up.
func held(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that
	<-r.Context().Done()
}

// The sample of a vacant repository is looked for by an errand for another blob, while its
// own mounts it. That it was not there when it was looked for says nothing about the mount:
// a run that thought so uploaded everything it still had to mount.
func TestSampleMountedWhileItIsLookedFor(t *testing.T) {
	t.Parallel()
	small, big := imagetest.Layer("small", 10), imagetest.Layer("big", 20_000)
	granted := make(chan struct{})
	grant := sync.OnceFunc(func() { close(granted) }) // who looked may ask for a mount of its own
	var looks atomic.Int64
	down := between(t, distribution(t), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		ofSample := strings.HasPrefix(r.URL.Path, "/v2/team/r2/blobs/")
		switch {
		case ofSample && r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, string(small.Digest())):
			next.ServeHTTP(w, r) // an answer, which takes long to arrive
			looks.Add(1)
			select {
			case <-granted:
			case <-r.Context().Done():
			}
		case ofSample && r.URL.Query().Get("mount") == string(small.Digest()):
			next.ServeHTTP(w, r)
			grant()
		default:
			next.ServeHTTP(w, r)
		}
	})
	w := newWorldOf(t, distribution(t), down)
	var actions []plan.Action
	for i := range 4 {
		repo, layers := fmt.Sprint("team/r", i), []imagetest.Blob{small, big}
		if i == 2 {
			layers = append(layers, imagetest.Layer("own", 3000))
		}
		node := imagetest.Image(amd64, layers...)
		w.push(w.up, repo, "1", node)
		actions = append(actions, w.action(repo, "1", node))
	}
	for _, r := range w.runPlanned(t.Context(), copy.Options{Images: 1}, actions...) {
		expect(t, r, plan.Copied)
	}
	if looks.Load() != 1 {
		t.Errorf("the sample was looked for %d times, want 1", looks.Load())
	}
	for _, b := range []imagetest.Blob{small, big} {
		if got := down.wrote(string(b.Digest())); got != 1 {
			t.Errorf("blob %s was uploaded %d times", b.Digest(), got)
		}
	}
}

// A repository that cannot take the blob is no verdict on the others that wait for it,
// nor is an image that is given up for another reason: another repository uploads, and
// the rest mount.
func TestWaitersForAMountTakeOver(t *testing.T) {
	shared := string(imagetest.Layer("shared0", 20_000).Digest())
	for name, leads := range map[string]func(w http.ResponseWriter, r *http.Request){
		"refused":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"cancelled": func(_ http.ResponseWriter, r *http.Request) { held(r) }, // until another blob of the image fails
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var leader atomic.Value // the first repository that uploads the shared layer
			led := newSignal()
			down := between(t, distribution(t), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				repo, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/")
				switch {
				case r.Method != http.MethodPut || r.URL.Query().Get("digest") == "":
				case r.URL.Query().Get("digest") == shared:
					if leader.CompareAndSwap(nil, repo) || leader.Load() == repo { // its other image wants it, too
						led.send()
						leads(w, r)
						return
					}
				default:
					<-led.done
					if leader.Load() == repo {
						w.WriteHeader(http.StatusForbidden)
						return
					}
				}
				next.ServeHTTP(w, r)
			})
			w := newWorld(t, distribution(t), down, nil)
			actions := fleetOf(w, 5, 1).actions
			if name == "refused" { // from the same upstream, whose verdict they would share
				for i := range actions[1:] {
					to := actions[i+1].To
					actions[i+1] = actions[0]
					actions[i+1].To = to
				}
			}
			for _, r := range w.run(t.Context(), copy.Options{Images: -1}, actions...) {
				if r.Action.To.Repository.Path == leader.Load() {
					expect(t, r, plan.HasFailed)
				} else {
					expect(t, r, plan.Copied)
				}
			}
			if got := w.down.wrote(shared); got != 1 {
				t.Errorf("the layer was uploaded %d times", got)
			}
		})
	}
}

// A run that ends while repositories wait for a mount ends at once, and leaves the tags
// as they were.
func TestInterruptedWaitingForAMount(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	down := between(t, distribution(t), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && r.URL.Query().Get("digest") == string(imagetest.Layer("shared0", 20_000).Digest()) {
			cancel()
			held(r)
			return
		}
		next.ServeHTTP(w, r)
	})
	w := newWorld(t, distribution(t), down, nil)
	f := fleetOf(w, 5, 1)
	for _, r := range w.run(ctx, copy.Options{Images: -1}, f.actions...) {
		expect(t, r, plan.Pending)
	}
}
