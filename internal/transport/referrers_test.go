package transport_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

var (
	subject  = digest.FromString("subject")
	apiPath  = "/v2/team/app/referrers/" + subject.String()
	tagsPage = "/v2/team/app/manifests/sha256-" + subject.Encoded()
)

// entries is an index of so many made-up referrers.
func entries(from, n int) string {
	list := []string{}
	for i := range n {
		list = append(list, fmt.Sprintf(`{"mediaType":"m","digest":%q,"size":%d,"artifactType":"a"}`, digest.FromString(fmt.Sprint(from+i)), from+i))
	}
	return `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.Join(list, ",") + `]}`
}

func text(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func linked(to, body string) http.HandlerFunc {
	return with("Link", "<"+to+`>; rel="next"`, text(200, "application/vnd.oci.image.index.v1+json", body))
}

func TestReferrers(t *testing.T) {
	const index = "application/vnd.oci.image.index.v1+json"
	absent := refuse(404, "MANIFEST_UNKNOWN", "")
	tests := []struct {
		name  string
		api   func(query string) http.HandlerFunc
		tag   http.HandlerFunc
		want  int // entries
		kind  error
		asked []string // twice: what the second question costs shows what was remembered
	}{
		{
			name: "none", api: func(string) http.HandlerFunc { return text(200, index, entries(0, 0)) },
			asked: []string{"GET " + apiPath, "GET " + apiPath},
		},
		{
			name: "pages", api: func(query string) http.HandlerFunc {
				if query == "" {
					return linked(apiPath+"?last=x", entries(0, 2))
				}
				return text(200, index, entries(1, 2)) // one of them again
			},
			want: 3, asked: []string{"GET " + apiPath, "GET " + apiPath, "GET " + apiPath, "GET " + apiPath},
		},
		{
			name: "no API, and no tag", api: func(string) http.HandlerFunc { return text(404, "text/plain", "404 page not found\n") }, tag: absent,
			asked: []string{"GET " + apiPath, "GET " + tagsPage, "GET " + tagsPage},
		},
		{
			name: "no API, and a tag", api: func(string) http.HandlerFunc { return refuse(405, "UNSUPPORTED", "") }, tag: text(200, index, entries(0, 2)),
			want: 2, asked: []string{"GET " + apiPath, "GET " + tagsPage, "GET " + tagsPage},
		},
		{
			name: "a web page for everything", api: func(string) http.HandlerFunc { return text(200, "text/html", "<html>") }, tag: absent,
			asked: []string{"GET " + apiPath, "GET " + tagsPage, "GET " + tagsPage},
		},
		{
			name: "an answer that is no index", api: func(string) http.HandlerFunc { return text(200, "application/json", `{"ok":true}`) }, tag: absent,
			asked: []string{"GET " + apiPath, "GET " + tagsPage, "GET " + tagsPage},
		},
		{
			name: "this repository alone is not known", api: func(string) http.HandlerFunc { return refuse(404, "NAME_UNKNOWN", "") }, tag: absent,
			asked: []string{"GET " + apiPath, "GET " + tagsPage, "GET " + apiPath, "GET " + tagsPage},
		},
		{
			name: "denied", api: func(string) http.HandlerFunc { return refuse(403, "DENIED", "no") },
			kind: registry.ErrDenied, asked: []string{"GET " + apiPath, "GET " + apiPath},
		},
		{
			name: "a tag that holds no list", api: func(string) http.HandlerFunc { return refuse(404, "", "") }, tag: text(200, "application/vnd.oci.image.manifest.v1+json", `{"config":{}}`),
			kind: registry.ErrPermanent, asked: []string{"GET " + apiPath, "GET " + tagsPage, "GET " + tagsPage},
		},
		{
			name: "pages in a circle", api: func(string) http.HandlerFunc { return linked(apiPath+"?last=x", entries(0, 1)) },
			kind: registry.ErrPermanent, asked: []string{"GET " + apiPath, "GET " + apiPath, "GET " + apiPath, "GET " + apiPath},
		},
		{
			name: "more than any image has", api: func(string) http.HandlerFunc { return text(200, index, entries(0, 10_001)) },
			kind: registry.ErrPermanent, asked: []string{"GET " + apiPath, "GET " + apiPath},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				j := w.serve(host, func(rw http.ResponseWriter, r *http.Request) {
					if r.URL.Path == tagsPage {
						test.tag(rw, r)
						return
					}
					test.api(r.URL.RawQuery)(rw, r)
				})
				c := w.client(transport.Options{})
				for range 2 {
					got, err := c.Referrers(t.Context(), repo.Digested(subject))
					if test.kind != nil {
						wantKind(t, err, test.kind)
					} else if err != nil {
						t.Error(err)
					}
					if len(got) != test.want {
						t.Errorf("%d referrers, want %d: %v", len(got), test.want, got)
					}
				}
				if diff := cmp.Diff(test.asked, j.whats()); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Where there is known to be no fallback tag, a host without the API is asked nothing
// more, and one with it is asked as ever.
func TestAskReferrers(t *testing.T) {
	const index = "application/vnd.oci.image.index.v1+json"
	for _, test := range []struct {
		name  string
		api   http.HandlerFunc
		want  int
		asked []string // by two questions
	}{
		{"with the API", text(200, index, entries(0, 2)), 2, []string{"GET " + apiPath, "GET " + apiPath}},
		{"without", text(404, "text/plain", "404 page not found\n"), 0, []string{"GET " + apiPath}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				j := w.serve(host, func(rw http.ResponseWriter, r *http.Request) { test.api(rw, r) })
				c := w.client(transport.Options{})
				for range 2 {
					got, err := registry.AskReferrers(t.Context(), c, repo.Digested(subject))
					if err != nil || len(got) != test.want {
						t.Errorf("%v, %v", got, err)
					}
				}
				if diff := cmp.Diff(test.asked, j.whats()); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Entries go into paths and sums: what is no descriptor is left out.
func TestReferrersThatAreNoDescriptors(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		good := digest.FromString("good")
		list, err := json.Marshal(map[string]any{"manifests": []map[string]any{
			{"digest": "sha256:../../../other", "size": 1},
			{"digest": good, "size": -1},
			{"digest": "", "size": 1},
			{"mediaType": "m", "digest": good, "size": 7},
		}})
		if err != nil {
			t.Fatal(err)
		}
		w.serve(host, text(200, "application/vnd.oci.image.index.v1+json", string(list)))
		got, err := w.client(transport.Options{}).Referrers(t.Context(), repo.Digested(subject))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]ref.Descriptor{{MediaType: "m", Digest: good, Size: 7}}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A registry that names the subject in its answer keeps the list; another one does not.
func TestWriteReferrer(t *testing.T) {
	raw := []byte(`{}`)
	d := digest.FromBytes(raw)
	for header, want := range map[string]bool{subject.String(): true, "": false, d.String(): false} {
		inWorld(t, func(t *testing.T, w *world) {
			w.serve(host, with("OCI-Subject", header, created))
			dst, err := w.client(transport.Options{}).OpenDestination(t.Context(), repo)
			if err != nil {
				t.Fatal(err)
			}
			listed, err := registry.WriteReferrer(t.Context(), dst, d, subject, registry.Manifest{MediaType: "m", Raw: raw})
			if err != nil || listed != want {
				t.Errorf("with OCI-Subject %q: %v, %v", header, listed, err)
			}
		})
	}
}
