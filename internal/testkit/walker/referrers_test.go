package walker_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

// What refers to index: a signature of it, an SBOM of its first child, and a signature of
// that.
var (
	signature     = imagetest.Referrer(index, "application/vnd.example.signature", imagetest.Layer("signature", 50))
	sbom          = imagetest.Referrer(image, "application/spdx+json", imagetest.Layer("sbom", 500))
	sbomSignature = imagetest.Referrer(sbom, "application/vnd.example.signature", imagetest.Layer("signature of the SBOM", 60))
)

// base is where a registry's answers come from.
type base struct{ url string }

// tagged is a registry without the referrers API, of which fronts may tamper with the
// answers.
func tagged(t *testing.T, what string, change func(*response)) base {
	t.Helper()
	registry := ecrlocaltest.StartRegistry(t)
	pushReferred(t, registry.URL)
	for subject, referrer := range map[ref.Digest]imagetest.Node{index.Digest(): signature, image.Digest(): sbom, sbom.Digest(): sbomSignature} {
		push(t, registry.URL, fallbackTag(subject), imagetest.Index(referrer))
	}
	front := honest
	if change != nil {
		front = tamper(what, change)
	}
	server := httptest.NewServer(front(registry))
	t.Cleanup(server.Close)
	return base{server.URL}
}

func pushReferred(t *testing.T, url string) {
	t.Helper()
	push(t, url, "1", index)
	for _, n := range []imagetest.Node{signature, sbom, sbomSignature} {
		push(t, url, "", n)
	}
}

func push(t *testing.T, url, tag string, n imagetest.Node) {
	t.Helper()
	if _, err := imagetest.Push(t.Context(), nil, url, "team/app", tag, n); err != nil {
		t.Fatal(err)
	}
}

func fallbackTag(d ref.Digest) string { return strings.Replace(string(d), ":", "-", 1) }

func (b base) checkAll(t *testing.T) walker.Tree {
	t.Helper()
	tree, err := walker.CheckAll(t.Context(), walker.Options{Base: b.url, Repository: "team/app", Reference: "1", Deep: true})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// With the API and without, the same referrers are found at the same manifests.
func TestCheckAllFindsReferrers(t *testing.T) {
	modern := ecrlocaltest.Start(t, ecrlocaltest.WithQuirks(ecrlocal.PlainOCI()))
	pushReferred(t, modern.URL)
	old, recent := tagged(t, "", nil).checkAll(t), base{modern.URL}.checkAll(t)
	if err := walker.SameAll(old, recent); err != nil {
		t.Error(err)
	}
	for name, tree := range map[string]walker.Tree{"old": old, "recent": recent} {
		if err := tree.Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, ok := tree.Referrers[signature.Digest()]; !ok || len(tree.Referrers) != 2 {
			t.Errorf("%s: %d referrers, of the index %t", name, len(tree.Referrers), ok)
		}
		if above := tree.Referrers[sbom.Digest()]; len(above.Referrers) != 1 || len(above.Referrers[sbomSignature.Digest()].Blobs) != 2 {
			t.Errorf("%s: above the SBOM is %v", name, above.Referrers)
		}
	}
}

// list makes a list of referrers name others.
func list(entries ...v1.Descriptor) func(*response) {
	return func(r *response) {
		r.body, _ = json.Marshal(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: entries})
		r.header.Del("Docker-Content-Digest")
	}
}

// Whatever goes wrong with a referrer is damage of the whole, and no such tree is the
// same as another.
func TestCheckAllFindsDamage(t *testing.T) {
	whole := tagged(t, "", nil).checkAll(t)
	ofIndex := "/manifests/" + fallbackTag(index.Digest())
	larger, other := signature.Descriptor, signature.Descriptor
	larger.Size++
	other.MediaType = imagetest.DockerManifest
	tests := []struct {
		name   string
		what   string // the end of the path that is tampered with
		change func(*response)
		want   string // part of the damage
	}{
		{"listed and missing", "/manifests/" + string(signature.Digest()), absent, string(signature.Digest()) + ": listed as a referrer, and missing"},
		{"missing above another", "/manifests/" + string(sbomSignature.Digest()), absent, string(sbomSignature.Digest()) + ": listed as a referrer, and missing"},
		{"another's referrer", ofIndex, list(sbom.Descriptor), string(sbom.Digest()) + ": listed as a referrer of " + string(index.Digest()) + ", and its subject is " + string(image.Digest())},
		{"nobody's referrer", ofIndex, list(image.Descriptor), "and its subject is "},
		{"listed with another size", ofIndex, list(larger), fmt.Sprintf("listed with %d bytes", larger.Size)},
		{"listed with another media type", ofIndex, list(other), "of " + imagetest.DockerManifest + ", and has"},
		{"lost layer", string(signature.Blobs[1].Digest()), absent, string(signature.Blobs[1].Digest()) + ": blob is missing"},
		{"lost layer above another", string(sbomSignature.Blobs[1].Digest()), absent, string(sbomSignature.Blobs[1].Digest()) + ": blob is missing"},
		{"changed layer", string(sbom.Blobs[1].Digest()), flipped, string(sbom.Blobs[1].Digest()) + ": the blob's bytes do not hash"},
		{"changed referrer", "/manifests/" + string(sbom.Digest()), reformatted, "the bytes hash to"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree := tagged(t, tt.what, tt.change).checkAll(t)
			if err := tree.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("damage %v, want %q", err, tt.want)
			}
			if err := walker.SameAll(whole, tree); err == nil {
				t.Error("it is called the same as one that is whole")
			}
		})
	}
}

// A referrer that one side does not even list is missed, at whatever distance.
func TestSameAllMissesReferrers(t *testing.T) {
	whole := tagged(t, "", nil).checkAll(t)
	for name, subject := range map[string]ref.Digest{"of the index": index.Digest(), "of a child": image.Digest(), "of a referrer": sbom.Digest()} {
		t.Run(name, func(t *testing.T) {
			tree := tagged(t, "/manifests/"+fallbackTag(subject), absent).checkAll(t)
			if err := tree.Err(); err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{walker.SameAll(whole, tree), walker.SameAll(tree, whole)} {
				if err == nil || !strings.Contains(err.Error(), "has the referrer sha256:") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}
