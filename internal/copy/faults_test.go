package copy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// impatient notices a stalled stream soon.
func impatient(o *transport.Options) { o.Stall = 300 * time.Millisecond }

// tampered changes the bodies of answers that change asks for: it is given the path and
// the body of each answer to a GET.
func tampered(t *testing.T, p *place, change func(path string, body []byte) []byte) *place {
	t.Helper()
	return between(t, p, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		body := change(r.URL.Path, answer.Body.Bytes())
		maps.Copy(w.Header(), answer.Header())
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(answer.Code)
		_, _ = w.Write(body)
	})
}

func flipLast(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)-1] ^= 1
	return b
}

// Content that is not what its digest says never becomes a tag, and never a blob: the
// destination has not even got to see all of it.
func TestCorruptSource(t *testing.T) {
	faults.Covers(t, "F08", "F09", "F33", "F34")
	tests := []struct {
		name    string
		target  func(root imagetest.Node) string // what is tampered with
		change  func([]byte) []byte
		kind    error
		reasons []string
	}{
		{"layer with its last bit flipped", layerOf, flipLast, failure.ErrCorrupt, []string{"read blob from upstream", "came as sha256:"}},
		{"layer that is too long", layerOf, func(b []byte) []byte { return append(bytes.Clone(b), 'x') }, failure.ErrCorrupt, []string{"read blob from upstream", "its manifest says"}},
		{"layer that is too short", layerOf, func(b []byte) []byte { return b[:len(b)-1] }, failure.ErrCorrupt, []string{"read blob from upstream", "its manifest says"}},
		{"empty layer", layerOf, func([]byte) []byte { return nil }, failure.ErrCorrupt, []string{"read blob from upstream"}},
		{"manifest of a child", childOf, flipLast, failure.ErrCorrupt, []string{"read manifest from upstream"}},
		{"manifest of the root", func(n imagetest.Node) string { return string(n.Digest()) }, flipLast, failure.ErrCorrupt, []string{"read manifest from upstream"}},
	}
	for _, flavour := range []string{"native", "library"} {
		for _, test := range tests {
			t.Run(flavour+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				node := imagetest.Index(image("x", amd64), image("x", arm64))
				target := test.target(node)
				up := distribution(t)
				w := newWorld(t, tampered(t, up, func(path string, body []byte) []byte {
					if strings.HasSuffix(path, "/"+target) {
						return test.change(body)
					}
					return body
				}), distribution(t), nil)
				if flavour == "library" {
					w.throughLibrary()
				}
				old := image("old", amd64)
				w.push(up, "team/app", "1", node)
				w.push(w.down, "team/app", "1", old)

				// With three more attempts allowed, wrong bytes get one.
				result := w.run(t.Context(), copy.Options{RetryTimes: 3}, update(w.action("team/app", "1", node), old))[0]
				expect(t, result, plan.HasFailed, append(test.reasons, target)...)
				if !errors.Is(result.Err, test.kind) {
					t.Errorf("error %v", result.Err)
				}
				if got := w.walk(w.down, "team/app", "1"); got.Root != old.Digest() || got.Err() != nil {
					t.Errorf("the tag is %s: %v", got.Root, got.Err())
				}
				if n := w.down.wrote(target); n != 0 {
					t.Errorf("%s was stored %d times", target, n)
				}
				if n := count(up, "blob-get", target); n > 2 {
					t.Errorf("the same wrong bytes were read %d times", n)
				}
			})
		}
	}
}

// A layer that upstream holds wrongly is not read again for every image that needs it.
func TestCorruptLayerOfManyImages(t *testing.T) {
	faults.Covers(t, "F33")
	t.Parallel()
	base, up := imagetest.Layer("base", 500), distribution(t)
	w := newWorld(t, tampered(t, up, func(path string, body []byte) []byte {
		if strings.HasSuffix(path, string(base.Digest())) {
			return flipLast(body)
		}
		return body
	}), distribution(t), nil)
	var actions []plan.Action
	for i := range 6 {
		node := imagetest.Image(amd64, base, imagetest.Layer(fmt.Sprint(i), 10))
		w.push(up, "team/app", fmt.Sprint(i), node)
		actions = append(actions, w.action("team/app", fmt.Sprint(i), node))
	}
	for _, r := range w.run(t.Context(), copy.Options{RetryTimes: 3}, actions...) {
		expect(t, r, plan.HasFailed, "read blob from upstream", "came as sha256:")
	}
	if got := count(up, "blob-get", string(base.Digest())); got != 2 {
		t.Errorf("the layer was read %d times", got)
	}
}

