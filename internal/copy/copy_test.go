package copy_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// flavours are the ways content can take.
var flavours = []struct {
	name string
	make func(t *testing.T) *world
}{
	{"native to a registry", func(t *testing.T) *world { return newWorld(t, distribution(t), distribution(t), nil) }},
	{"native to ECR", func(t *testing.T) *world { return newWorld(t, distribution(t), ecr(t, "team/app"), nil) }},
	{"library to a registry", func(t *testing.T) *world {
		return newWorld(t, distribution(t), distribution(t), nil).throughLibrary()
	}},
	{"library to ECR", func(t *testing.T) *world {
		return newWorld(t, distribution(t), ecr(t, "team/app"), nil).throughLibrary()
	}},
}

// image is an image for a platform with layers of its own.
func image(seed string, p ref.Platform) imagetest.Node {
	return imagetest.Image(p, imagetest.Layer(seed+" base", 3000), imagetest.Layer(seed+p.String(), 500))
}

// nested is an index over indexes over images.
func nested() imagetest.Node {
	inner := imagetest.Index(image("inner", amd64), image("inner", arm64))
	return imagetest.Index(imagetest.Index(inner, image("middle", amd64)), image("outer", amd64), inner)
}

// emptyLayer is the one shape that not every registry takes.
const emptyLayer = "an empty layer"

// graphs are the shapes that images have.
func graphs() map[string]imagetest.Node {
	a, b := image("x", amd64), image("x", arm64)
	same := imagetest.Layer("same", 700)
	nothing := imagetest.NewBlob("application/vnd.oci.image.layer.v1.tar", nil)
	return map[string]imagetest.Node{
		"image":                   a,
		"image without layers":    imagetest.Image(amd64),
		"image without mediaType": a.WithoutMediaType(),
		"Docker image":            imagetest.DockerImage(amd64, imagetest.Layer("d", 900)),
		"index":                   imagetest.Index(a, b),
		"index without mediaType": imagetest.Index(a.WithoutMediaType(), b).WithoutMediaType(),
		"Docker list":             imagetest.DockerIndex(imagetest.DockerImage(amd64, same), imagetest.DockerImage(arm64, same)),
		"nested indexes":          nested(),
		"the same child twice":    imagetest.Index(a, b, a),
		"Helm chart":              helmChart(),
		"artifact of nothing":     imagetest.Artifact("application/vnd.example.nothing"),
		"artifact in an index":    imagetest.Index(a, imagetest.Artifact("application/vnd.example", imagetest.NewBlob("text/plain", []byte("x")))),
		"repeated layers":         imagetest.Image(amd64, same, imagetest.Layer("y", 10), same, same),
		emptyLayer:                imagetest.Image(amd64, nothing, same, nothing),
		"a layer of one byte":     imagetest.Image(amd64, imagetest.Layer("one", 1)),
		"uncompressed layer":      imagetest.Image(amd64, imagetest.NewBlob("application/vnd.oci.image.layer.v1.tar", []byte(strings.Repeat("x", 4096)))),
		"foreign layer":           imagetest.Image(amd64, imagetest.ForeignLayer("f", 100, "http://192.0.2.1/never/fetched"), same),
		"attestations":            imagetest.Index(a, b, imagetest.Attestation(a), imagetest.Attestation(b)),
		"annotated":               imagetest.Index(a.WithAnnotations(map[string]string{"k": "<v>&"}), b).WithAnnotations(map[string]string{"k": "v"}),
	}
}

