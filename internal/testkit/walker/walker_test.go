package walker_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

var (
	amd64 = ref.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ref.Platform{OS: "linux", Architecture: "arm64"}

	layer = imagetest.Layer("shared", 2000)
	image = imagetest.Image(amd64, layer)
	inner = imagetest.DockerIndex(imagetest.DockerImage(arm64, layer, imagetest.ForeignLayer("windows", 10, "https://example.com/l")))
	index = imagetest.Index(image, imagetest.Attestation(image), inner)
)

// serve starts a registry that holds index as team/app:1, behind whatever front makes
// of it.
func serve(t *testing.T, front func(http.Handler) http.Handler) *httptest.Server {
	t.Helper()
	registry := ecrlocaltest.StartRegistry(t)
	if _, err := imagetest.Push(t.Context(), nil, registry.URL, "team/app", "1", index); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(front(registry))
	t.Cleanup(server.Close)
	return server
}

func honest(h http.Handler) http.Handler { return h }

func check(t *testing.T, server *httptest.Server, o walker.Options) walker.Report {
	t.Helper()
	o.Client, o.Base, o.Repository = server.Client(), server.URL, "team/app"
	if o.Reference == "" {
		o.Reference = "1"
	}
	report, err := walker.Check(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestCheckFindsEverything(t *testing.T) {
	server := serve(t, honest)
	for _, deep := range []bool{false, true} {
		t.Run(fmt.Sprintf("deep %t", deep), func(t *testing.T) {
			report := check(t, server, walker.Options{Deep: deep})
			if err := report.Err(); err != nil {
				t.Error(err)
			}
			if report.Root != index.Digest() {
				t.Errorf("root %s, want %s", report.Root, index.Digest())
			}

			wantManifests, gotManifests := map[ref.Digest]string{}, map[ref.Digest]string{}
			var bytes int64
			for n := range index.All() {
				wantManifests[n.Digest()] = string(n.Raw)
				bytes += int64(len(n.Raw))
			}
			for _, m := range report.Manifests {
				gotManifests[m.Digest] = string(m.Raw)
			}
			if diff := cmp.Diff(wantManifests, gotManifests); diff != "" {
				t.Errorf("manifests (-want +got)\n%s", diff)
			}

			var wantBlobs, gotBlobs []ref.Digest
			for _, b := range index.AllBlobs() {
				wantBlobs = append(wantBlobs, b.Digest())
				bytes += int64(len(b.Content))
			}
			for _, b := range report.Blobs {
				gotBlobs = append(gotBlobs, b.Digest)
			}
			slices.Sort(wantBlobs)
			slices.Sort(gotBlobs)
			if diff := cmp.Diff(wantBlobs, gotBlobs); diff != "" {
				t.Errorf("blobs (-want +got)\n%s", diff)
			}
			if report.Bytes != bytes {
				t.Errorf("%d bytes, want %d", report.Bytes, bytes)
			}
			if report.Foreign != 1 {
				t.Errorf("%d foreign layers, want 1", report.Foreign)
			}
		})
	}
}

// A response is what a registry answered, before a tampering front sends it on.
type response struct {
	status int
	header http.Header
	body   []byte
}

// tamper changes the answers to every request for what: the end of a path.
func tamper(what string, change func(*response)) func(http.Handler) http.Handler {
	return func(registry http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, what) {
				registry.ServeHTTP(w, r)
				return
			}
			recorder := httptest.NewRecorder()
			registry.ServeHTTP(recorder, r)
			answer := response{recorder.Code, recorder.Header(), recorder.Body.Bytes()}
			change(&answer)
			if r.Method == http.MethodGet {
				answer.header.Set("Content-Length", fmt.Sprint(len(answer.body)))
			}
			maps.Copy(w.Header(), answer.header)
			w.WriteHeader(answer.status)
			if r.Method == http.MethodGet {
				_, _ = w.Write(answer.body)
			}
		})
	}
}

func absent(r *response) {
	r.status, r.body = http.StatusNotFound, nil
	r.header.Del("Content-Length")
}

func flipped(r *response) {
	r.body = bytes.Clone(r.body)
	if len(r.body) > 0 {
		r.body[len(r.body)-1] ^= 1
	}
}

// reformatted keeps a manifest's meaning and changes its bytes.
func reformatted(r *response) { r.body = append(r.body, '\n') }