// layerOf is a layer that both images of an index share, and childOf its first image.
func layerOf(root imagetest.Node) string { return string(root.Children[0].Blobs[1].Digest()) }
func childOf(root imagetest.Node) string { return string(root.Children[0].Digest()) }

// A stream that breaks off is begun again; where it may not be, the tag stays.
func TestBrokenStreams(t *testing.T) {
	faults.Covers(t, "F05", "F10")
	faults := map[string]ecrlocal.Fault{
		"cut":     {CutAfter: 1000},
		"stalled": {CutAfter: 1000, Hold: make(chan struct{})},
		"refused": {Status: http.StatusServiceUnavailable},
	}
	for name, fault := range faults {
		for _, retries := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s, %d retries", name, retries), func(t *testing.T) {
				t.Parallel()
				fault := fault // each of the two that run side by side sets its own Match
				w := newWorld(t, distribution(t), distribution(t), impatient)
				node := imagetest.Image(amd64, imagetest.Layer("large", 64<<10))
				layer := string(node.Blobs[1].Digest())
				w.push(w.up, "team/app", "1", node)
				fault.Match = func(e ecrlocal.Entry) bool { return e.Reference == layer }
				w.up.server.FailNext("blob-get", 1, fault)
				reads := 1 + retries
				if name == "cut" { // and the registry does not give the rest
					w.up.server.FailNext("blob-get", 1, ecrlocal.Fault{Status: http.StatusRequestedRangeNotSatisfiable, Match: fault.Match})
					reads++
				}

				result := w.run(t.Context(), copy.Options{RetryTimes: retries}, w.action("team/app", "1", node))[0]
				if got := count(w.up, "blob-get", layer); got != reads {
					t.Errorf("the layer was read %d times", got)
				}
				if retries > 0 {
					expect(t, result, plan.Copied)
					w.judge("1", node)
					return
				}
				expect(t, result, plan.HasFailed, layer)
				if name == "stalled" {
					// Both ends notice, and either may be the first to say so.
					if !errors.Is(result.Err, failure.ErrStalled) {
						t.Errorf("error %v", result.Err)
					}
				} else if side := registry.OnSide(result.Err); side != registry.SideSource {
					t.Errorf("the error is on side %q: %v", side, result.Err)
				}
				w.absent("1")
				if n := w.down.wrote(layer); n != 0 {
					t.Errorf("half a layer was stored %d times", n)
				}
			})
		}
	}
}

// A destination that takes the bytes and says nothing, or refuses them, is named.
func TestDestinationRefusesBlobs(t *testing.T) {
	for name, fault := range map[string]ecrlocal.Fault{
		"start":  {Status: http.StatusServiceUnavailable},
		"denied": {Status: http.StatusForbidden, Code: "DENIED", Message: "no"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, node := newWorld(t, distribution(t), distribution(t), nil), image("x", amd64)
			w.push(w.up, "team/app", "1", node)
			w.down.server.FailNext("upload-post", 100, fault)
			result := w.run(t.Context(), copy.Options{}, w.action("team/app", "1", node))[0]
			expect(t, result, plan.HasFailed, "destination")
			if side := registry.OnSide(result.Err); side != registry.SideTarget {
				t.Errorf("the error is on side %q: %v", side, result.Err)
			}
			w.absent("1")
		})
	}
}

