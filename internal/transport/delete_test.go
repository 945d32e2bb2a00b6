package transport_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

func TestDeleteTag(t *testing.T) {
	accepted := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }
	tests := []struct {
		name   string
		answer http.HandlerFunc
		kind   error // nil where the tag is removed
		asked  int
	}{
		{"accepted", accepted, nil, 1},
		{"after a failure", inTurn(refuse(503, "", ""), accepted), nil, 2},
		{"absent", refuse(404, "MANIFEST_UNKNOWN", "no such tag"), registry.ErrNotFound, 1},
		{"removed, and the answer was lost", inTurn(hangUp, refuse(404, "MANIFEST_UNKNOWN", "no such tag")), registry.ErrNotFound, 2},
		{"refused by the specification", refuse(405, "UNSUPPORTED", "tags cannot be deleted"), registry.ErrUnsupported, 1},
		{"refused with the other status", refuse(400, "DIGEST_INVALID", "not a digest"), registry.ErrUnsupported, 1},
		{"no such endpoint", refuse(404, "", ""), registry.ErrUnsupported, 1},
		{"not allowed", refuse(403, "DENIED", "no"), registry.ErrDenied, 1},
		{"a login page", refuse(302, "", ""), registry.ErrPermanent, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				asked := w.serve(host, test.answer)
				err := w.client(transport.Options{RetryTimes: 2}).DeleteTag(t.Context(), repo.Tagged("1.0"))
				if !errors.Is(err, test.kind) {
					t.Errorf("got %v, want %v", err, test.kind)
				}
				var want []string
				for range test.asked {
					want = append(want, "DELETE /v2/team/app/manifests/1.0")
				}
				got := asked.whats()
				got = got[len(got)-len(want):] // before it, how the registry is spoken to
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A digest never takes a tag's place: the manifest would lose all its tags.
func TestDeleteTagTakesNoDigest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		asked := w.serve(host, manifest)
		c := w.client(transport.Options{})
		for _, r := range []ref.Reference{repo.Digested(rawSum), repo.Tagged(string(rawSum)), repo.Tagged("")} {
			if err := c.DeleteTag(t.Context(), r); !errors.Is(err, registry.ErrPermanent) {
				t.Errorf("%s: %v", r, err)
			}
		}
		if got := asked.whats(); len(got) > 0 {
			t.Errorf("asked %q", got)
		}
	})
}

func TestDeleteTagAsksForAToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tokens := w.serve(realm, func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(`{"token":"t"}`)) })
		w.serve(host, func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer t" {
				rw.Header().Set("WWW-Authenticate", bearer("repository:team/app:pull"))
				rw.WriteHeader(http.StatusUnauthorized)
				return
			}
			rw.WriteHeader(http.StatusAccepted)
		})
		if err := w.client(transport.Options{}).DeleteTag(t.Context(), repo.Tagged("1.0")); err != nil {
			t.Fatal(err)
		}
		if q := tokens.all()[0].query; !strings.Contains(q, "delete") {
			t.Errorf("the token was asked for with %s", q)
		}
	})
}

// On a real registry the tag goes, and its image and the image's other tags stay.
func TestDeleteTagLeavesTheImage(t *testing.T) {
	server := ecrlocaltest.StartRegistry(t)
	node := imagetest.Image(ref.Platform{OS: "linux", Architecture: "amd64"}, imagetest.Layer("x", 100))
	for _, tag := range []string{"1.0", "stable"} {
		if _, err := imagetest.Push(t.Context(), nil, server.URL, "team/app", tag, node); err != nil {
			t.Fatal(err)
		}
	}
	c := transport.New(transport.Options{})
	defer c.Close()
	defer http.DefaultClient.CloseIdleConnections()
	at := ref.Repository{Host: server.Host, Path: "team/app"}
	if err := c.DeleteTag(t.Context(), at.Tagged("1.0")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resolve(t.Context(), at.Tagged("1.0")); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("the tag: %v", err)
	}
	for _, r := range []ref.Reference{at.Tagged("stable"), at.Digested(node.Digest())} {
		if got, err := c.Resolve(t.Context(), r); err != nil || got.Digest != node.Digest() {
			t.Errorf("%s is %s, %v", r, got.Digest, err)
		}
	}
	if err := c.DeleteTag(t.Context(), at.Tagged("stable")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resolve(t.Context(), at.Digested(node.Digest())); err != nil {
		t.Errorf("the image went with its last tag: %v", err)
	}
	if deletes, err := c.LastTagDeletes(at); deletes || err != nil {
		t.Errorf("LastTagDeletes: %t, %v", deletes, err)
	}
}
