package transport_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// catalog reads a whole catalogue.
func catalog(t *testing.T, c *transport.Client, host string) ([]string, error) {
	t.Helper()
	var paths []string
	for path, err := range c.Repositories(t.Context(), host) {
		if err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

const catalogPath = "/v2/_catalog"

// Distribution's registry is the one that the catalogue's description is of. Where its
// pages are smaller than what is asked for it refuses the question.
func TestCatalogOfDistribution(t *testing.T) {
	dir := t.TempDir()
	var want []string
	r := ecrlocaltest.StartRegistry(t, func(o *ecrlocal.UpstreamOptions) { o.Dir = dir })
	for i := range 123 {
		path := fmt.Sprintf("team-%d/sub/app%d", i%7, i)
		if _, err := imagetest.Push(t.Context(), nil, r.URL, path, "", imagetest.Image(ref.Platform{OS: "linux", Architecture: "amd64"})); err != nil {
			t.Fatal(err)
		}
		want = append(want, path)
	}
	slices.Sort(want)
	for _, page := range []int{7, 100, 1000} {
		t.Run(fmt.Sprintf("pages of %d", page), func(t *testing.T) {
			r := ecrlocaltest.StartRegistry(t, func(o *ecrlocal.UpstreamOptions) { o.Dir, o.CatalogPage = dir, page })
			c := transport.New(transport.Options{})
			defer c.Close()
			got, err := catalog(t, c, r.Host)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, slices.Sorted(slices.Values(got))); diff != "" {
				t.Errorf("repositories (-want +got)\n%s", diff)
			}
		})
	}
}

func TestCatalogOfECR(t *testing.T) {
	r := ecrlocaltest.Start(t)
	for _, name := range []string{"bb", "a/b"} {
		if err := r.CreateRepository(name, ecrlocal.RepositoryOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c := transport.New(transport.Options{Credentials: &issued{server: r}})
	defer c.Close()
	got, err := catalog(t, c, r.Host)
	slices.Sort(got)
	if diff := cmp.Diff([]string{"a/b", "bb"}, got); diff != "" || err != nil {
		t.Errorf("repositories (-want +got)\n%s%v", diff, err)
	}
}

// catalogPages answers each query with a page: what it lists and its Link header.
func catalogPages(byQuery map[string][2]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		page, ok := byQuery[r.URL.RawQuery]
		if !ok || r.URL.Path != catalogPath {
			refuse(400, "UNSUPPORTED", "no page "+r.URL.String())(w, r)
			return
		}
		if page[1] != "" {
			w.Header().Set("Link", page[1])
		}
		_, _ = io.WriteString(w, page[0])
	}
}

func TestCatalogs(t *testing.T) {
	repositories := func(list string) string { return `{"repositories":` + list + `}` }
	for _, tt := range []struct {
		name  string
		pages map[string][2]string
		want  []string
		kind  error
		text  string
	}{
		{"empty", map[string][2]string{"n=1000": {repositories(`[]`), ""}}, nil, nil, ""},
		{"two pages and repeats", map[string][2]string{
			"n=1000":             {repositories(`["b","a/b","b"]`), `</v2/_catalog?last=a%2Fb&n=1000>; rel="next"`},
			"last=a%2Fb&n=1000":  {repositories(`["a/b","c"]`), `<?last=opaque&n=1000>; rel="next"`},
			"last=opaque&n=1000": {repositories(`[]`), ""},
		}, []string{"b", "a/b", "c"}, nil, ""},
		{"a page that leads to itself", map[string][2]string{"n=1000": {repositories(`["a"]`), `<?n=1000>; rel=next`}}, []string{"a"}, registry.ErrPermanent, "catalogue of " + host + " leads to a page it has shown already"},
		{"to another host", map[string][2]string{"n=1000": {repositories(`["a"]`), `<http://169.254.169.254/latest>; rel="next"`}}, nil, registry.ErrPermanent, "leads to another host"},
		{"page size refused", map[string][2]string{"": {repositories(`["a"]`), ""}}, []string{"a"}, nil, ""},
		{"no JSON", map[string][2]string{"n=1000": {"<html>", ""}}, nil, registry.ErrPermanent, "catalogue of " + host},
		{"no list", map[string][2]string{"n=1000": {repositories(`"a"`), ""}}, nil, registry.ErrPermanent, "catalogue of " + host},
		{"broken second page", map[string][2]string{
			"n=1000": {repositories(`["a"]`), `<?p=2>; rel="next"`}, "p=2": {`{"repositories":["b"`, ""},
		}, []string{"a"}, registry.ErrPermanent, "catalogue of " + host},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve(host, catalogPages(tt.pages))
				got, err := catalog(t, w.client(transport.Options{}), host)
				if tt.kind != nil {
					wantKind(t, err, tt.kind)
				}
				if (err == nil) != (tt.kind == nil) || err != nil && !strings.Contains(err.Error(), tt.text) {
					t.Errorf("error %v, want %q", err, tt.text)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("repositories (-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestRegistriesWithoutACatalog(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		kind   error
		text   string
	}{
		{"no such page", refuse(404, "", ""), registry.ErrUnsupported, "has no catalogue of its repositories, so name them one by one"},
		{"NAME_UNKNOWN", refuse(404, "NAME_UNKNOWN", "_catalog"), registry.ErrUnsupported, "name them one by one"},
		{"no such method", refuse(405, "UNSUPPORTED", "no"), registry.ErrUnsupported, "name them one by one"},
		{"not implemented", refuse(501, "", ""), registry.ErrUnsupported, "name them one by one"},
		{"refused", refuse(403, "DENIED", "requested access to the resource is denied"), registry.ErrDenied, "name the repositories one by one, or give other credentials"},
		// Docker Hub issues a token for the scope and refuses it: docker/hub-feedback#2094.
		{"asks for more", with("WWW-Authenticate", bearer("registry:catalog:*"), refuse(401, "UNAUTHORIZED", "authentication required")), registry.ErrDenied, "name the repositories one by one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve(realm, issue())
				w.serve(host, tt.answer)
				got, err := catalog(t, w.client(transport.Options{RetryTimes: 2}), host)
				wantKind(t, err, tt.kind)
				if len(got) != 0 || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), host) {
					t.Errorf("%v, error %v", got, err)
				}
			})
		})
	}
}

