package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

func TestResolve(t *testing.T) {
	describe := func(header, value string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", manifestType)
			if value != "" {
				w.Header().Set(header, value)
			}
			_, _ = w.Write(raw)
		}
	}
	const head, get = "HEAD /v2/team/app/manifests/1.0", "GET /v2/team/app/manifests/1.0"
	whole := ref.Descriptor{MediaType: manifestType, Digest: rawSum, Size: int64(len(raw))}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    ref.Descriptor
		kind    error
		says    string // in the error
		asked   []string
	}{
		{name: "one HEAD is enough", handler: manifest, want: whole, asked: []string{head}},
		{name: "no digest: the bytes are hashed", handler: describe("", ""), want: whole, asked: []string{head, get}},
		{name: "garbage for a digest", handler: describe("Docker-Content-Digest", "sha256:../../etc"), want: whole, asked: []string{head, get}},
		{name: "digest of an unknown algorithm", handler: describe("Docker-Content-Digest", "md5:d41d8cd98f00b204e9800998ecf8427e"), want: whole, asked: []string{head, get}},
		{
			name: "media type with parameters",
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", manifestType+" ; charset=utf-8")
				w.Header().Set("Docker-Content-Digest", string(rawSum))
				w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
			},
			want: whole, asked: []string{head},
		},
		{name: "absence needs no second question", handler: refuse(404, "", ""), kind: registry.ErrNotFound, asked: []string{head}},
		{
			name: "HEAD refused without a body: GET has the reason",
			handler: inTurn(refuse(403, "", ""),
				refuse(403, "DENIED", "not authorized to perform: ecr:BatchGetImage")),
			kind: registry.ErrDenied, says: "ecr:BatchGetImage", asked: []string{head, get},
		},
		{name: "HEAD not supported", handler: inTurn(refuse(405, "", ""), manifest), want: whole, asked: []string{head, get}},
		{
			name:    "HEAD refused, and GET finds nothing: absence, not a refusal",
			handler: inTurn(refuse(401, "", ""), refuse(404, "MANIFEST_UNKNOWN", "no such tag")),
			kind:    registry.ErrNotFound, asked: []string{head, get},
		},
		{name: "a tag ECR cannot parse", handler: inTurn(refuse(400, "", ""), refuse(400, "TAG_INVALID", "bad tag")), kind: registry.ErrPermanent, asked: []string{head, get}},
		{
			name:    "a portal that answers everything is no manifest",
			handler: with("Content-Type", "text/html; charset=utf-8", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>log in") }),
			kind:    registry.ErrPermanent, says: "web page", asked: []string{head, get},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				j := w.serve(host, tt.handler)
				got, err := w.client(transport.Options{}).Resolve(t.Context(), repo.Tagged("1.0"))
				if tt.kind != nil {
					wantKind(t, err, tt.kind)
					if !strings.Contains(err.Error(), tt.says) {
						t.Errorf("error %q does not say %q", err, tt.says)
					}
				} else if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("descriptor (-want +got)\n%s", diff)
				}
				if diff := cmp.Diff(tt.asked, j.whats()); diff != "" {
					t.Errorf("requests (-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestResolveByDigestDoesNotBelieveAnotherDigest(t *testing.T) {
	faults.Covers(t, "F35")
	inWorld(t, func(t *testing.T, w *world) {
		other := digest.FromString("other")
		j := w.serve(host, with("Docker-Content-Digest", string(other), func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(raw) }))
		got, err := w.client(transport.Options{}).Resolve(t.Context(), repo.Digested(rawSum))
		if err != nil || got.Digest != rawSum {
			t.Errorf("Resolve = %v, %v; want %s", got, err, rawSum)
		}
		if n := len(j.all()); n != 2 {
			t.Errorf("%d requests, want a HEAD and a GET", n)
		}
	})
}

func TestResolveSaysWhatTheRegistryLeavesOut(t *testing.T) {
	faults.Covers(t, "F35")
	inWorld(t, func(t *testing.T, w *world) {
		w.serve(host, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", manifestType+"; charset=utf-8")
			w.Header().Set("Docker-Content-Digest", string(rawSum))
			w.(http.Flusher).Flush() // no Content-Length
		})
		got, err := w.client(transport.Options{}).Resolve(t.Context(), repo.Tagged("1.0"))
		if err != nil {
			t.Fatal(err)
		}
		want := ref.Descriptor{MediaType: manifestType, Digest: rawSum, Size: -1}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestManifestRequestAcceptsEveryType(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve(host, manifest)
		m, err := w.client(transport.Options{UserAgent: "mirror/1"}).Manifest(t.Context(), repo.Tagged("1.0"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.Raw, raw) || m.MediaType != manifestType {
			t.Errorf("manifest %q of type %q", m.Raw, m.MediaType)
		}
		got := j.all()[0]
		// Under a narrow Accept ECR converts what it holds: the bytes then have another digest.
		for _, mt := range []string{"oci.image.index", "oci.image.manifest", "manifest.list.v2", "manifest.v2", "manifest.v1+prettyjws", "*/*"} {
			if !strings.Contains(got.header.Get("Accept"), mt) {
				t.Errorf("Accept %q lacks %s", got.header.Get("Accept"), mt)
			}
		}
		if ua := got.header.Values("User-Agent"); len(ua) != 1 || ua[0] != "mirror/1" {
			t.Errorf("User-Agent %q", ua)
		}
	})
}

func TestManifestByDigestIsChecked(t *testing.T) {
	faults.Covers(t, "F34", "F35")
	wrong := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Replace(raw, []byte("2"), []byte("3"), 1))
	}
	t.Run("wrong once", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			j := w.serve(host, inTurn(wrong, manifest))
			m, err := w.client(transport.Options{}).Manifest(t.Context(), repo.Digested(rawSum))
			if err != nil || !bytes.Equal(m.Raw, raw) || len(j.all()) != 2 {
				t.Errorf("Manifest = %q, %v after %d requests", m.Raw, err, len(j.all()))
			}
		})
	})
	t.Run("wrong twice", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			j := w.serve(host, wrong)
			_, err := w.client(transport.Options{RetryTimes: 5}).Manifest(t.Context(), repo.Digested(rawSum))
			wantKind(t, err, registry.ErrCorrupt)
			if n := len(j.all()); n != 2 {
				t.Errorf("%d requests, want 2", n)
			}
		})
	})
}

