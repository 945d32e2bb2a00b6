package transport_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// list reads all tags.
func list(t *testing.T, c *transport.Client) ([]string, error) {
	t.Helper()
	var tags []string
	for tag, err := range c.Tags(t.Context(), repo) {
		if err != nil {
			return tags, err
		}
		tags = append(tags, tag)
	}
	return tags, nil
}

// pages answers each query with a page; a page is its tags and its Link header.
func pages(byQuery map[string][2]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		page, ok := byQuery[r.URL.RawQuery]
		if !ok {
			refuse(400, "UNSUPPORTED", "no page "+r.URL.RawQuery)(w, r)
			return
		}
		if page[1] != "" {
			w.Header().Set("Link", page[1])
		}
		fmt.Fprintf(w, `{"name":"team/app","tags":%s}`, page[0])
	}
}

const tagsPath = "/v2/team/app/tags/list"

func TestTags(t *testing.T) {
	tests := []struct {
		name  string
		pages map[string][2]string
		want  []string
		kind  error
		asked []string // queries
	}{
		{
			name: "one page", pages: map[string][2]string{"n=1000": {`["b","a"]`, ""}},
			want: []string{"b", "a"}, asked: []string{"n=1000"},
		},
		{name: "none", pages: map[string][2]string{"n=1000": {`null`, ""}}, asked: []string{"n=1000"}},
		{
			name: "relative link", pages: map[string][2]string{
				"n=1000":        {`["a"]`, `</v2/team/app/tags/list?last=a&n=1000>; rel="next"`},
				"last=a&n=1000": {`["b"]`, ""},
			},
			want: []string{"a", "b"}, asked: []string{"n=1000", "last=a&n=1000"},
		},
		{
			name: "absolute link, opaque and with a comma", pages: map[string][2]string{
				"n=1000":            {`["a"]`, `<http://` + host + tagsPath + `?last=x,%2Fy==&n=1>; rel="next"`},
				"last=x,%2Fy==&n=1": {`["b"]`, ""},
			},
			want: []string{"a", "b"}, asked: []string{"n=1000", "last=x,%2Fy==&n=1"},
		},
		{
			name: "empty pages and repeats", pages: map[string][2]string{
				"n=1000": {`[]`, `<?p=2>; rel=next`},
				"p=2":    {`["a","a"]`, `<?p=3>; rel=next`},
				"p=3":    {`["b","a"]`, ``},
			},
			want: []string{"a", "b"}, asked: []string{"n=1000", "p=2", "p=3"},
		},
		{
			// Followed without a look, it kept a client busy for 34,561 pages in three seconds.
			name: "a loop", pages: map[string][2]string{
				"n=1000": {`["a"]`, `<?p=2>; rel=next`},
				"p=2":    {`["b"]`, `<?p=3>; rel=next`},
				"p=3":    {`["c"]`, `<?p=2>; rel=next`},
			},
			want: []string{"a", "b", "c"}, kind: registry.ErrPermanent, asked: []string{"n=1000", "p=2", "p=3"},
		},
		{
			name: "a page that leads to itself", pages: map[string][2]string{"n=1000": {`["a"]`, `<?n=1000>; rel=next`}},
			want: []string{"a"}, kind: registry.ErrPermanent, asked: []string{"n=1000", "n=1000"},
		},
		{
			name: "to another host", pages: map[string][2]string{"n=1000": {`["a"]`, `<http://evil.test/v2/team/app/tags/list>; rel="next"`}},
			kind: registry.ErrPermanent, asked: []string{"n=1000"},
		},
		{
			name: "to nowhere", pages: map[string][2]string{"n=1000": {`["a"]`, `<http://[>; rel="next"`}},
			kind: registry.ErrPermanent, asked: []string{"n=1000"},
		},
		{
			name: "other relations", pages: map[string][2]string{"n=1000": {`["a"]`, `<?p=0>; rel="prev", <?p=9>; rel="last nextish"`}},
			want: []string{"a"}, asked: []string{"n=1000"},
		},
		{
			// Quay has refused more than 100 at times, ECR more than 1,000.
			name: "page size refused", pages: map[string][2]string{"": {`["a"]`, `<?p=2>; rel="next"`}, "p=2": {`["b"]`, ""}},
			want: []string{"a", "b"}, asked: []string{"n=1000", "", "p=2"},
		},
		{name: "all refused", pages: map[string][2]string{}, kind: registry.ErrPermanent, asked: []string{"n=1000", ""}},
		{name: "no JSON", pages: map[string][2]string{"n=1000": {`<html>`, ""}}, kind: registry.ErrPermanent, asked: []string{"n=1000"}},
		{name: "no list", pages: map[string][2]string{"n=1000": {`"a"`, ""}}, kind: registry.ErrPermanent, asked: []string{"n=1000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				j := w.serve(host, pages(tt.pages))
				got, err := list(t, w.client(transport.Options{}))
				if tt.kind != nil {
					wantKind(t, err, tt.kind)
				} else if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("tags (-want +got)\n%s", diff)
				}
				var asked []string
				for _, e := range j.all() {
					if e.what != "GET "+tagsPath {
						t.Errorf("asked %s", e.what)
					}
					asked = append(asked, e.query)
				}
				if diff := cmp.Diff(tt.asked, asked); diff != "" {
					t.Errorf("queries (-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestNamesThatAreNoTags(t *testing.T) {
	faults.Covers(t, "F55")
	inWorld(t, func(t *testing.T, w *world) {
		bad := []any{"", "a b", "line\nbreak", "\x1b[31mred", "../up", strings.Repeat("x", 129), "-dash", nil, 7, map[string]any{"a": 1}}
		answer, err := json.Marshal(map[string]any{"tags": append([]any{"first"}, append(bad, "last")...)})
		if err != nil {
			t.Fatal(err)
		}
		broken := strings.Replace(string(answer), `"first"`, "\"first\",\"bro\xffken\"", 1)
		w.serve(host, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, broken) })
		core, logs := observer.New(zap.WarnLevel)
		got, err := list(t, w.client(transport.Options{Log: zap.New(core)}))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"first", "last"}, got); diff != "" {
			t.Errorf("tags (-want +got)\n%s", diff)
		}
		if n := logs.Len(); n != len(bad)+1 {
			t.Errorf("%d names were logged, want %d", n, len(bad)+1)
		}
		for _, e := range logs.All() {
			if name := fmt.Sprint(e.ContextMap()["name"]); strings.ContainsAny(name, "\x1b\n") {
				t.Errorf("logged raw: %q", name)
			}
		}
	})
}

