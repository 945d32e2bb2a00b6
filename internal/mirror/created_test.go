package mirror_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

const byCreated = "newest-by=created"

// dated is an image that says when it was created.
func dated(seed, created string, p ref.Platform) imagetest.Node {
	return image(seed, p).WithCreated(created)
}

// explained is a listing with the reasons of what was left out, by tag; "+" stands
// before the reason of a tag that was chosen.
func (w *world) explained(r *mirror.Runner) (reasons map[string]string, warnings []string) {
	w.t.Helper()
	r.Explain = true
	lines, warnings, err := r.List(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	reasons = map[string]string{}
	for _, l := range lines {
		switch {
		case l.Err != nil:
			reasons["error"] = l.Err.Error()
		case l.Left:
			reasons[l.Tag] = l.Term
		default:
			reasons[l.Tag] = "+" + l.Term
		}
	}
	return reasons, warnings
}

// Where an image's creation time can stand, and what counts as none.
func TestNewestByCreationTime(t *testing.T) {
	w := newWorld(t)
	annotated := func(n imagetest.Node, created string) imagetest.Node {
		return n.WithAnnotations(map[string]string{"org.opencontainers.image.created": created})
	}
	entry := func(n imagetest.Node, created string) imagetest.Node {
		n.Descriptor.Annotations = map[string]string{"org.opencontainers.image.created": created}
		return n
	}
	for tag, node := range map[string]imagetest.Node{
		"a-config":            dated("a", "2024-01-09T00:00:00.5Z", amd64),
		"b-zone":              dated("b", "2024-01-08T23:00:00-05:00", amd64),
		"c-docker":            imagetest.DockerImage(amd64, imagetest.Layer("c", 10)).WithCreated("2024-01-08T00:00:00Z"),
		"d-index":             imagetest.Index(imagetest.Attestation(image("d", amd64)), dated("d", "2024-01-07T00:00:00Z", amd64), dated("d", "2025-01-01T00:00:00Z", arm64)),
		"e-nested":            imagetest.Index(imagetest.Index(dated("e", "2024-01-06T00:00:00Z", amd64))),
		"f-config-first":      annotated(dated("f", "2024-01-05T00:00:00Z", amd64), "2030-01-01T00:00:00Z"),
		"g-annotation":        annotated(image("g", amd64), "2024-01-04T00:00:00Z"),
		"h-artifact":          annotated(imagetest.Artifact("application/vnd.example.chart", imagetest.NewBlob("text/plain", []byte("h"))), "2024-01-03T00:00:00Z"),
		"i-reproducible":      annotated(dated("i", "1970-01-01T00:00:01Z", amd64), "2024-01-02T00:00:00Z"),
		"j-entry-of-an-index": annotated(imagetest.Index(entry(image("j", amd64), "2024-01-01T00:00:00Z")), "2030-01-01T00:00:00Z"),
		"k-index-annotation":  annotated(imagetest.Index(image("k", amd64)), "2023-12-31T00:00:00Z"),
		"n-buildpack":         dated("n", "1980-01-01T00:00:01Z", amd64),
		"o-none":              image("o", amd64),
		"p-nonsense":          dated("p", "yesterday", amd64),
		"q-zero":              dated("q", "0001-01-01T00:00:00Z", amd64),
		"r-empty-index":       imagetest.Index(imagetest.Attestation(image("r", amd64))),
	} {
		w.push("org/app", tag, node)
	}
	w.repository("mirror/app", "org/app", "+/newest:1", tagged("upstream-options", byCreated))

	reasons, warnings := w.explained(w.runner())
	created := func(when string) string { return "not among the 1 newest: created " + when }
	const unknown = "not among the 1 newest: no creation time"
	want := map[string]string{
		"a-config":            "+glob +, newest:1",
		"b-zone":              created("2024-01-09T04:00:00Z"),
		"c-docker":            created("2024-01-08T00:00:00Z"),
		"d-index":             created("2024-01-07T00:00:00Z"),
		"e-nested":            created("2024-01-06T00:00:00Z"),
		"f-config-first":      created("2024-01-05T00:00:00Z"),
		"g-annotation":        created("2024-01-04T00:00:00Z"),
		"h-artifact":          created("2024-01-03T00:00:00Z"),
		"i-reproducible":      created("2024-01-02T00:00:00Z"),
		"j-entry-of-an-index": created("2024-01-01T00:00:00Z"),
		"k-index-annotation":  created("2023-12-31T00:00:00Z"),
		"n-buildpack":         unknown, "o-none": unknown, "p-nonsense": unknown, "q-zero": unknown, "r-empty-index": unknown,
	}
	want["a-config"], want["b-zone"] = created("2024-01-09T00:00:00Z"), "+glob +, newest:1" // 23:00 west of Greenwich is tomorrow
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "5 of 16 tags have no creation time") {
		t.Errorf("warnings %q", warnings)
	}
}

// An index is dated by the image that the mirror asks for.
func TestCreationTimeOfTheWantedPlatform(t *testing.T) {
	w := newWorld(t)
	w.push("org/app", "old", imagetest.Index(dated("x", "2024-01-01T00:00:00Z", amd64), dated("x", "2024-01-04T00:00:00Z", arm64)))
	w.push("org/app", "new", imagetest.Index(dated("y", "2024-01-02T00:00:00Z", amd64), dated("y", "2024-01-03T00:00:00Z", arm64)))
	w.repository("mirror/app", "org/app", "+/newest:1", tagged("upstream-options", byCreated))

	for platform, want := range map[string]string{"": "new", "linux/amd64": "new", "linux/arm64": "old", "linux/s390x": "new"} {
		r := w.runner()
		switch platform {
		case "linux/amd64":
			r.Platforms.One = &amd64
		case "linux/arm64":
			r.Platforms.Keep = []ref.Platform{arm64}
		case "linux/s390x": // upstream has none, which is for the plan to say
			r.Platforms.Keep = []ref.Platform{s390x}
		}
		reasons, _ := w.explained(r)
		if !strings.HasPrefix(reasons[want], "+") {
			t.Errorf("for %q: %v", platform, reasons)
		}
	}
}

