package ecrlocal_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

// TestQuirks shows each quirk at work and, with everything else as in ECR, what happens
// without it. The row's story returns what a client sees.
func TestQuirks(t *testing.T) {
	rows := []struct {
		quirk   string
		story   func(*testing.T, *ecrlocaltest.Running) string
		on, off string
	}{
		{"require-auth", func(t *testing.T, run *ecrlocaltest.Running) string {
			a := anonymous(t, run.URL).do("GET", "/v2/", nil)
			return a.String() + " " + strings.ReplaceAll(a.header.Get("Www-Authenticate"), run.URL, "URL")
		}, `401 UNAUTHORIZED Basic realm="URL/",service="ecr.amazonaws.com"`, "200 "},

		{"require-repository", func(t *testing.T, run *ecrlocaltest.Running) string {
			return login(t, run).do("POST", "/v2/no/such/blobs/uploads/", nil).String()
		}, "404 NAME_UNKNOWN", "202"},

		{"create-on-push", func(t *testing.T, run *ecrlocaltest.Running) string {
			template(t, run, "made", nil)
			return login(t, run).do("POST", "/v2/made/new/blobs/uploads/", nil).String()
		}, "202", "404 NAME_UNKNOWN"},

		{"immutable-tags", func(t *testing.T, run *ecrlocaltest.Running) string {
			immutable(t, run)
			r := login(t, run)
			r.pushImage("app", "1", "one")
			second := r.pushImage("app", "", "two")
			return r.pushManifest("app", "1", second).String()
		}, "400 TAG_INVALID", "201"},

		{"refuse-same-digest", func(t *testing.T, run *ecrlocaltest.Running) string {
			immutable(t, run)
			r := login(t, run)
			first := r.pushImage("app", "1", "one")
			return r.pushManifest("app", "1", first).String()
		}, "400 TAG_INVALID", "201"},

		{"odd-chunk-answers", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			upload := r.begin("app")
			first := r.do("PATCH", upload, []byte("12345"))
			second := r.do("PATCH", upload, []byte("678"), "Content-Range", "5-7")
			status := r.do("GET", upload, nil)
			return fmt.Sprint(first.status, " ", first.header.Get("Range"), ", ", second.status, " ",
				second.header.Get("Range"), ", ", status.status, " ", status.header.Get("Range"))
		}, "201 0-4, 201 0-4, 204 0-4", "202 0-4, 202 0-7, 204 0-7"},

		{"minimum-chunk", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			upload := r.begin("app")
			r.do("PATCH", upload, []byte("small"))
			return r.finish(upload, []byte("rest"), digest.FromString("smallrest")).String()
		}, "400 BLOB_UPLOAD_INVALID", "201"},

		{"refuse-empty-blobs", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			return r.finish(r.begin("app"), nil, digest.FromString("")).String()
		}, "400 BLOB_UPLOAD_INVALID", "201"},

		{"upload-invalid-on-mismatch", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			return r.finish(r.begin("app"), []byte("this"), digest.FromString("that")).String()
		}, "400 BLOB_UPLOAD_INVALID", "400 DIGEST_INVALID"},

		{"omit-manifest-location", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			raw := r.pushImage("app", "", "one")
			location := r.pushManifest("app", "1", raw).header.Get("Location")
			return strings.Replace(location, run.URL+"/v2/app/manifests/"+string(digest.FromBytes(raw)), "the manifest", 1)
		}, "", "the manifest"},

		{"opaque-tag-paging", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			raw := r.pushImage("app", "a", "one")
			r.pushManifest("app", "b", raw)
			first := r.do("GET", "/v2/app/tags/list?n=1", nil)
			link, _, _ := strings.Cut(strings.TrimPrefix(first.header.Get("Link"), "<"), ">")
			kind := link
			if strings.HasPrefix(link, run.URL+"/v2/app/tags/list?last=ey") { // the token is not a tag
				kind = "absolute, opaque"
			}
			return kind + ", " + r.do("GET", "/v2/app/tags/list?n=1001", nil).String()
		}, "absolute, opaque, 405 UNSUPPORTED", "/v2/app/tags/list?last=a&n=1, 200"},

		{"convert-by-accept", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			r.pushTyped("app", "1", "one", dockerManifest)
			return r.do("GET", "/v2/app/manifests/1", nil, "Accept", ociManifest).header.Get("Content-Type")
		}, ociManifest, dockerManifest},

		{"restrict-mounts", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			create(t, run, "other")
			blob := r.pushBlob("app", []byte("unreferenced"))
			return r.do("POST", "/v2/other/blobs/uploads/?from=app&mount="+string(blob), nil).String()
		}, "202", "201"},

		{"redirect-blobs", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			blob := r.pushBlob("app", []byte("content"))
			return r.do("GET", "/v2/app/blobs/"+string(blob), nil).String()
		}, "307", "200"},

		{"strict-manifests", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			return r.do("PUT", "/v2/app/manifests/1", []byte(`{"schemaVersion":2}`), "Content-Type", "application/vnd.example+json").String()
		}, "405 UNSUPPORTED", "201"},

		{"refuse-referrers", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			subject := r.pushImage("app", "1", "one")
			config := []byte(`{}`)
			r.pushBlob("app", config)
			referrer := manifest(ociManifest, config, config, `,"artifactType":"application/vnd.example.sig","subject":`+descriptor(ociManifest, subject))
			return r.pushManifest("app", string(digest.FromBytes(referrer)), referrer).String()
		}, "405 UNSUPPORTED", "201"},

		{"refuse-deletions", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			child := r.pushImage("app", "", "one")
			r.want(201, r.pushManifest("app", "1", index(child)))
			blob := r.pushBlob("app", []byte("content"))
			return r.do("DELETE", "/v2/app/manifests/"+string(digest.FromBytes(child)), nil).String() + ", " +
				r.do("DELETE", "/v2/app/blobs/"+string(blob), nil).String()
		}, "405 UNSUPPORTED, 405 UNSUPPORTED", "202, 202"},

		{"refuse-public-blob-heads", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := publicLogin(t, run, "app")
			name := "public-111122223333/app"
			blob := r.pushBlob(name, []byte("content"))
			return fmt.Sprint(r.do("HEAD", "/v2/"+name+"/blobs/"+string(blob), nil).status)
		}, "403", "200"},

		{"throttle", func(t *testing.T, run *ecrlocaltest.Running) string {
			r := login(t, run)
			raw := r.pushImage("app", "", "one")
			outcome := r.pushManifest("app", "2", raw)
			return outcome.String()
		}, "429 TOOMANYREQUESTS", "201"},
	}

	var covered []string
	for _, row := range rows {
		covered = append(covered, row.quirk)
		for _, c := range []struct{ value, want string }{{"on", row.on}, {"off", row.off}} {
			t.Run(row.quirk+"="+c.value, func(t *testing.T) {
				run := ecrlocaltest.Start(t, withQuirk(t, row.quirk, c.value),
					ecrlocaltest.WithThrottle(ecrlocal.Throttle{Scale: 100, Rates: throttleFor(row.quirk)}))
				create(t, run, "app")
				if got := row.story(t, run); got != c.want {
					t.Errorf("the client saw %q, want %q", got, c.want)
				}
			})
		}
	}
	if diff := cmp.Diff(ecrlocal.QuirkNames(), covered); diff != "" {
		t.Errorf("the table does not have each quirk once (-quirks +rows):\n%s", diff)
	}
}