func shorter(r *response) {
	if len(r.body) > 0 {
		r.body = r.body[:len(r.body)-1]
	}
	r.header.Set("Content-Length", fmt.Sprint(layer.Descriptor.Size-1))
}

func header(key, value string) func(*response) {
	return func(r *response) { r.header.Set(key, value) }
}

func TestCheckFindsDamage(t *testing.T) {
	const (
		always   = true
		deepOnly = false // the registry's word for a size hides it
	)
	config := image.Blobs[0]
	tests := []struct {
		name   string
		what   string // the end of the path that is tampered with
		change func(*response)
		when   bool
		want   string // part of the damage
	}{
		{"layer missing", string(layer.Digest()), absent, always, string(layer.Digest()) + ": blob is missing"},
		{"config missing", string(config.Digest()), absent, always, string(config.Digest()) + ": blob is missing"},
		{"layer short", string(layer.Digest()), shorter, always, string(layer.Digest()) + ": blob has 1999 bytes, its descriptor says 2000"},
		{"layer changed", string(layer.Digest()), flipped, deepOnly, string(layer.Digest()) + ": the blob's bytes do not hash"},
		{"child missing", string(image.Digest()), absent, always, string(image.Digest()) + ": manifest is missing"},
		{"nested index missing", string(inner.Digest()), absent, always, string(inner.Digest()) + ": manifest is missing"},
		{"grandchild missing", string(inner.Children[0].Digest()), absent, always, string(inner.Children[0].Digest()) + ": manifest is missing"},
		{"child changed", string(image.Digest()), flipped, always, string(image.Digest()) + ": the bytes hash to"},
		{"child longer", string(image.Digest()), reformatted, always, "bytes, its descriptor says"},
		{"child of another media type", string(image.Digest()), header("Content-Type", imagetest.DockerManifest), always, "its descriptor says " + v1.MediaTypeImageManifest},
		{"root changed under its stated digest", "/manifests/1", reformatted, always, "Docker-Content-Digest names it, and the bytes hash to"},
		{"root's stated digest is none", "/manifests/1", header("Docker-Content-Digest", "sha256:42"), always, "is no digest"},
		{"root of another media type", "/manifests/1", header("Content-Type", imagetest.DockerList), always, "and calls itself " + v1.MediaTypeImageIndex},
		{"root of an unknown media type", "/manifests/1", header("Content-Type", "text/html"), always, "neither an image nor an index"},
		{"root is not JSON", "/manifests/1", func(r *response) { r.body = []byte("<html>") }, always, "manifest is not JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := serve(t, tamper(tt.what, tt.change))
			for _, deep := range []bool{false, true} {
				if !deep && tt.when == deepOnly {
					continue
				}
				err := check(t, server, walker.Options{Deep: deep}).Err()
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("deep %t: damage %v, want %q", deep, err, tt.want)
				}
			}
		})
	}
}

func TestDamageIsReportedOnceForSharedBlobs(t *testing.T) {
	server := serve(t, tamper(string(layer.Digest()), absent))
	if damage := check(t, server, walker.Options{}).Damage; len(damage) != 1 {
		t.Errorf("damage %v, want one", damage)
	}
}

func TestRootByDigest(t *testing.T) {
	server := serve(t, tamper(string(index.Digest()), func(r *response) {
		r.body = append(r.body, '\n')
		r.header.Del("Docker-Content-Digest") // a registry need not state it
	}))
	report := check(t, server, walker.Options{Reference: string(index.Digest())})
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "the bytes hash to") {
		t.Errorf("damage %v, want one about the root's bytes", err)
	}
}

func TestAbsentReference(t *testing.T) {
	server := serve(t, honest)
	_, err := walker.Check(t.Context(), walker.Options{Base: server.URL, Repository: "team/app", Reference: "2"})
	if !errors.Is(err, walker.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
}

func TestFailingRegistryIsNoDamage(t *testing.T) {
	server := serve(t, tamper(string(layer.Digest()), func(r *response) { r.status = http.StatusServiceUnavailable }))
	for _, deep := range []bool{false, true} {
		_, err := walker.Check(t.Context(), walker.Options{Base: server.URL, Repository: "team/app", Reference: "1", Deep: deep})
		if err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("deep %t: error %v, want the registry's 503", deep, err)
		}
	}
}