// One layer that is gone ends the copying of all others of its image at once: the first
// of eight layers missing used to cost the download of the other seven. Here they never
// end by themselves.
func TestPermanentFailureCancelsSiblings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	var layers []imagetest.Blob
	for i := range 20 {
		layers = append(layers, imagetest.Layer(fmt.Sprint(i), 32<<10))
	}
	node := imagetest.Index(imagetest.Image(amd64, layers[:10]...), imagetest.Image(arm64, layers[10:]...))
	w.push(w.up, "team/app", "1", node)
	missing := string(layers[7].Digest())
	w.up.server.FailNext("blob-get", 1, ecrlocal.Fault{
		Status: http.StatusNotFound, Code: "BLOB_UNKNOWN",
		Match: func(e ecrlocal.Entry) bool { return e.Reference == missing },
	})
	w.up.server.FailNext("blob-get", 100, ecrlocal.Fault{
		CutAfter: 100, Hold: make(chan struct{}),
		Match: func(e ecrlocal.Entry) bool { return e.Reference != missing },
	})
	result := w.run(t.Context(), copy.Options{RetryTimes: 5}, w.action("team/app", "1", node))[0]
	expect(t, result, plan.HasFailed, "read blob from upstream", missing, "404")
	if got := count(w.up, "blob-get"); got > 22 { // the configs are two more
		t.Errorf("%d blobs were asked for: something was tried again", got)
	}
	if got := count(w.up, "blob-get", missing); got != 1 {
		t.Errorf("what is not there was asked for %d times", got)
	}
	if got := count(w.down, "manifest-put"); got != 0 {
		t.Errorf("%d manifests were written", got)
	}
}

// An image whose child upstream has lost names the child, and writes nothing.
func TestMissingChild(t *testing.T) {
	faults.Covers(t, "F37")
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	lost := image("lost", arm64)
	node := imagetest.Index(image("x", amd64), lost)
	w.push(w.up, "team/app", "1", node)
	w.up.server.FailNext("manifest-get", 10, ecrlocal.Fault{
		Status: http.StatusNotFound, Code: "MANIFEST_UNKNOWN",
		Match: func(e ecrlocal.Entry) bool { return e.Reference == string(lost.Digest()) },
	})
	expect(t, w.run(t.Context(), copy.Options{}, w.action("team/app", "1", node))[0], plan.HasFailed, "read manifest from upstream", string(lost.Digest()))
	if got := writes(w.down); len(got) > 0 {
		t.Errorf("written: %v", got)
	}
}

// One image's failure is its own.
func TestFailuresAreIsolated(t *testing.T) {
	faults.Covers(t, "I6")
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	base := imagetest.Layer("base", 2000)
	var nodes []imagetest.Node
	var actions []plan.Action
	for i := range 8 {
		node := imagetest.Image(amd64, base, imagetest.Layer(fmt.Sprint(i), 100))
		w.push(w.up, "team/app", fmt.Sprint(i), node)
		nodes, actions = append(nodes, node), append(actions, w.action("team/app", fmt.Sprint(i), node))
	}
	gone := string(nodes[3].Blobs[2].Digest())
	w.up.server.FailNext("blob-get", 10, ecrlocal.Fault{
		Status: http.StatusNotFound, Match: func(e ecrlocal.Entry) bool { return e.Reference == gone },
	})
	for i, r := range w.run(t.Context(), copy.Options{}, actions...) {
		tag := fmt.Sprint(i)
		if i == 3 {
			expect(t, r, plan.HasFailed, gone)
			w.absent(tag)
			continue
		}
		expect(t, r, plan.Copied)
		w.judge(tag, nodes[i])
	}
}

// onTagPut calls f in place of the first PUT of the tag 1.
func onTagPut(t *testing.T, p *place, f func(w http.ResponseWriter, r *http.Request, next http.Handler)) *place {
	t.Helper()
	var seen atomic.Bool
	return between(t, p, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1") && seen.CompareAndSwap(false, true) {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// drop cuts the connection without an answer.
func drop() { panic(http.ErrAbortHandler) }

// perform does what a request asks for and throws the answer away.
func perform(r *http.Request, next http.Handler) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, r)
	return answer
}