func TestADigestThatIsNoneIsRefusedBeforeAnyRequest(t *testing.T) {
	faults.Covers(t, "F44")
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve(host, manifest)
		c := w.client(transport.Options{})
		for _, d := range []ref.Digest{"sha256:../../../other/manifests/latest", "nonsense", "sha256:ABC", "md5:d41d8cd98f00b204e9800998ecf8427e"} {
			_, err := c.Manifest(t.Context(), repo.Digested(d))
			wantKind(t, err, registry.ErrPermanent)
			_, err = c.Resolve(t.Context(), repo.Digested(d))
			wantKind(t, err, registry.ErrPermanent)
			_, err = hasBlob(t, c, ref.Descriptor{Digest: d, Size: 1})
			wantKind(t, err, registry.ErrPermanent)
			_, err = openBlob(t, c, d)
			wantKind(t, err, registry.ErrPermanent)
			wantKind(t, upload(t, c, ref.Descriptor{Digest: d, Size: 1}, content(blob)), registry.ErrPermanent)
		}
		if n := len(j.all()); n != 0 {
			t.Errorf("%d requests, want none", n)
		}
	})
}

func TestManifestsThatAreTooLong(t *testing.T) {
	faults.Covers(t, "F40")
	big := bytes.Repeat([]byte("x"), transport.MaxManifest+1)
	t.Run("announced", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			sent := make(chan error, 1)
			w.serve(host, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(1<<40))
				_, err := io.CopyN(w, endless{}, 1<<40)
				sent <- err
			})
			_, err := w.client(transport.Options{RetryTimes: 3}).Manifest(t.Context(), repo.Tagged("1.0"))
			wantKind(t, err, registry.ErrPermanent)
			if <-sent == nil {
				t.Error("all of it was read")
			}
		})
	})
	t.Run("not announced", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.serve(host, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(big) })
			_, err := w.client(transport.Options{RetryTimes: 3}).Manifest(t.Context(), repo.Tagged("1.0"))
			wantKind(t, err, registry.ErrPermanent)
		})
	})
	t.Run("just not", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.serve(host, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(big[:transport.MaxManifest]) })
			m, err := w.client(transport.Options{}).Manifest(t.Context(), repo.Tagged("1.0"))
			if err != nil || len(m.Raw) != transport.MaxManifest {
				t.Errorf("%d bytes, %v", len(m.Raw), err)
			}
		})
	})
	t.Run("to write", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			j := w.serve(host, created)
			dst, err := w.client(transport.Options{}).OpenDestination(t.Context(), repo)
			if err != nil {
				t.Fatal(err)
			}
			err = registry.WriteManifest(t.Context(), dst, "1.0", registry.Manifest{Raw: big})
			wantKind(t, err, registry.ErrPermanent)
			if len(j.all()) != 0 {
				t.Error("it was sent")
			}
		})
	})
}