// throttleFor leaves one manifest push, for the row about throttling.
func throttleFor(quirk string) map[string]float64 {
	if quirk != "throttle" {
		return nil
	}
	return map[string]float64{"PutImage": 1e-9}
}

// withQuirk is ECR with one quirk on or off.
func withQuirk(t *testing.T, name, value string) ecrlocaltest.Option {
	t.Helper()
	q := ecrlocal.ECR()
	if name == "minimum-chunk" {
		value = map[string]string{"on": "5242880", "off": "0"}[value]
	}
	if err := q.Set(name, value); err != nil {
		t.Fatal(err)
	}
	return ecrlocaltest.WithQuirks(q)
}

func template(t *testing.T, run *ecrlocaltest.Running, prefix string, change func(*ecr.CreateRepositoryCreationTemplateInput)) {
	t.Helper()
	in := &ecr.CreateRepositoryCreationTemplateInput{
		Prefix: &prefix, AppliedFor: []ecrtypes.RCTAppliedFor{ecrtypes.RCTAppliedForCreateOnPush},
	}
	if change != nil {
		change(in)
	}
	if _, err := api(run).CreateRepositoryCreationTemplate(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

func immutable(t *testing.T, run *ecrlocaltest.Running) {
	t.Helper()
	_, err := api(run).PutImageTagMutability(t.Context(), &ecr.PutImageTagMutabilityInput{
		RepositoryName: new("app"), ImageTagMutability: ecrtypes.ImageTagMutabilityImmutable,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestProfilesSwitchEverything(t *testing.T) {
	plain, err := ecrlocal.ParseProfile("oci")
	if err != nil || plain != (ecrlocal.Quirks{}) {
		t.Errorf("the profile oci is %+v, %v; want nothing on", plain, err)
	}
	ecrProfile, err := ecrlocal.ParseProfile("ecr")
	if err != nil {
		t.Fatal(err)
	}
	all := ecrProfile
	for _, name := range ecrlocal.QuirkNames() {
		if name != "refuse-referrers" && name != "minimum-chunk" {
			if err := all.Set(name, "on"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(all, ecrProfile); diff != "" {
		t.Errorf("the profile ecr leaves something off (-all +ecr):\n%s", diff)
	}
	if _, err := ecrlocal.ParseProfile("gcr"); err == nil {
		t.Error("an unknown profile was accepted")
	}
}

func TestQuirksSetRefuses(t *testing.T) {
	for _, c := range []struct{ name, value string }{
		{"no-such", "on"}, {"throttle", "yes"}, {"minimum-chunk", "on"}, {"minimum-chunk", "-1"}, {"Throttle", "on"},
	} {
		q := ecrlocal.ECR()
		if err := q.Set(c.name, c.value); err == nil || q != ecrlocal.ECR() {
			t.Errorf("Set(%q, %q) = %v, changed %t; want an error and no change", c.name, c.value, err, q != ecrlocal.ECR())
		}
	}
}

// TestPlainRegistry pushes and pulls anonymously where nothing was created before.
func TestPlainRegistry(t *testing.T) {
	run := ecrlocaltest.Start(t, ecrlocaltest.WithQuirks(ecrlocal.PlainOCI()))
	r := anonymous(t, run.URL)
	raw := r.pushImage("a/b", "1", "one")
	got := r.want(200, r.do("GET", "/v2/a/b/manifests/1", nil))
	if !bytes.Equal(got.body, raw) {
		t.Errorf("got %s, want %s", got.body, raw)
	}
	r.pushImage("x", "1", "two") // one character is enough for a plain registry
	r.want(202, r.do("DELETE", "/v2/a/b/manifests/"+string(digest.FromBytes(raw)), nil))
	if a := r.do("GET", "/v2/a/b/manifests/1", nil); a.String() != "404 MANIFEST_UNKNOWN" {
		t.Errorf("after deletion: %s", a)
	}
	r.auth = "Basic Zm9vOmJhcg==" // foo:bar, which nobody asked for
	catalog := r.do("GET", "/v2/_catalog", nil)
	if want := `{"repositories":["a/b","x"]}`; string(catalog.body) != want {
		t.Errorf("catalog is %s, want %s", catalog.body, want)
	}
}

func TestPlainTagPaging(t *testing.T) {
	run := ecrlocaltest.Start(t, ecrlocaltest.WithQuirks(ecrlocal.PlainOCI()))
	r := anonymous(t, run.URL)
	raw := r.pushImage("app", "c", "one")
	r.pushManifest("app", "a", raw)
	r.pushManifest("app", "b", raw)
	for _, c := range []struct{ query, want, link string }{
		{"", `["a","b","c"]`, ""},
		{"?n=2", `["a","b"]`, `</v2/app/tags/list?last=b&n=2>; rel="next"`},
		{"?n=2&last=b", `["c"]`, ""},
		{"?n=0", `[]`, ""},
		{"?last=aa", `["b","c"]`, ""},
	} {
		a := r.do("GET", "/v2/app/tags/list"+c.query, nil)
		if want := `{"name":"app","tags":` + c.want + `}`; string(a.body) != want || a.header.Get("Link") != c.link {
			t.Errorf("%q: got %s, Link %q; want %s, %q", c.query, a.body, a.header.Get("Link"), want, c.link)
		}
	}
	if a := r.do("GET", "/v2/app/tags/list?n=x", nil); a.String() != "400 PAGINATION_NUMBER_INVALID" {
		t.Errorf("n=x: %s", a)
	}
}

// TestTagPaging walks the opaque pages of ECR's tags/list.
func TestTagPaging(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	raw := r.pushImage("app", "", "one")
	var pushed []string
	for i := range 205 {
		tag := fmt.Sprintf("v%03d", i)
		pushed = append(pushed, tag)
		r.want(201, r.pushManifest("app", tag, raw))
	}
	var listed []string
	var sizes []int
	for next := run.URL + "/v2/app/tags/list"; next != ""; {
		a := r.want(200, r.do("GET", next, nil))
		tags := tagsOf(t, a)
		listed = append(listed, tags...)
		sizes = append(sizes, len(tags))
		next, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	}
	if diff := cmp.Diff([]int{100, 100, 5}, sizes); diff != "" {
		t.Errorf("page sizes (-want +got):\n%s", diff)
	}
	if slices.IsSorted(listed) {
		t.Error("the tags are in lexical order, which ECR does not promise")
	}
	slices.Sort(listed)
	if diff := cmp.Diff(pushed, listed); diff != "" {
		t.Errorf("tags (-pushed +listed):\n%s", diff)
	}
	if a := r.do("GET", "/v2/app/tags/list?last=v001", nil); a.String() != "405 UNSUPPORTED" {
		t.Errorf("a tag as last: %s", a)
	}
}