// helmChart is an image manifest whose config and layer are of no image.
func helmChart() imagetest.Node {
	chart := imagetest.Image(amd64, imagetest.NewBlob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", []byte("chart")))
	config := imagetest.NewBlob("application/vnd.cncf.helm.config.v1+json", []byte(`{"name":"chart"}`))
	return imagetest.Artifact("application/vnd.cncf.helm.config.v1+json", append([]imagetest.Blob{config}, chart.Blobs[1:]...)...)
}

// Every shape of image arrives byte for byte, by every way, and the tag is the last
// thing written. Asked for once more, nothing is written at all.
func TestCopies(t *testing.T) {
	faults.Covers(t, "F38", "F39", "F45", "F47", "F48", "I3")
	all := graphs()
	for _, flavour := range flavours {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if name == emptyLayer && strings.HasSuffix(flavour.name, "ECR") {
				continue // see TestEmptyLayerAndECR
			}
			t.Run(flavour.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				w, node := flavour.make(t), all[name]
				w.push(w.up, "team/app", "1.0", node)
				a := w.action("team/app", "1.0", node)

				result := w.run(t.Context(), copy.Options{}, a)[0]
				expect(t, result, plan.Copied, "missing at destination")
				checkOrder(t, w.down, "1.0", node)
				if want := blobBytes(node); result.Bytes != want {
					t.Errorf("%d bytes copied, want %d", result.Bytes, want)
				}
				w.judge("1.0", node)

				w.down.forget()
				expect(t, w.run(t.Context(), copy.Options{}, a)[0], plan.StaysInSync, "another run")
				if diff := cmp.Diff([]string(nil), writes(w.down)); diff != "" {
					t.Errorf("written the second time (-want +got):\n%s", diff)
				}
				if w := writes(w.up); len(w) > 0 {
					t.Errorf("written upstream: %v", w)
				}
			})
		}
	}
}

// ECR refuses empty blobs, in words that do not say so.
func TestEmptyLayerAndECR(t *testing.T) {
	t.Parallel()
	w, node := newWorld(t, distribution(t), ecr(t, "team/app"), nil), graphs()[emptyLayer]
	w.push(w.up, "team/app", "1.0", node)
	expect(t, w.run(t.Context(), copy.Options{}, w.action("team/app", "1.0", node))[0], plan.HasFailed, "takes no empty blobs", "has no parts")
	w.absent("1.0")
}

func blobBytes(n imagetest.Node) int64 {
	var total int64
	for _, b := range n.AllBlobs() {
		total += b.Descriptor.Size
	}
	return total
}

// checkOrder reads in what a destination remembers that nothing was named before it was
// there: blobs before the manifests that name them, children before their index, the root
// last and under its tag; that the tag was read afterwards; and that each thing was written
// once.
func checkOrder(t *testing.T, down *place, tag string, root imagetest.Node) {
	t.Helper()
	written := map[string]write{}
	for _, w := range down.log.all() {
		if _, twice := written[w.name]; twice {
			t.Errorf("%s was written twice", w.name)
		}
		written[w.name] = w
	}
	before := func(first, second string) {
		a, b := written[first], written[second]
		if a.end == 0 || b.end == 0 || a.end >= b.begin {
			t.Errorf("%s was written from %d to %d, and %s, which names it, from %d to %d", first, a.begin, a.end, second, b.begin, b.end)
		}
	}
	for n := range root.All() {
		name := string(n.Digest())
		if n.Digest() == root.Digest() {
			name = tag
		}
		for _, child := range n.Children {
			before(string(child.Digest()), name)
		}
		for _, b := range n.Blobs {
			if !b.Foreign() {
				before(string(b.Digest()), name)
			}
		}
	}
	if _, byDigest := written[string(root.Digest())]; byDigest || written[tag].end == 0 {
		t.Errorf("the root was written under its tag at %d, and by its digest: %t", written[tag].end, byDigest)
	}

	var after []string
	for _, e := range down.server.Journal() {
		if e.Op == "manifest-put" && e.Reference == tag {
			after = []string{}
		} else if after != nil {
			after = append(after, e.Op+" "+e.Reference)
		}
	}
	if diff := cmp.Diff([]string{"manifest-get " + tag}, after); diff != "" {
		t.Errorf("requests after the tag was written (-want +got):\n%s", diff)
	}
}