// A registry need not say for what it wants a token.
func TestCatalogAsksForItsOwnScope(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tokens := w.serve(realm, issue())
		challenge, _, _ := strings.Cut(bearer("registry:catalog:*"), ",scope=")
		w.serve(host, guarded(challenge, only("Bearer t1"), catalogPages(map[string][2]string{
			"n=1000": {`{"repositories":["a"]}`, `<?p=2>; rel="next"`}, "p=2": {`{"repositories":["b"]}`, ""},
		})))
		got, err := catalog(t, w.client(transport.Options{}), host)
		if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" || err != nil {
			t.Errorf("repositories (-want +got)\n%s%v", diff, err)
		}
		all := tokens.all()
		if len(all) != 1 || !strings.Contains(all[0].query, "scope=registry%3Acatalog%3A%2A") {
			t.Errorf("token requests %v", all)
		}
	})
}

func TestNamesThatAreNoRepositories(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		bad := []any{"", "a b", "line\nbreak", "\x1b[31mred", "../up", "a//b", "/a", "a/", "Upper", "a:1.0", "a@b", strings.Repeat("x", 300), nil, 7, []any{"a"}}
		answer, err := json.Marshal(map[string]any{"repositories": append([]any{"first"}, append(bad, "last/one")...)})
		if err != nil {
			t.Fatal(err)
		}
		w.serve(host, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) })
		core, logs := observer.New(zap.WarnLevel)
		got, err := catalog(t, w.client(transport.Options{Log: zap.New(core)}), host)
		if diff := cmp.Diff([]string{"first", "last/one"}, got); diff != "" || err != nil {
			t.Errorf("repositories (-want +got)\n%s%v", diff, err)
		}
		if n := logs.Len(); n != len(bad) {
			t.Errorf("%d names were logged, want %d", n, len(bad))
		}
		for _, e := range logs.All() {
			if name := fmt.Sprint(e.ContextMap()["name"]); strings.ContainsAny(name, "\x1b\n") {
				t.Errorf("logged raw: %q", name)
			}
		}
	})
}