// What came of writing a tag is what the tag serves afterwards, whatever was answered.
func TestAnswersToTheTag(t *testing.T) {
	faults.Covers(t, "F22", "F76")
	other := image("other", amd64)
	type handler = func(w http.ResponseWriter, r *http.Request, next http.Handler)
	say := func(status int, body string) handler {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	tests := []struct {
		name    string
		handle  handler
		status  plan.Status
		reasons []string
	}{
		{"done, and the answer lost", func(_ http.ResponseWriter, r *http.Request, next http.Handler) { perform(r, next); drop() }, plan.Copied, nil},
		{"done, and called a failure", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			perform(r, next)
			w.WriteHeader(http.StatusInternalServerError)
		}, plan.Copied, nil},
		{"not done, and the answer lost", func(http.ResponseWriter, *http.Request, http.Handler) { drop() }, plan.HasFailed, []string{"write tag to destination"}},
		{"not done, and called a success", say(http.StatusCreated, ""), plan.HasFailed, []string{"read back from destination", "the tag serves absent"}},
		{"login page", say(http.StatusOK, "<html>sign in</html>"), plan.HasFailed, []string{"write tag to destination"}},
		{"redirect to a login page", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, "/login", http.StatusFound)
		}, plan.HasFailed, []string{"write tag to destination"}},
		{"refused", say(http.StatusForbidden, ""), plan.HasFailed, []string{"write tag to destination", "403"}},
		{"another manifest stored", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(other.Raw)), int64(len(other.Raw))
			perform(r, next)
			w.WriteHeader(http.StatusCreated)
		}, plan.HasFailed, []string{"read back from destination", string(other.Digest())}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			down := distribution(t)
			w, node := newWorld(t, distribution(t), onTagPut(t, down, test.handle), nil), image("x", amd64)
			w.push(w.up, "team/app", "1", node)
			w.push(down, "team/app", "other", other)
			result := w.run(t.Context(), copy.Options{}, w.action("team/app", "1", node))[0]
			expect(t, result, test.status, test.reasons...)
			if test.status == plan.Copied {
				w.judge("1", node)
			}
		})
	}
}

// A server that says yes to everything holds nothing.
func TestServerThatSaysYes(t *testing.T) {
	faults.Covers(t, "F23")
	for _, status := range []int{http.StatusOK, http.StatusCreated} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			yes := between(t, distribution(t), func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(status) })
			w, node := newWorld(t, distribution(t), yes, nil), image("x", amd64)
			w.push(w.up, "team/app", "1", node)
			result := w.run(t.Context(), copy.Options{}, w.action("team/app", "1", node))[0]
			if result.Status != plan.HasFailed && result.Status != plan.StaysBlocked {
				t.Errorf("got %s: %s", result.Status, result.Reason)
			}
		})
	}
}

// A tag that is not what the plan saw is not overwritten, and nothing else is brought
// either: the look comes before the bytes.
func TestChangedBefore(t *testing.T) {
	faults.Covers(t, "F78")
	for _, flavour := range flavours {
		t.Run(flavour.name, func(t *testing.T) {
			t.Parallel()
			w := flavour.make(t)
			planned, now, node := image("planned", amd64), image("now", amd64), image("x", amd64)
			w.push(w.up, "team/app", "1", node)
			w.push(w.down, "team/app", "1", now)
			for name, a := range map[string]plan.Action{
				"absent then":  w.action("team/app", "1", node),
				"another then": update(w.action("team/app", "1", node), planned),
				"absent now":   update(w.action("team/app", "2", node), planned),
			} {
				result := w.run(t.Context(), copy.Options{}, a)[0]
				expect(t, result, plan.StaysBlocked, "changed meanwhile")
				if diff := cmp.Diff([]string(nil), writes(w.down)); diff != "" {
					t.Errorf("%s: written (-want +got):\n%s", name, diff)
				}
			}
			if got := w.walk(w.down, "team/app", "1"); got.Root != now.Digest() {
				t.Errorf("the tag is %s", got.Root)
			}
		})
	}
}