func TestUpdates(t *testing.T) {
	for _, flavour := range flavours {
		t.Run(flavour.name, func(t *testing.T) {
			t.Parallel()
			w := flavour.make(t)
			base := imagetest.Layer("base", 5000)
			old := imagetest.Index(imagetest.Image(amd64, base, imagetest.Layer("old", 100)), imagetest.Image(arm64, base))
			moved := imagetest.Index(imagetest.Image(amd64, base, imagetest.Layer("new", 100)), imagetest.Image(arm64, base))
			w.push(w.down, "team/app", "1.0", old)
			w.push(w.up, "team/app", "1.0", moved)

			expect(t, w.run(t.Context(), copy.Options{}, update(w.action("team/app", "1.0", moved), old))[0], plan.Updated, "upstream moved")
			// What was there already is not moved again: only the new layer and config.
			if got := count(w.down, "upload-put"); got != 2 {
				t.Errorf("%d blobs were uploaded, want 2", got)
			}
			if got := count(w.up, "blob-get", string(base.Digest())); got != 0 {
				t.Errorf("the layer that was there was read %d times", got)
			}
			w.judge("1.0", moved)
		})
	}
}

// Several tags of one image are one copy of what it names and one PUT for each tag; and
// upstream is asked for each manifest once, however many tags are copied side by side.
// Each of them used to be read once for every tag.
func TestTagsOfOneImage(t *testing.T) {
	for _, flavour := range flavours {
		t.Run(flavour.name, func(t *testing.T) {
			t.Parallel()
			w, node := flavour.make(t), imagetest.Index(image("x", amd64), image("x", arm64))
			w.push(w.up, "team/app", "1", node)
			var actions []plan.Action
			for i := range 12 {
				actions = append(actions, w.action("team/app", fmt.Sprintf("1.%d", i), node))
			}
			for _, r := range w.run(t.Context(), copy.Options{}, actions...) {
				expect(t, r, plan.Copied)
			}
			for _, b := range node.AllBlobs() {
				if up, down := count(w.up, "blob-get", string(b.Digest())), w.down.wrote(string(b.Digest())); up != 1 || down != 1 {
					t.Errorf("blob %s was read %d times and uploaded %d times", b.Digest(), up, down)
				}
			}
			for n := range node.All() {
				up, down := count(w.up, "manifest-get", string(n.Digest())), count(w.down, "manifest-put", string(n.Digest()))
				if n.Digest() == node.Digest() && strings.HasPrefix(flavour.name, "library") && up == 2 {
					up = 1 // the library may open a source by reading the manifest it is opened on
				}
				want := 1
				if n.Digest() == node.Digest() {
					want = 0 // it comes with each of its tags
				}
				if up != 1 || down != want {
					t.Errorf("manifest %s was read %d times and written by its digest %d times", n.Digest(), up, down)
				}
			}
			for _, a := range actions {
				if got := count(w.down, "manifest-put", a.To.Tag); got != 1 {
					t.Errorf("tag %s was written %d times", a.To.Tag, got)
				}
				w.judge(a.To.Tag, node)
			}
		})
	}
}

// An image that has come with its own tag is not written again for the index that names
// it; one whose tag comes later is.
func TestRootThatAnIndexNames(t *testing.T) {
	for _, first := range []string{"image", "index"} {
		t.Run(first+" first", func(t *testing.T) {
			t.Parallel()
			w, node := newWorld(t, distribution(t), distribution(t), nil), image("x", amd64)
			index := imagetest.Index(node, image("x", arm64))
			w.push(w.up, "team/app", "image", node)
			w.push(w.up, "team/app", "index", index)
			actions := []plan.Action{w.action("team/app", "image", node), w.action("team/app", "index", index)}
			want := 0
			if first == "index" {
				slices.Reverse(actions)
				want = 1
			}
			for _, r := range w.run(t.Context(), copy.Options{Images: 1}, actions...) {
				expect(t, r, plan.Copied)
			}
			if got := w.down.wrote(string(node.Digest())); got != want {
				t.Errorf("the image was written by its digest %d times, want %d", got, want)
			}
			w.judge("image", node)
			w.judge("index", index)
		})
	}
}

