package copy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// newWorldOf connects an upstream with several destinations.
func newWorldOf(t *testing.T, up *place, downs ...*place) *world {
	t.Helper()
	return newWorld(t, up, downs[0], func(o *transport.Options) {
		for _, p := range downs {
			o.Credentials.(auth.Static)[p.host] = auth.Credential{Username: p.username, Password: auth.Secret(p.password)} //nolint:forcetypeassert // newWorld's own
		}
	})
}

// also returns actions followed by the same to another place.
func also(actions []plan.Action, down *place) []plan.Action {
	all := slices.Clone(actions)
	for _, a := range actions {
		a.To.Repository.Host = down.host
		all = append(all, a)
	}
	return all
}

// runPlanned is run after planning, which has read the manifests.
func (w *world) runPlanned(ctx context.Context, opts copy.Options, actions ...plan.Action) []plan.Result {
	w.t.Helper()
	library := copy.NewLibrary(16)
	for _, a := range actions {
		if _, err := copy.Root(ctx, library, w.endpoint, a); err != nil {
			w.t.Fatal(err)
		}
	}
	copier := copy.New(w, library, opts)
	results := copier.Run(ctx, plan.Plan{Actions: actions})
	if opts.Spool.Dir != "" {
		// Where all went well, nothing waits for Close but the directory.
		for _, file := range spooledFiles(w.t, opts.Spool.Dir) {
			if !slices.ContainsFunc(results, func(r plan.Result) bool { return r.Status != plan.Copied }) {
				w.t.Errorf("%s is still there", file)
			}
		}
	}
	if err := copier.Close(); err != nil {
		w.t.Error(err)
	}
	if left, err := os.ReadDir(opts.Spool.Dir); opts.Spool.Dir != "" && err == nil && len(left) > 0 {
		w.t.Errorf("left in the spool: %v", left)
	}
	return results
}

func spooledFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// One download feeds all uploads: upstream is read once, at whatever registries a blob
// goes to, and whether these mount or not.
func TestOneDownloadFeedsAllUploads(t *testing.T) {
	const repositories = 4
	for _, test := range []struct {
		name   string
		images int
		downs  func(t *testing.T) []*place
	}{
		{"ECR without mounts, in turn", 1, func(t *testing.T) []*place { t.Helper(); return []*place{ecrFleet(t, repositories, false)} }},
		{"ECR without mounts", -1, func(t *testing.T) []*place { t.Helper(); return []*place{ecrFleet(t, repositories, false)} }},
		{"ECR with mounts", -1, func(t *testing.T) []*place { t.Helper(); return []*place{ecrFleet(t, repositories, true)} }},
		{"two registries, in turn", 1, func(t *testing.T) []*place { t.Helper(); return []*place{distribution(t), distribution(t)} }},
		{"two registries", -1, func(t *testing.T) []*place { t.Helper(); return []*place{distribution(t), distribution(t)} }},
		{"a registry and ECR", 3, func(t *testing.T) []*place {
			t.Helper()
			return []*place{distribution(t), ecrFleet(t, repositories, false)}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			downs := test.downs(t)
			w := newWorldOf(t, distribution(t), downs...)
			f := fleetOf(w, repositories, 1)
			actions := f.actions
			for _, down := range downs[1:] {
				actions = also(actions, down)
			}
			opts := copy.Options{Images: test.images, Spool: copy.Spool{Dir: t.TempDir(), Limit: 1 << 20}}
			results := w.runPlanned(t.Context(), opts, actions...)
			for digest := range f.blobs() {
				if got := count(w.up, "blob-get", digest); got != 1 {
					t.Errorf("blob %s was read %d times", digest, got)
				}
				for _, down := range downs {
					if got := down.wrote(digest); down.username == "" && got != 1 {
						t.Errorf("blob %s was uploaded %d times", digest, got)
					}
				}
			}
			for _, down := range downs {
				f.judge(down, results)
			}
		})
	}
}