// Of a plan that was made a moment ago each tag is looked at once, just before it is
// written; of an older one also before its content is brought. In both cases a tag that
// is no longer what the plan saw is left alone, and one that another run has brought is
// not written again.
func TestLooks(t *testing.T) {
	faults.Covers(t, "F78")
	planned, theirs, node := image("planned", amd64), image("theirs", amd64), image("x", amd64)
	for name, test := range map[string]struct {
		seen  copy.Seen
		looks int
	}{
		"of a plan just made":  {copy.Seen{At: time.Now()}, 1},
		"of an old plan":       {copy.Seen{At: time.Now().Add(-time.Hour)}, 2},
		"of a plan of any age": {copy.Seen{}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution(t), distribution(t), nil)
			w.push(w.up, "team/app", "1", node)
			w.push(w.down, "team/app", "theirs", theirs)
			w.push(w.down, "team/app", "brought", node)
			actions := []plan.Action{
				w.action("team/app", "new", node), w.action("team/app", "theirs", node), w.action("team/app", "brought", node),
				update(w.action("team/app", "gone", node), planned),
			}
			results := w.run(t.Context(), copy.Options{Seen: test.seen}, actions...)
			expect(t, results[0], plan.Copied)
			expect(t, results[1], plan.StaysBlocked, "changed meanwhile")
			expect(t, results[2], plan.StaysInSync, "another run")
			expect(t, results[3], plan.StaysBlocked, "changed meanwhile")
			if got := count(w.down, "manifest-head", "new"); got != test.looks {
				t.Errorf("the new tag was looked at %d times, want %d", got, test.looks)
			}
			for _, tag := range []string{"theirs", "brought", "gone"} {
				if got := count(w.down, "manifest-put", tag); got != 0 {
					t.Errorf("%s was written %d times", tag, got)
				}
			}
			w.judge("new", node)
		})
	}
}

// A tag that changes while the content is on its way is seen by the second look.
func TestChangedWhileCopying(t *testing.T) {
	faults.Covers(t, "F78")
	t.Parallel()
	down := distribution(t)
	theirs, node := image("theirs", amd64), image("x", amd64)
	front := between(t, down, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && r.URL.Query().Get("digest") == string(node.Blobs[1].Digest()) {
			push(t, down, "team/app", "1", theirs)
		}
		next.ServeHTTP(w, r)
	})
	w := newWorld(t, distribution(t), front, nil)
	w.push(w.up, "team/app", "1", node)
	result := w.run(t.Context(), copy.Options{}, w.action("team/app", "1", node))[0]
	expect(t, result, plan.StaysBlocked, "changed meanwhile", "was absent", string(theirs.Digest()))
	if got := w.walk(down, "team/app", "1"); got.Root != theirs.Digest() || got.Err() != nil {
		t.Errorf("the tag is %s: %v", got.Root, got.Err())
	}
}

// Two runs race for an immutable tag. ECR refuses the second one even where both write
// the same.
func TestImmutableRace(t *testing.T) {
	faults.Covers(t, "F61", "F62")
	node, theirs := image("x", amd64), image("theirs", amd64)
	for name, test := range map[string]struct {
		first  imagetest.Node
		status plan.Status
	}{
		"the same image": {node, plan.Copied},
		"another image":  {theirs, plan.StaysBlocked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			down := ecrWith(t, ecrlocal.RepositoryOptions{Mutability: "IMMUTABLE"}, "team/app")
			w := newWorld(t, distribution(t), onTagPut(t, down, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				push(t, down, "team/app", "1", test.first)
				next.ServeHTTP(w, r)
			}), nil)
			w.push(w.up, "team/app", "1", node)
			expect(t, w.run(t.Context(), copy.Options{}, w.action("team/app", "1", node))[0], test.status)
			if got := w.walk(down, "team/app", "1"); got.Root != test.first.Digest() || got.Err() != nil {
				t.Errorf("the tag is %s: %v", got.Root, got.Err())
			}
		})
	}
}