// A name means what it is listed as, and not what it would be short for.
func TestNoNameOfACatalogIsCompleted(t *testing.T) {
	got, err := transport.CatalogPage("docker.io", []byte(`{"repositories":["nginx","library/nginx"]}`))
	if diff := cmp.Diff([]string{"library/nginx"}, got); diff != "" || err != nil {
		t.Errorf("repositories (-want +got)\n%s%v", diff, err)
	}
}

func TestCatalogsWithoutEnd(t *testing.T) {
	t.Run("pages", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			n := 0
			w.serve(host, func(w http.ResponseWriter, _ *http.Request) {
				n++
				w.Header().Set("Link", fmt.Sprintf(`<?p=%d>; rel="next"`, n))
				fmt.Fprintf(w, `{"repositories":["r%d"]}`, n)
			})
			_, err := catalog(t, w.client(transport.Options{}), host)
			wantKind(t, err, registry.ErrPermanent)
			if n != transport.MaxPages {
				t.Errorf("%d pages", n)
			}
		})
	})
	t.Run("one page", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.serve(host, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"repositories":["`)
				_, _ = io.Copy(w, io.LimitReader(endless{}, transport.MaxPage))
			})
			_, err := catalog(t, w.client(transport.Options{RetryTimes: 3}), host)
			wantKind(t, err, registry.ErrPermanent)
		})
	})
}

func TestCatalogStopsWhenTheCallerHasEnough(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve(host, catalogPages(map[string][2]string{"n=1000": {`{"repositories":["a","b"]}`, `<?p=2>; rel="next"`}}))
		for path, err := range w.client(transport.Options{}).Repositories(t.Context(), host) {
			if err != nil {
				t.Fatal(err)
			}
			if path == "b" {
				break
			}
		}
		if n := len(j.all()); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

// Whatever a catalogue says, what comes of it can be asked for, and only there.
func FuzzCatalogPage(f *testing.F) {
	f.Add([]byte(`{"repositories":["a","b/c","A","x:1","../a",null,7,"a\u001b"]}`))
	f.Add([]byte(`{"repositories":{"a":1}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, page []byte) {
		names, _ := transport.CatalogPage(host, page)
		for _, name := range names {
			r, err := ref.ParseRepository(host + "/" + name)
			if err != nil || r.Host != host || r.Path != name || strings.Contains(name, "..") {
				t.Errorf("%q: %v, %v", name, r, err)
			}
		}
	})
}

// Whatever a list of tags says, what comes of it is tags.
func FuzzTagsPage(f *testing.F) {
	f.Add([]byte(`{"tags":["1.0","latest",null,7,"a b","../x","a\u001b[1m",".x"]}`))
	f.Add([]byte(`{"tags":{"a":1}}`))
	f.Add([]byte(`{"tags":null}`))
	f.Fuzz(func(t *testing.T, page []byte) {
		tags, _ := transport.TagsPage(page)
		for _, tag := range tags {
			if r, err := ref.Parse(host + "/a:" + tag); err != nil || r.Tag != tag {
				t.Errorf("%q: %v, %v", tag, r, err)
			}
		}
	})
}

func FuzzNextLink(f *testing.F) {
	f.Add(`</v2/_catalog?last=a&n=1>; rel="next"`)
	f.Add(`<a>; rel=prev, <b>; rel="x next"`)
	f.Fuzz(func(t *testing.T, header string) {
		if target := transport.NextLink(header); !strings.Contains(header, "<"+target+">") && target != "" {
			t.Errorf("%q of %q", target, header)
		}
	})
}