// Where the spool is of no use, upstream is read again, and nothing fails.
func TestSpoolThatIsNoHelp(t *testing.T) {
	faults.Covers(t, "F81")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, spool := range map[string]copy.Spool{
		"off":                {},
		"full":               {Dir: t.TempDir(), Limit: 1},
		"full after a while": {Dir: t.TempDir(), Limit: 30_000},
		"no directory":       {Dir: filepath.Join(file, "x"), Limit: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			down, second := ecrFleet(t, 3, false), distribution(t)
			w := newWorldOf(t, distribution(t), down, second)
			f := fleetOf(w, 3, 1)
			results := w.runPlanned(t.Context(), copy.Options{Spool: spool}, also(f.actions, second)...)
			if got := count(w.up, "blob-get", string(f.shared[0].Digest())); name != "full after a while" && got < 2 {
				t.Errorf("the layer was read %d times, and the spool was no help?", got)
			}
			f.judge(down, results)
			f.judge(second, results)
		})
	}
}

// Files that are lost, or are not what was written, are noticed before the destination
// has a blob of them.
func TestSpooledFilesThatChange(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"removed":  os.Remove,
		"replaced": func(path string) error { return os.WriteFile(path, make([]byte, 20_000), 0o600) },
		"cut":      func(path string) error { return os.Truncate(path, 10) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			down := ecrFleet(t, 3, false)
			w := newWorldOf(t, distribution(t), down)
			f := fleetOf(w, 3, 1)
			var changed atomic.Int64
			opts := copy.Options{Images: 1, Spool: copy.Spool{Dir: dir, Limit: 1 << 20}}
			opts.Events.Finished = func(r plan.Result) {
				if r.Action.To != f.actions[0].To {
					return
				}
				for _, path := range spooledFiles(t, dir) {
					info, err := os.Stat(path)
					if err != nil || info.Mode() != 0o600 {
						t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
					}
					if err := change(path); err != nil {
						t.Error(err)
					}
					changed.Add(1)
				}
			}
			results := w.runPlanned(t.Context(), opts, f.actions...)
			f.judge(down, results)
			if changed.Load() == 0 {
				t.Error("nothing was spooled")
			}
		})
	}
}

// An upload that fails, or is given up, in the middle of the download that others wait
// for is no verdict on them.
func TestWaitersForADownloadTakeOver(t *testing.T) {
	shared := string(imagetest.Layer("shared0", 20_000).Digest())
	for name, leads := range map[string]func(w http.ResponseWriter, r *http.Request){
		"refused": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, 100)
			w.WriteHeader(http.StatusForbidden)
		},
		"cut": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, 100)
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var once sync.Once
			var leader atomic.Value
			fail := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPut && r.URL.Query().Get("digest") == shared {
					first := false
					once.Do(func() { first = true; leader.Store(r.Host) })
					if first {
						leads(w, r)
						return
					}
				}
				next.ServeHTTP(w, r)
			}
			one, two := between(t, distribution(t), fail), between(t, distribution(t), fail)
			w := newWorldOf(t, distribution(t), one, two)
			f := fleetOf(w, 1, 1)
			opts := copy.Options{Images: -1, Spool: copy.Spool{Dir: t.TempDir(), Limit: 1 << 20}}
			for _, r := range w.runPlanned(t.Context(), opts, also(f.actions, two)...) {
				if r.Action.To.Repository.Host == leader.Load() {
					expect(t, r, plan.HasFailed)
				} else {
					expect(t, r, plan.Copied)
				}
			}
		})
	}
}

// An interrupted run leaves no file behind.
func TestInterruptedSpool(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	var puts atomic.Int64
	down := ecrFleet(t, 4, false)
	front := between(t, down, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && puts.Add(1) == 8 {
			cancel(errors.New("SIGTERM"))
			held(r)
			return
		}
		next.ServeHTTP(w, r)
	})
	w := newWorldOf(t, distribution(t), front)
	f := fleetOf(w, 4, 1)
	opts := copy.Options{Images: 2, Spool: copy.Spool{Dir: t.TempDir(), Limit: 1 << 20}}
	pending := 0
	for _, r := range w.runPlanned(ctx, opts, f.actions...) {
		if r.Status == plan.Pending {
			pending++
		}
	}
	if pending == 0 {
		t.Error("nothing was interrupted")
	}
}