// Garbage collection took a layer between its upload and the manifest that names it, or
// the index above that. The registry refuses what it is sent, and what it lacks is brought
// once more.
func TestLostLayerIsBroughtAgain(t *testing.T) {
	faults.Covers(t, "F50")
	node := imagetest.Index(image("x", amd64), image("x", arm64))
	for name, sent := range map[string]string{"before the image": childOf(node), "before the index": "1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			layer, down := layerOf(node), distribution(t)
			var gc sync.Once
			front := between(t, down, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/"+sent) {
					collected := false
					gc.Do(func() { collected = collect(t, next, layer) })
					if collected {
						w.WriteHeader(http.StatusNotFound)
						_, _ = io.WriteString(w, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}`)
						return
					}
				}
				next.ServeHTTP(w, r)
			})
			w := newWorld(t, distribution(t), front, nil)
			w.push(w.up, "team/app", "1", node)
			expect(t, w.run(t.Context(), copy.Options{}, w.action("team/app", "1", node))[0], plan.Copied)
			if got := down.wrote(layer); got != 2 {
				t.Errorf("the layer was uploaded %d times", got)
			}
			w.judge("1", node)
		})
	}
}

// collect removes a blob from team/app, as garbage collection would.
func collect(t *testing.T, registry http.Handler, digest string) bool {
	t.Helper()
	gc := httptest.NewRequestWithContext(context.Background(), http.MethodDelete, "/v2/team/app/blobs/"+digest, http.NoBody)
	answer := perform(gc, registry)
	if answer.Code != http.StatusAccepted {
		t.Errorf("deleting the layer: %d %s", answer.Code, answer.Body)
	}
	return true
}

// While the root is brought once more, somebody writes its tag. It is looked at again
// before the second attempt.
func TestChangedWhileBroughtAgain(t *testing.T) {
	t.Parallel()
	down, theirs, node := distribution(t), image("theirs", amd64), image("x", amd64)
	front := onTagPut(t, down, func(w http.ResponseWriter, _ *http.Request, next http.Handler) {
		collect(t, next, string(node.Blobs[1].Digest()))
		push(t, down, "team/app", "1", theirs)
		w.WriteHeader(http.StatusBadRequest)
	})
	w := newWorld(t, distribution(t), front, nil)
	w.push(w.up, "team/app", "1", node)
	expect(t, w.run(t.Context(), copy.Options{}, w.action("team/app", "1", node))[0], plan.StaysBlocked, "changed meanwhile")
	if got := w.walk(down, "team/app", "1"); got.Root != theirs.Digest() {
		t.Errorf("the tag is %s", got.Root)
	}
}

// A manifest that a registry does not like is refused twice and no more.
func TestRefusedManifest(t *testing.T) {
	faults.Covers(t, "F21")
	t.Parallel()
	w, node := newWorld(t, distribution(t), distribution(t), nil), image("x", amd64)
	w.push(w.up, "team/app", "1", node)
	w.down.server.FailNext("manifest-put", 100, ecrlocal.Fault{Status: http.StatusBadRequest, Code: "MANIFEST_INVALID", Message: "no artifacts here"})
	result := w.run(t.Context(), copy.Options{RetryTimes: 3}, w.action("team/app", "1", node))[0]
	expect(t, result, plan.HasFailed, "write tag to destination", "no artifacts here")
	if got := count(w.down, "manifest-put"); got != 2 {
		t.Errorf("it was sent %d times", got)
	}
	if got := count(w.down, "upload-put"); got != len(node.AllBlobs()) {
		t.Errorf("%d blobs were uploaded", got)
	}
}

// The time an image has is its own: another that needs the same layer takes over.
func TestTimeoutOfOneImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	base, slow := imagetest.Layer("base", 3000), imagetest.Layer("slow", 3000)
	late, quick := imagetest.Image(amd64, slow, base), imagetest.Image(arm64, base)
	w.push(w.up, "team/app", "late", late)
	w.push(w.up, "team/app", "quick", quick)
	w.up.server.FailNext("blob-get", 100, ecrlocal.Fault{
		CutAfter: 100, Hold: make(chan struct{}), Match: func(e ecrlocal.Entry) bool { return e.Reference == string(slow.Digest()) },
	})
	results := w.run(t.Context(), copy.Options{Timeout: 2 * time.Second}, w.action("team/app", "late", late), w.action("team/app", "quick", quick))
	expect(t, results[0], plan.HasFailed, "not copied within --timeout 2s")
	expect(t, results[1], plan.Copied)
	w.absent("late")
	w.judge("quick", quick)
}

// The leader of a shared layer fails for a layer of its own. Whoever waited for the
// shared one takes over, and is not told of a layer it does not have.
func TestCancelledLeaderHandsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	base, gone := imagetest.Layer("base", 3000), imagetest.Layer("gone", 3000)
	first, second := imagetest.Image(amd64, base, gone), imagetest.Image(arm64, base)
	w.push(w.up, "team/app", "first", first)
	w.push(w.up, "team/app", "second", second)
	led, waiting := newSignal(), newSignal()
	w.up.server.FailNext("blob-get", 1, ecrlocal.Fault{
		CutAfter: 100, Hold: make(chan struct{}),
		Match: func(e ecrlocal.Entry) bool { led.send(); return e.Reference == string(base.Digest()) },
	})
	w.up.server.FailNext("blob-get", 1, ecrlocal.Fault{
		Hold: waiting.done, Status: http.StatusNotFound,
		Match: func(e ecrlocal.Entry) bool { return e.Reference == string(gone.Digest()) },
	})
	opts := copy.Options{Images: 2, Events: copy.Events{
		Started: func(a plan.Action) {
			if a.To.Tag == "second" {
				<-led.done
			}
		},
		// The second image has moved bytes of its config: its layer it waits for.
		Moved: func(a plan.Action, _ int) {
			if a.To.Tag == "second" {
				waiting.send()
			}
		},
	}}
	results := w.run(t.Context(), opts, w.action("team/app", "first", first), w.action("team/app", "second", second))
	expect(t, results[0], plan.HasFailed, string(gone.Digest()))
	expect(t, results[1], plan.Copied)
	w.judge("second", second)
}

// An image gives up a layer half-way, because another of its layers is gone upstream. An
// image that begins later and has the first layer, too, brings it: that it was given up,
// and for what, is nobody's verdict on it.
func TestLaterImageBringsWhatAnotherGaveUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	base, gone := imagetest.Layer("base", 3000), imagetest.Layer("gone", 3000)
	first, second := imagetest.Image(amd64, base, gone), imagetest.Image(arm64, base)
	w.push(w.up, "team/app", "first", first)
	w.push(w.up, "team/app", "second", second)
	led := newSignal()
	w.up.server.FailNext("blob-get", 1, ecrlocal.Fault{
		CutAfter: 100, Hold: make(chan struct{}), // until it is given up
		Match: func(e ecrlocal.Entry) bool {
			if e.Reference != string(base.Digest()) {
				return false
			}
			led.send()
			return true
		},
	})
	w.up.server.FailNext("blob-get", 1, ecrlocal.Fault{
		Hold: led.done, Status: http.StatusNotFound,
		Match: func(e ecrlocal.Entry) bool { return e.Reference == string(gone.Digest()) },
	})
	results := w.run(t.Context(), copy.Options{Images: 1}, w.action("team/app", "first", first), w.action("team/app", "second", second))
	expect(t, results[0], plan.HasFailed, string(gone.Digest()))
	expect(t, results[1], plan.Copied)
	w.judge("second", second)
}

// A run that is interrupted leaves every tag as it was, says so, and writes nothing
// from then on.
func TestInterrupted(t *testing.T) {
	faults.Covers(t, "I17")
	for _, flavour := range flavours {
		t.Run(flavour.name, func(t *testing.T) {
			t.Parallel()
			w := flavour.make(t)
			var actions []plan.Action
			for i := range 4 {
				node := imagetest.Image(amd64, imagetest.Layer(fmt.Sprint(i), 32<<10))
				w.push(w.up, "team/app", fmt.Sprint(i), node)
				actions = append(actions, w.action("team/app", fmt.Sprint(i), node))
			}
			reason := errors.New("interrupted by SIGTERM")
			ctx, cancel := context.WithCancelCause(t.Context())
			moved := newSignal()
			w.up.server.FailNext("blob-get", 100, ecrlocal.Fault{CutAfter: 16 << 10, Hold: make(chan struct{})})
			go func() {
				<-moved.done
				cancel(reason)
			}()
			opts := copy.Options{Images: 2, RetryTimes: 3, Events: copy.Events{Moved: func(plan.Action, int) { moved.send() }}}
			for _, r := range w.run(ctx, opts, actions...) {
				expect(t, r, plan.Pending, "interrupted by SIGTERM")
				if !errors.Is(r.Err, reason) {
					t.Errorf("error %v", r.Err)
				}
			}
			for i, a := range actions {
				w.absent(a.To.Tag)
				if layer := string(imagetest.Layer(fmt.Sprint(i), 32<<10).Digest()); w.down.wrote(layer) != 0 {
					t.Errorf("the layer of image %d was stored, of which upstream sent half", i)
				}
			}
			if got := count(w.down, "manifest-put"); got != 0 {
				t.Errorf("%d manifests were written", got)
			}
			if got := count(w.up, "blob-get"); got > 4 { // two images under way, with a layer and a config each
				t.Errorf("%d blobs were asked for: something was begun or tried again", got)
			}
		})
	}
}

func TestEndedBeforeItBegan(t *testing.T) {
	t.Parallel()
	w, node := newWorld(t, distribution(t), distribution(t), nil), image("x", amd64)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("--max-duration is used up"))
	w.up.server.ResetJournal()
	a, synced := w.action("team/app", "1", node), w.action("team/app", "2", node)
	synced.Verb, synced.Reason = plan.InSync, "same digest"
	results := w.run(ctx, copy.Options{}, a, synced)
	expect(t, results[0], plan.Pending, "--max-duration is used up")
	expect(t, results[1], plan.StaysInSync)
	if n := len(w.up.server.Journal()) + len(w.down.server.Journal()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

// The run ends in the middle of writing a tag. The report then says what the tag is: it
// used to be called not done when the answer was all that was missing.
func TestInterruptedWhileWritingTheTag(t *testing.T) {
	faults.Covers(t, "F76", "I17")
	for name, test := range map[string]struct {
		done, deaf bool
		status     plan.Status
		reason     string
	}{
		"it was done":     {true, false, plan.Copied, "missing at destination"},
		"it was not done": {false, false, plan.Pending, "interrupted"},
		"nobody can tell": {true, true, plan.HasFailed, "it is not known what the tag is now"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var deaf atomic.Bool
			var seen atomic.Bool
			front := between(t, distribution(t), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				switch {
				case deaf.Load():
					w.WriteHeader(http.StatusInternalServerError)
				case r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1") && seen.CompareAndSwap(false, true):
					if test.done {
						perform(r, next)
					}
					deaf.Store(test.deaf)
					cancel(errors.New("interrupted"))
					_, _ = io.Copy(io.Discard, r.Body) // without which the server does not notice that the client left
					<-r.Context().Done()
					drop()
				default:
					next.ServeHTTP(w, r)
				}
			})
			w, node := newWorld(t, distribution(t), front, nil), image("x", amd64)
			w.push(w.up, "team/app", "1", node)
			result := w.run(ctx, copy.Options{}, w.action("team/app", "1", node))[0]
			expect(t, result, test.status, test.reason)
		})
	}
}

// Hostile or broken indexes and manifests are refused before anything is written.
func TestWrongSizes(t *testing.T) {
	faults.Covers(t, "F43")
	layer := imagetest.Layer("l", 500)
	lied := layer
	lied.Descriptor.Size = 400
	child := image("c", amd64)
	shrunk := child
	shrunk.Descriptor.Size--
	tests := []struct {
		name   string
		node   imagetest.Node
		reason string
	}{
		{"a child of another size", imagetest.Index(shrunk), "its index says"},
		{"a child of two sizes", imagetest.Index(child, shrunk), "two sizes"},
		{"a layer of another size", imagetest.Image(amd64, lied), "its manifest says 400"},
		{"a layer of two sizes", imagetest.Image(amd64, layer, lied), "two sizes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution(t), distribution(t), nil)
			w.push(w.up, "team/app", "1", test.node)
			expect(t, w.run(t.Context(), copy.Options{}, w.action("team/app", "1", test.node))[0], plan.HasFailed, test.reason, "upstream")
			if got := count(w.down, "manifest-put"); got != 0 {
				t.Errorf("%d manifests were written", got)
			}
		})
	}
}

// An image that is wrong about a layer's size does not pass on the strength of another
// image that is right about it and brought the layer first.
func TestWrongSizeOfSharedLayer(t *testing.T) {
	faults.Covers(t, "F43")
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	layer := imagetest.Layer("l", 500)
	lied := layer
	lied.Descriptor.Size = 400
	right, wrong := imagetest.Image(amd64, layer), imagetest.Image(amd64, lied)
	w.push(w.up, "team/app", "right", right)
	w.push(w.up, "team/app", "wrong", wrong)
	results := w.run(t.Context(), copy.Options{Images: 1}, w.action("team/app", "right", right), w.action("team/app", "wrong", wrong))
	expect(t, results[0], plan.Copied)
	expect(t, results[1], plan.HasFailed, "its manifest says 400")
	w.absent("wrong")
}