func TestTagListsWithoutEnd(t *testing.T) {
	faults.Covers(t, "F53", "F54")
	t.Run("pages", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			n := 0
			j := w.serve(host, func(w http.ResponseWriter, _ *http.Request) {
				n++
				w.Header().Set("Link", fmt.Sprintf(`<?p=%d>; rel="next"`, n))
				_, _ = io.WriteString(w, `{"tags":[]}`)
			})
			_, err := list(t, w.client(transport.Options{}))
			wantKind(t, err, registry.ErrPermanent)
			if n := len(j.all()); n != transport.MaxPages {
				t.Errorf("%d pages", n)
			}
		})
	})
	t.Run("one page", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.serve(host, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"tags":["`)
				_, _ = io.Copy(w, io.LimitReader(endless{}, transport.MaxPage))
			})
			_, err := list(t, w.client(transport.Options{RetryTimes: 3}))
			wantKind(t, err, registry.ErrPermanent)
		})
	})
}

func TestTagsStopWhenTheCallerHasEnough(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve(host, pages(map[string][2]string{"n=1000": {`["a","b"]`, `<?p=2>; rel="next"`}, "p=2": {`["c"]`, ""}}))
		for tag, err := range w.client(transport.Options{}).Tags(t.Context(), repo) {
			if err != nil {
				t.Fatal(err)
			}
			if tag == "b" {
				break
			}
		}
		if n := len(j.all()); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestTagsOfAnAbsentRepository(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.serve(host, refuse(404, "NAME_UNKNOWN", "no"))
		_, err := list(t, w.client(transport.Options{}))
		wantKind(t, err, registry.ErrNotFound)
	})
}

func TestNextLink(t *testing.T) {
	for header, want := range map[string]string{
		`</a?b=1>; rel="next"`:            "/a?b=1",
		`</a>;rel=next`:                   "/a",
		`</a>; title="x"; rel=Next`:       "/a",
		`</a>; rel="prev next"`:           "/a",
		`</a>; rel=prev, </b>; rel=next`:  "/b",
		`</a,b;c>; rel="next"`:            "/a,b;c",
		`</a>; rel="nextpage"`:            "",
		`</a>; rel=prev; note="rel=next"`: "",
		`</a>`:                            "",
		`</a; rel=next`:                   "",
		`rel=next`:                        "",
		``:                                "",
		`<<<<>>>>; rel=next`:              "<<<",
		strings.Repeat("<", 1000):         "",
		strings.Repeat(`<a>;rel=x,`, 3) + `<b>;rel=next`: "b",
	} {
		if got := transport.NextLink(header); got != want {
			t.Errorf("NextLink(%q) = %q, want %q", header, got, want)
		}
	}
}