func TestSame(t *testing.T) {
	server := serve(t, honest)
	report := check(t, server, walker.Options{})
	if err := walker.Same(report, report); err != nil {
		t.Error(err)
	}

	damaged := report
	damaged.Damage = []walker.Damage{{Digest: layer.Digest(), Problem: "blob is missing"}}
	tests := []struct {
		name  string
		other walker.Report
		want  string
	}{
		{"another root", check(t, server, walker.Options{Reference: string(image.Digest())}), "media types"},
		{"other bytes", walker.Report{Manifests: []walker.Manifest{{MediaType: v1.MediaTypeImageIndex, Raw: append(slices.Clip(index.Raw), '\n')}}}, "roots differ"},
		{"damaged", damaged, "blob is missing"},
		{"empty", walker.Report{}, "nothing to compare"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, err := range []error{walker.Same(report, tt.other), walker.Same(tt.other, report)} {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want one about %q", err, tt.want)
				}
			}
		})
	}
}

func TestBasicAuth(t *testing.T) {
	server := serve(t, func(registry http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "AWS" || password != "token" {
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			registry.ServeHTTP(w, r)
		})
	})
	if err := check(t, server, walker.Options{Username: "AWS", Password: "token"}).Err(); err != nil {
		t.Error(err)
	}
	for _, o := range []walker.Options{{}, {Username: "AWS", Password: "wrong"}} {
		o.Base, o.Repository, o.Reference = server.URL, "team/app", "1"
		if _, err := walker.Check(t.Context(), o); err == nil {
			t.Errorf("user %q with password %q got in", o.Username, o.Password)
		}
	}
}

func TestAnonymousBearer(t *testing.T) {
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.URL.Query().Encode(), "scope=repository%3Ateam%2Fapp%3Apull&service=here"; got != want {
			t.Errorf("token asked for with %s, want %s", got, want)
		}
		if r.Header.Get("Authorization") != "" {
			t.Error("an anonymous token was asked for with credentials")
		}
		_, _ = w.Write([]byte(`{"access_token":"open"}`))
	}))
	defer tokens.Close()
	server := serve(t, func(registry http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer open" {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="here",scope="repository:team/app:pull"`, tokens.URL))
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			registry.ServeHTTP(w, r)
		})
	})
	if err := check(t, server, walker.Options{}).Err(); err != nil {
		t.Error(err)
	}
}

// Storage behind a registry, such as S3, answers signed URLs: only GET, and it refuses
// requests that carry an Authorization header besides.
func TestRedirectedBlobs(t *testing.T) {
	content := map[string][]byte{}
	for _, b := range index.AllBlobs() {
		content["/"+string(b.Digest())] = b.Content
	}
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write(content[r.URL.Path])
	}))
	defer storage.Close()
	server := serve(t, func(registry http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if _, digest, isBlob := strings.Cut(r.URL.Path, "/blobs/"); isBlob {
				http.Redirect(w, r, storage.URL+"/"+digest, http.StatusTemporaryRedirect)
				return
			}
			registry.ServeHTTP(w, r)
		})
	})

	for _, deep := range []bool{false, true} {
		if err := check(t, server, walker.Options{Username: "u", Password: "p", Deep: deep}).Err(); err != nil {
			t.Errorf("deep %t: %v", deep, err)
		}
	}
	content["/"+string(layer.Digest())] = []byte("something else")
	if err := check(t, server, walker.Options{Username: "u", Password: "p"}).Err(); err == nil {
		t.Error("changed bytes behind a redirect were not found")
	}
}

func TestRedirectsEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	_, err := walker.Check(t.Context(), walker.Options{Base: server.URL, Repository: "a", Reference: "1"})
	if err == nil || !strings.Contains(err.Error(), "more than 5 redirects") {
		t.Errorf("error %v, want one about redirects", err)
	}
}

func TestDepthIsLimited(t *testing.T) {
	deep := image
	for range 20 {
		deep = imagetest.Index(deep)
	}
	server := serve(t, honest)
	if _, err := imagetest.Push(t.Context(), server.Client(), server.URL, "team/app", "deep", deep); err != nil {
		t.Fatal(err)
	}
	report := check(t, server, walker.Options{Reference: "deep"})
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "not read") {
		t.Errorf("damage %v, want one about depth", err)
	}
}