// endless is a source of zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestWriteManifest(t *testing.T) {
	sha512 := digest.SHA512.FromBytes(raw)
	tests := []struct {
		name       string
		identifier string
		answer     http.HandlerFunc
		kind       error // nil means success
	}{
		{"created", "1.0", created, nil},
		{"created, and confirmed", "1.0", with("Docker-Content-Digest", string(rawSum), created), nil},
		{"older Quay", "1.0", refuse(202, "", ""), nil},
		// A registry may confirm with its own algorithm what was written under another.
		{"by another algorithm", string(sha512), with("Docker-Content-Digest", string(rawSum), created), nil},
		{"confirmed by another algorithm", "1.0", with("Docker-Content-Digest", string(sha512), created), nil},
		{"another digest", "1.0", with("Docker-Content-Digest", string(digest.FromString("other")), created), registry.ErrCorrupt},
		{"garbage for a digest", "1.0", with("Docker-Content-Digest", "none", created), registry.ErrCorrupt},
		// copy.Image has reported a success for each of these, and no tag existed.
		{"a portal's 200", "1.0", with("Content-Type", "text/html", refuse(200, "", "")), registry.ErrPermanent},
		{"a login page's 302", "1.0", with("Location", "/login", refuse(302, "", "")), registry.ErrPermanent},
		{"307", "1.0", with("Location", "/elsewhere", refuse(307, "", "")), registry.ErrPermanent},
		{"ECR, immutable", "1.0", refuse(400, "TAG_INVALID", "The image tag '1.0' already exists in the 'team/app' repository and cannot be overwritten because the tag is immutable."), registry.ErrImmutable},
		{"ECR, immutable, older", "1.0", refuse(400, "TAG_INVALID", "… because the repository is immutable."), registry.ErrImmutable},
		{"Harbor, immutable", "1.0", refuse(412, "PRECONDITION", "Failed to process request due to 'app:1.0' configured as immutable."), registry.ErrImmutable},
		{"Nexus, immutable", "1.0", refuse(400, "DENIED", "Repository does not allow updating assets: docker"), registry.ErrImmutable},
		{"malformed", "1.0", refuse(400, "MANIFEST_INVALID", "no"), registry.ErrPermanent},
		{"ECR, a type it does not store", "1.0", refuse(405, "UNSUPPORTED", "Invalid parameter at 'ImageManifest'"), registry.ErrUnsupported},
		{"repository absent", "1.0", refuse(404, "NAME_UNKNOWN", "no such repository"), registry.ErrNotFound},
		{"quota", "1.0", refuse(403, "DENIED", "quota exceeded"), registry.ErrDenied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				j := w.serve(host, tt.answer)
				err := put(t.Context(), t, w.client(transport.Options{RetryTimes: 3}), tt.identifier)
				if tt.kind == nil && err != nil {
					t.Error(err)
				}
				if tt.kind != nil {
					wantKind(t, err, tt.kind)
				}
				if diff := cmp.Diff([]string{"PUT /v2/team/app/manifests/" + tt.identifier}, j.whats()); diff != "" {
					t.Errorf("requests (-want +got)\n%s", diff)
				}
				if got := j.all()[0]; got.header.Get("Content-Type") != manifestType || got.length != int64(len(raw)) {
					t.Errorf("sent %d bytes of %q", got.length, got.header.Get("Content-Type"))
				}
			})
		})
	}
}

// A repeated PUT counts against ECR's ten a second as much as the first one: pacing once
// for each call would let retries go past it.
func TestManifestWritesArePacedAtEachAttempt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve(host, inTurn(refuse(503, "", ""), refuse(503, "", ""), created))
		c := w.client(transport.Options{
			RetryTimes: 2,
			Quota:      func(string) registry.Quota { return registry.Quota{ManifestWrites: 1. / 60} },
		})
		if err := put(t.Context(), t, c, "1.0"); err != nil {
			t.Fatal(err)
		}
		all := j.all()
		if len(all) != 3 {
			t.Fatalf("%d requests, want 3", len(all))
		}
		for i := 1; i < len(all); i++ {
			if gap := all[i].at.Sub(all[i-1].at); gap.Round(time.Second) < time.Minute {
				t.Errorf("attempt %d came %s after the one before", i+1, gap)
			}
		}
	})
}

func TestEndpointsWithoutADigest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.client(transport.Options{})
		src, err := c.OpenSource(t.Context(), repo)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := src.GetManifest(t.Context(), nil); !errors.Is(err, registry.ErrUnsupported) {
			t.Errorf("GetManifest(nil) = %v", err)
		}
		dst, err := c.OpenDestination(t.Context(), repo)
		if err != nil {
			t.Fatal(err)
		}
		if err := dst.PutManifest(t.Context(), raw, nil); !errors.Is(err, registry.ErrUnsupported) {
			t.Errorf("PutManifest(nil) = %v", err)
		}
		if err := dst.PutSignatures(t.Context(), [][]byte{{1}}, nil); !errors.Is(err, registry.ErrUnsupported) {
			t.Errorf("PutSignatures = %v", err)
		}
		if got := dst.Reference().DockerReference().String(); got != repo.String() {
			t.Errorf("Reference = %s", got)
		}
	})
}