// sharing are two images of two upstream repositories that have a layer in common and
// go to one destination repository.
func sharing(w *world) (base imagetest.Blob, first, second imagetest.Node, actions []plan.Action) {
	base = imagetest.Layer("base", 4000)
	first = imagetest.Image(amd64, base, imagetest.Layer("first", 10))
	second = imagetest.Image(amd64, base, imagetest.Layer("second", 10))
	w.push(w.up, "one/app", "1", first)
	w.push(w.up, "two/app", "2", second)
	actions = []plan.Action{w.action("one/app", "1", first), w.action("two/app", "2", second)}
	for i := range actions {
		actions[i].To.Repository.Path = "team/app"
	}
	return base, first, second, actions
}

func TestMirrorsShareContent(t *testing.T) {
	for _, flavour := range flavours {
		t.Run(flavour.name, func(t *testing.T) {
			t.Parallel()
			w := flavour.make(t)
			base, first, second, actions := sharing(w)
			for _, r := range w.run(t.Context(), copy.Options{}, actions...) {
				expect(t, r, plan.Copied)
			}
			if up, down := count(w.up, "blob-get", string(base.Digest())), w.down.wrote(string(base.Digest())); up != 1 || down != 1 {
				t.Errorf("the shared layer was read %d times and uploaded %d times", up, down)
			}
			for tag, node := range map[string]imagetest.Node{"1": first, "2": second} {
				if got := w.walk(w.down, "team/app", tag); got.Root != node.Digest() || got.Err() != nil {
					t.Errorf("tag %s is %s: %v", tag, got.Root, got.Err())
				}
			}
		})
	}
}

// A layer that one upstream has lost is no verdict on an image that has it from another.
func TestLossOfOneUpstreamIsNotTheOthers(t *testing.T) {
	t.Parallel()
	up := distribution(t)
	var lost string
	front := between(t, up, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "one/app/blobs/"+lost) {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
	w := newWorld(t, front, distribution(t), nil)
	base, _, second, actions := sharing(w)
	lost = string(base.Digest())
	results := w.run(t.Context(), copy.Options{Images: 1}, actions...) // one after the other: the first finds nothing there
	expect(t, results[0], plan.HasFailed, "read blob from upstream", "one/app@"+lost)
	expect(t, results[1], plan.Copied)
	if got := w.walk(w.down, "team/app", "2"); got.Root != second.Digest() || got.Err() != nil {
		t.Errorf("tag 2 is %s: %v", got.Root, got.Err())
	}
	w.absent("1")
}

func TestPlatformSelections(t *testing.T) {
	a, b := image("x", amd64), image("x", arm64)
	index := imagetest.Index(a, b, imagetest.Attestation(a), imagetest.Attestation(b))
	selected, err := manifest.Select(index.Raw, index.Descriptor.MediaType, []ref.Platform{arm64})
	if err != nil {
		t.Fatal(err)
	}
	for _, flavour := range flavours {
		t.Run(flavour.name, func(t *testing.T) {
			t.Parallel()
			w := flavour.make(t)
			w.push(w.up, "team/app", "1", index)
			some, one, wrong := w.action("team/app", "1", index), w.action("team/app", "one", index), w.action("team/app", "wrong", index)
			some.Want, some.Mirror.Platforms = selected.Digest, discover.Platforms{Keep: []ref.Platform{arm64}}
			one.Want, one.Mirror.Platforms = b.Digest(), discover.Platforms{One: &arm64}
			wrong.Want, wrong.Mirror.Platforms = selected.Digest, discover.Platforms{Keep: []ref.Platform{amd64}}

			results := w.run(t.Context(), copy.Options{}, some, one, wrong)
			expect(t, results[0], plan.Copied)
			expect(t, results[1], plan.Copied)
			expect(t, results[2], plan.HasFailed, "where the plan says")
			report := w.walk(w.down, "team/app", "1")
			if report.Root != selected.Digest || report.Err() != nil || len(report.Manifests) != 3 {
				t.Errorf("selection is %s with %d manifests: %v", report.Root, len(report.Manifests), report.Err())
			}
			if report := w.walk(w.down, "team/app", "one"); report.Root != b.Digest() || report.Err() != nil {
				t.Errorf("the one image is %s: %v", report.Root, report.Err())
			}
			w.absent("wrong")
			if got := count(w.up, "manifest-get", string(a.Digest())); got != 0 {
				t.Errorf("the image that was not wanted was read %d times", got)
			}
		})
	}
}

func TestActionsThatWriteNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	var events []string
	var want []plan.Status
	var actions []plan.Action
	for verb, status := range map[plan.Verb]plan.Status{plan.InSync: plan.StaysInSync, plan.Blocked: plan.StaysBlocked, plan.Failed: plan.HasFailed} {
		a := w.action("team/app", "1", image("x", amd64))
		a.Verb, a.Reason = verb, "because"
		actions, want = append(actions, a), append(want, status)
	}
	results := w.run(t.Context(), copy.Options{Events: copy.Events{Started: func(a plan.Action) { events = append(events, a.To.String()) }}}, actions...)
	for i, r := range results {
		expect(t, r, want[i], "because")
	}
	if n := len(w.up.server.Journal()) + len(w.down.server.Journal()); n+len(events) > 0 {
		t.Errorf("%d requests and the events %v", n, events)
	}
	if got := w.run(t.Context(), copy.Options{}); len(got) != 0 {
		t.Errorf("results of an empty plan: %v", got)
	}
}