// Every manifest is read once and counted, whichever tags share it, and is not read
// again when the run goes on to compare and copy.
func TestCreationTimesAreReadOnce(t *testing.T) {
	w := newWorld(t)
	for i := range 4 {
		node := imagetest.Index(dated(fmt.Sprint(i), fmt.Sprintf("2024-01-0%dT00:00:00Z", i+1), amd64))
		w.push("org/app", fmt.Sprintf("build-%d", i), node)
		w.push("org/app", fmt.Sprintf("build-%d-again", i), node)
	}
	w.push("org/app", "other", image("other", amd64))
	w.repository("mirror/app", "org/app", "build-+/newest:2", tagged("upstream-options", byCreated))
	w.forget()

	r := w.runner()
	results, _ := w.sync(r)
	if len(results) != 2 || results["mirror/app:build-3"].Reason == "" || results["mirror/app:build-3-again"].Reason == "" {
		t.Errorf("results %v", statuses(results))
	}
	got := ops(w.up.Journal())
	// Four indexes with an image each, and their configs; the copy reads a config and two
	// layers. Whether anything refers to an index and its image is seen in the list of tags.
	want := map[string]int{"tags-list": 1, "manifest-head": 10, "manifest-get": 8, "blob-get": 4 + 3}
	got["blob-get"] += got["blob-download"]
	for _, op := range []string{"tags-list", "manifest-head", "manifest-get", "blob-get"} {
		if got[op] != want[op] {
			t.Errorf("%d requests of the kind %s, want %d", got[op], op, want[op])
		}
	}
	if r.ManifestsRead() != 8 {
		t.Errorf("%d manifests counted", r.ManifestsRead())
	}
}

// Rules whose number has room for every candidate need no times.
func TestRoomForAllNeedsNoCreationTimes(t *testing.T) {
	w := newWorld(t)
	w.push("org/app", "a", image("a", amd64))
	w.push("org/app", "b", image("b", amd64))
	w.repository("mirror/app", "org/app", "+/newest:2", tagged("upstream-options", byCreated))
	w.forget()
	reasons, warnings := w.explained(w.runner())
	if diff := cmp.Diff(map[string]string{"a": "+glob +, newest:2", "b": "+glob +, newest:2"}, reasons); diff != "" || len(warnings) > 0 {
		t.Errorf("warnings %q, reasons (-want +got):\n%s", warnings, diff)
	}
	if diff := cmp.Diff(map[string]int{"tags-list": 1}, ops(w.up.Journal())); diff != "" {
		t.Errorf("asked of upstream (-want +got):\n%s", diff)
	}
}

// A creation time that cannot be read stops the mirror: without it other tags would be
// taken for the newest. What upstream lists and does not have is merely without a time.
func TestCreationTimeThatCannotBeRead(t *testing.T) {
	const denied, gone = http.StatusForbidden, http.StatusNotFound
	for _, test := range []struct {
		name, op string
		fault    ecrlocal.Fault
		want     string // of the tag a, or of the mirror
		stops    bool
	}{
		{"tag denied", "manifest-head", ecrlocal.Fault{Status: denied}, "403", true},
		{"manifest denied", "manifest-get", ecrlocal.Fault{Status: denied}, "403", true},
		{"config denied", "blob-get", ecrlocal.Fault{Status: denied}, "403", true},
		{"tag gone", "manifest-head", ecrlocal.Fault{Status: gone, Code: "MANIFEST_UNKNOWN"}, "no creation time", false},
		{"manifest gone", "manifest-get", ecrlocal.Fault{Status: gone, Code: "MANIFEST_UNKNOWN"}, "no creation time", false},
		{"config gone", "blob-get", ecrlocal.Fault{Status: gone, Code: "BLOB_UNKNOWN"}, "no creation time", false},
		{"config cut off", "blob-get", ecrlocal.Fault{CutAfter: 10}, "+", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			node := dated("a", "2024-01-02T00:00:00Z", amd64)
			w.push("org/app", "a", node)
			w.push("org/app", "b", dated("b", "2024-01-01T00:00:00Z", amd64))
			w.repository("mirror/app", "org/app", "+/newest:1", tagged("upstream-options", byCreated))
			test.fault.Match = func(e ecrlocal.Entry) bool {
				named := e.Reference == "a" // a HEAD that is refused without a word is asked again as a GET
				return named == (test.op == "manifest-head") && (named || e.Reference == string(node.Digest()) || strings.HasSuffix(e.Path, string(node.Blobs[0].Digest())))
			}
			w.up.FailNext(test.op, 1, test.fault)
			if test.op == "manifest-head" {
				w.up.FailNext("manifest-get", 1, test.fault)
			}
			reasons, _ := w.explained(w.runner())
			got, stopped := reasons["error"]
			if !stopped {
				got = reasons["a"]
			}
			if !strings.Contains(got, test.want) || stopped != test.stops || stopped && !strings.HasPrefix(got, "newest by creation time: ") {
				t.Errorf("reasons %v", reasons)
			}
		})
	}
}