// Whatever is mirrored to wherever: each blob is read once, uploaded once for each
// registry that grants mounts, and no file is left.
func TestAnyPlanReadsEachBlobOnce(t *testing.T) {
	t.Parallel()
	downs := []*place{distribution(t), distribution(t)}
	w := newWorldOf(t, distribution(t), downs...)
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		var made []imagetest.Node
		wanted := map[string]imagetest.Node{} // by "host repository:tag"
		var actions []plan.Action
		for i := range rapid.IntRange(1, 4).Draw(r, "images") {
			made = append(made, drawNode(r, made))
			for _, repo := range rapid.SliceOfNDistinct(rapid.IntRange(0, 3), 1, 3, rapid.ID).Draw(r, "repositories") {
				path, tag := fmt.Sprintf("any/n%d/r%d", n, repo), fmt.Sprint("t", i)
				if _, err := imagetest.Push(context.Background(), nil, w.up.url, path, tag, made[i]); err != nil {
					r.Fatal(err)
				}
				for _, down := range rapid.SliceOfNDistinct(rapid.SampledFrom(downs), 1, 2, func(p *place) string { return p.host }).Draw(r, "targets") {
					a := w.action(path, tag, made[i])
					a.To.Repository.Host = down.host
					actions = append(actions, a)
					wanted[a.To.String()] = made[i]
				}
			}
		}
		w.up.forget()
		for _, down := range downs {
			down.forget()
		}
		// Blobs of earlier examples are in other repositories, which this run knows nothing of.
		opts := copy.Options{
			Images: rapid.SampledFrom([]int{0, 1, 2, -1}).Draw(r, "at once"),
			Spool:  copy.Spool{Dir: dir, Limit: 10 << 20},
		}
		for _, result := range w.runPlanned(t.Context(), opts, actions...) {
			if result.Status != plan.Copied {
				r.Fatalf("%s is %s: %s", result.Action.To, result.Status, result.Reason)
			}
		}
		at := func(a plan.Action) *place {
			return downs[slices.IndexFunc(downs, func(p *place) bool { return p.host == a.To.Repository.Host })]
		}
		for _, a := range actions {
			for _, b := range wanted[a.To.String()].AllBlobs() {
				digest := string(b.Digest())
				if up := count(w.up, "blob-get", digest); up != 1 {
					r.Fatalf("blob %s was read %d times", digest, up)
				}
				if got := at(a).wrote(digest); got != 1 {
					r.Fatalf("blob %s was uploaded %d times to one registry", digest, got)
				}
			}
		}
		for _, a := range actions { // which reads blobs, too
			node := wanted[a.To.String()]
			report := w.walk(at(a), a.To.Repository.Path, a.To.Tag)
			if err := walker.Same(w.walk(w.up, a.From.Repository.Path, a.From.Tag), report); err != nil || report.Root != node.Digest() {
				r.Fatalf("%s is %s, want %s: %v", a.To, report.Root, node.Digest(), err)
			}
		}
	})
}

// What refers to an image that goes to several destinations is read from upstream once,
// too: referrers, those of referrers, and what cosign keeps under tags.
func TestOneDownloadOfReferrers(t *testing.T) {
	for _, images := range []int{1, -1} {
		t.Run(fmt.Sprintf("%d at once", images), func(t *testing.T) {
			t.Parallel()
			downs := []*place{distribution(t), modern(t)}
			w := newWorldOf(t, distribution(t), downs...)
			s := newSigned()
			w.pushSigned(s)
			sig := signature("one")
			w.push(w.up, "team/app", cosignTag(s.image, "sig"), sig)
			actions := also([]plan.Action{w.withReferrers("1", s.image)}, downs[1])
			results := w.runPlanned(t.Context(), copy.Options{Images: images, Spool: copy.Spool{Dir: t.TempDir(), Limit: 1 << 20}}, actions...)
			for _, n := range []imagetest.Node{s.signature, s.sbom, s.sbomSignature, sig} {
				for _, b := range n.AllBlobs() {
					if got := count(w.up, "blob-get", string(b.Digest())); got != 1 {
						t.Errorf("blob %s was read %d times", b.Digest(), got)
					}
				}
			}
			for i, r := range results {
				expect(t, r, plan.Copied, "with 4 referrers")
				w.down = downs[i]
				w.judgeAll("1")
			}
		})
	}
}