// Events tell of every image once, in order, and of every byte.
func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	var mu sync.Mutex
	log := map[string][]string{}
	bytes := map[string]int64{}
	note := func(tag, what string) {
		mu.Lock()
		defer mu.Unlock()
		log[tag] = append(log[tag], what)
	}
	opts := copy.Options{Events: copy.Events{
		Started: func(a plan.Action) { note(a.To.Tag, "started") },
		Moved: func(a plan.Action, n int) {
			mu.Lock()
			defer mu.Unlock()
			bytes[a.To.Tag] += int64(n)
		},
		Finished: func(r plan.Result) { note(r.Action.To.Tag, string(r.Status)) },
	}}
	first, second := image("1", amd64), image("2", amd64)
	w.push(w.up, "team/app", "1", first)
	w.push(w.up, "team/app", "2", second)
	missing := w.action("team/app", "3", image("never pushed", amd64))
	results := w.run(t.Context(), opts, w.action("team/app", "1", first), w.action("team/app", "2", second), missing)
	want := map[string][]string{"1": {"started", "copied"}, "2": {"started", "copied"}, "3": {"started", "failed"}}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i, node := range []imagetest.Node{first, second} {
		if got := bytes[results[i].Action.To.Tag]; got != blobBytes(node) || results[i].Bytes != got || results[i].Duration <= 0 {
			t.Errorf("image %d: %d bytes told, %d in the result, in %s; want %d", i, got, results[i].Bytes, results[i].Duration, blobBytes(node))
		}
	}
}

