package transport_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

func mount(t *testing.T, c *transport.Client, from ref.Repository) (registry.BlobUploader, error) {
	t.Helper()
	dst, err := c.OpenDestination(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	if !registry.CanMount(dst) {
		t.Fatal("the endpoint cannot mount")
	}
	return registry.MountBlob(t.Context(), dst, blobDesc, from)
}

var other = ref.Repository{Host: host, Path: "team/base"}

func TestMountGranted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tokens := w.serve(realm, issue())
		j := w.serve(host, guarded(bearer("repository:team/app:pull,push"), only("Bearer t1"), func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
		}))
		session, err := mount(t, w.client(transport.Options{}), other)
		if session != nil || err != nil {
			t.Fatalf("session %v, error %v", session, err)
		}
		last := j.all()[len(j.all())-1]
		query, err := url.ParseQuery(last.query)
		if diff := cmp.Diff(url.Values{"mount": {string(blobDesc.Digest)}, "from": {"team/base"}}, query); diff != "" || last.what != uploads || err != nil {
			t.Errorf("%s, %v (-want +got)\n%s", last.what, err, diff)
		}
		asked, _ := url.ParseQuery(tokens.all()[0].query)
		scopes := strings.Join(asked["scope"], " ")
		for _, scope := range []string{"repository:team/app:pull,push", "repository:team/base:pull"} {
			if !strings.Contains(scopes, scope) {
				t.Errorf("the token was asked for %q, which lacks %s", scopes, scope)
			}
		}
	})
}

// A refused mount is an upload session, and the bytes go there.
func TestMountRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var got []byte
		j := w.serve(host, store(location, take(&got)))
		session, err := mount(t, w.client(transport.Options{}), other)
		if session == nil || err != nil {
			t.Fatalf("session %v, error %v", session, err)
		}
		if err := session.UploadBlob(t.Context(), blobDesc, content(blob)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{uploads, "PUT " + location}, j.whats()); diff != "" || !bytes.Equal(got, blob) {
			t.Errorf("%d bytes arrived; requests (-want +got)\n%s", len(got), diff)
		}
	})
}

func TestMountErrors(t *testing.T) {
	for name, test := range map[string]struct {
		from   ref.Repository
		answer http.HandlerFunc
		want   error
	}{
		"another host":   {ref.Repository{Host: "elsewhere.test", Path: "x"}, refuse(500, "", "never asked"), registry.ErrUnsupported},
		"denied":         {other, refuse(403, "DENIED", "no"), registry.ErrDenied},
		"no such source": {other, refuse(404, "NAME_UNKNOWN", "no"), registry.ErrNotFound},
		"no location":    {other, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) }, registry.ErrPermanent},
		"another blob": {other, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", "sha256:00")
			w.WriteHeader(201)
		}, registry.ErrPermanent},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve(host, test.answer)
				session, err := mount(t, w.client(transport.Options{}), test.from)
				if session != nil || !errors.Is(err, test.want) {
					t.Errorf("session %v, error %v", session, err)
				}
			})
		})
	}
}