// The number of images copied at once is what was asked for: with all at once, every
// one of them is under way before the first can end.
// What has begun is finished, what has not is Pending, and what the plan could not
// decide counts.
func TestMaxErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		most int
		want []plan.Status
	}{
		"no limit":         {0, []plan.Status{plan.HasFailed, plan.HasFailed, plan.Copied, plan.HasFailed, plan.Copied}},
		"the plan's error": {1, []plan.Status{plan.HasFailed, plan.Pending, plan.Pending, plan.Pending, plan.Pending}},
		"two":              {2, []plan.Status{plan.HasFailed, plan.HasFailed, plan.Pending, plan.Pending, plan.Pending}},
		"three":            {3, []plan.Status{plan.HasFailed, plan.HasFailed, plan.Copied, plan.HasFailed, plan.Pending}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, node := newWorld(t, distribution(t), distribution(t), nil), imagetest.Image(amd64, imagetest.Layer("l", 100))
			w.push(w.up, "team/app", "1.0", node)
			actions := make([]plan.Action, 5)
			for i := range actions {
				actions[i] = w.action("team/app", fmt.Sprintf("%d.0", i), node)
			}
			actions[0].Verb = plan.Failed
			for _, i := range []int{1, 3} {
				missing := imagetest.Image(amd64, imagetest.Layer(fmt.Sprint("missing", i), 100))
				actions[i] = w.action("team/app", fmt.Sprintf("%d.0", i), missing)
			}
			var got []plan.Status
			for _, r := range w.run(t.Context(), copy.Options{Images: 1, MaxErrors: test.most}, actions...) {
				got = append(got, r.Status)
				if r.Status == plan.Pending && !strings.Contains(r.Reason, "not begun: ") {
					t.Errorf("reason %q", r.Reason)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Without a bound of images, as many begin as it takes to have blobs waiting, however many
// there are.
func TestImagesBeginAsBlobsAreWanted(t *testing.T) {
	const images, layers = 36, 40
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	var actions []plan.Action
	for i := range images {
		var own []imagetest.Blob
		for n := range layers {
			own = append(own, imagetest.Layer(fmt.Sprint(i, n), 10))
		}
		node := imagetest.Image(amd64, own...)
		w.push(w.up, "team/app", fmt.Sprint(i), node)
		actions = append(actions, w.action("team/app", fmt.Sprint(i), node))
		actions[i].Size = int64(i)
	}
	release, streams := newSignal(), make(chan struct{}, images*layers)
	w.up.server.FailNext("blob-get", images*layers, ecrlocal.Fault{
		Hold: release.done, Match: func(ecrlocal.Entry) bool { streams <- struct{}{}; return true },
	})
	ctx, cancel := context.WithCancel(t.Context()) // the rest of the run would tell nothing
	defer cancel()
	var begun atomic.Int32
	order := make(chan string, images)
	go func() {
		for range 64 { // as many as a host is asked for at first, while none has come
			<-streams
		}
		time.Sleep(200 * time.Millisecond) // for more to begin, where it is wrong
		// 384 blobs are seen to, and more images begin until 384 wait besides. Seven may begin
		// while another is about to say what it wants.
		if got := begun.Load(); got < 20 || got > 20+7 {
			t.Errorf("%d images began until the first blob was there", got)
		}
		cancel()
		release.send()
	}()
	opts := copy.Options{Events: copy.Events{Started: func(a plan.Action) {
		begun.Add(1)
		order <- a.To.Tag
	}}}
	w.run(ctx, opts, actions...)
	early := 0
	for range 12 {
		if tag := <-order; len(tag) == 2 && tag >= "24" { // the twelve largest
			early++
		}
	}
	if early < 8 {
		t.Errorf("%d of the twelve largest images are among the first twelve", early)
	}
}

func TestImagesAtOnce(t *testing.T) {
	const images = 10
	for _, test := range []struct{ ask, want int }{{1, 1}, {3, 3}, {0, images}, {-1, images}} {
		t.Run(fmt.Sprint(test.ask), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution(t), distribution(t), nil)
			var actions []plan.Action
			for i := range images {
				node := imagetest.Image(amd64, imagetest.Layer(fmt.Sprint(i), 10))
				w.push(w.up, "team/app", fmt.Sprint(i), node)
				actions = append(actions, w.action("team/app", fmt.Sprint(i), node))
			}
			release := newSignal()
			w.up.server.FailNext("blob-get", 1000, ecrlocal.Fault{Hold: release.done})
			var mu sync.Mutex
			under, most := 0, 0
			opts := copy.Options{Images: test.ask, Events: copy.Events{
				Started: func(plan.Action) {
					mu.Lock()
					defer mu.Unlock()
					under++
					most = max(most, under)
					if under == test.want {
						release.send()
					}
				},
				Finished: func(plan.Result) {
					mu.Lock()
					defer mu.Unlock()
					under--
				},
			}}
			for _, r := range w.run(t.Context(), opts, actions...) {
				expect(t, r, plan.Copied)
			}
			if most != test.want {
				t.Errorf("%d images at once, want %d", most, test.want)
			}
		})
	}
}
