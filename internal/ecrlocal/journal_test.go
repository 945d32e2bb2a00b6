package ecrlocal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

// TestJournalKinds makes one request of each kind and reads their names in the journal.
func TestJournalKinds(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	raw := r.pushImage("app", "1", "one")
	run.ResetJournal()

	d := string(digest.FromBytes(raw))
	blob := "/v2/app/blobs/" + string(digest.FromString("layer of one"))
	url := r.do("GET", blob, nil).header.Get("Location")
	upload := r.begin("app")
	for _, request := range []struct{ method, path string }{
		{"GET", "/v2/"},
		{"GET", "/v2/_catalog"},
		{"GET", "/v2/app/tags/list"},
		{"GET", "/v2/app/referrers/" + d},
		{"HEAD", "/v2/app/manifests/1"},
		{"GET", "/v2/app/manifests/" + d},
		{"PUT", "/v2/app/manifests/2"},
		{"DELETE", "/v2/app/manifests/2"},
		{"HEAD", blob},
		{"DELETE", blob},
		{"GET", url},
		{"POST", "/v2/app/blobs/uploads/?mount=" + string(digest.FromString("x")) + "&from=y"},
		{"GET", upload},
		{"PATCH", upload},
		{"PUT", upload},
		{"DELETE", upload},
		{"GET", "/v2/app/other"},
		{"GET", "/token/"},
	} {
		r.do(request.method, request.path, nil)
	}
	if _, err := sts.NewFromConfig(run.AWSConfig("")).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range run.Journal() {
		got = append(got, e.Op)
	}
	want := []string{
		"blob-get", "upload-post", "ping", "catalog", "tags-list", "referrers", "manifest-head", "manifest-get", "manifest-put",
		"manifest-delete", "blob-head", "blob-delete", "blob-download", "mount", "upload-get", "upload-patch", "upload-put",
		"upload-delete", "unknown", "token", "GetCallerIdentity",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
}

// TestJournalEntries compares whole entries of both faces with what the client did, at once
// after each answer.
func TestJournalEntries(t *testing.T) {
	c := ecrlocaltest.NewClock()
	run := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c))
	create(t, run, "app")
	r := login(t, run)
	raw := r.pushImage("app", "1", "one")
	run.ResetJournal()
	r.do("GET", "/v2/app/manifests/1", nil)
	r.do("PUT", "/v2/app/manifests/2", raw, "Content-Type", ociManifest)
	r.do("GET", "/v2/app/manifests/3", nil)
	if _, err := api(run).ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: new("app")}); err != nil {
		t.Fatal(err)
	}
	base := ecrlocal.Entry{Time: c.Now(), Account: "111122223333", Region: "us-east-1", Repository: "app", Principal: "arn:aws:iam::111122223333:user/ecrlocal"}
	entry := func(change func(*ecrlocal.Entry)) ecrlocal.Entry {
		e := base
		change(&e)
		return e
	}
	want := []ecrlocal.Entry{
		entry(func(e *ecrlocal.Entry) {
			e.Plane, e.Op, e.Method, e.Path = "registry", "manifest-get", "GET", "/v2/app/manifests/1"
			e.Reference, e.Status, e.BytesOut = "1", 200, int64(len(raw))
		}),
		entry(func(e *ecrlocal.Entry) {
			e.Plane, e.Op, e.Method, e.Path = "registry", "manifest-put", "PUT", "/v2/app/manifests/2"
			e.Reference, e.Status, e.BytesIn = "2", 201, int64(len(raw))
		}),
		entry(func(e *ecrlocal.Entry) {
			e.Plane, e.Op, e.Method, e.Path = "registry", "manifest-get", "GET", "/v2/app/manifests/3"
			e.Reference, e.Status = "3", 404
			e.BytesOut = int64(len(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"Requested image not found"}]}`))
		}),
		entry(func(e *ecrlocal.Entry) {
			e.Plane, e.Op, e.Method, e.Path, e.Status = "api", "ListImages", "POST", "/", 200
			e.BytesIn = int64(len(`{"repositoryName":"app"}`))
		}),
	}
	got := run.Journal()
	got[3].BytesOut = 0 // the SDK does not say how long the answer was
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(ecrlocal.Entry{}, "DurationMS")); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// TestJournalWriter gets one line of JSON per request, complete.
func TestJournalWriter(t *testing.T) {
	var lines bytes.Buffer
	server, err := ecrlocal.New(ecrlocal.Options{JournalWriter: &lines})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	run := &ecrlocaltest.Running{Server: server, URL: web.URL}
	create(t, run, "app")
	r := login(t, run)
	r.pushBlob("app", []byte("content"))
	want := run.Journal()
	r.http.CloseIdleConnections()
	web.Close() // waits for the handlers, which write when they are done
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	var got []ecrlocal.Entry
	for line := range strings.Lines(lines.String()) {
		var e ecrlocal.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if e.DurationMS <= 0 {
			t.Errorf("%s took no time", e.Op)
		}
		got = append(got, e)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(ecrlocal.Entry{}, "DurationMS")); diff != "" {
		t.Errorf("lines (-journal +file):\n%s", diff)
	}
}

func TestJournalForgetsTheOldest(t *testing.T) {
	run := ecrlocaltest.Start(t, func(o *ecrlocal.Options) { o.JournalSize = 8 })
	r := anonymous(t, run.URL)
	for i := range 30 {
		r.do("GET", fmt.Sprintf("/v2/%d", i), nil)
	}
	entries := run.Journal()
	if n := len(entries); n < 6 || n > 8 {
		t.Errorf("%d entries are kept, want at most 8 and not much fewer", n)
	}
	if last := entries[len(entries)-1].Path; last != "/v2/29" {
		t.Errorf("the last one is %s, want /v2/29", last)
	}
}

// TestFaults is one row per kind of fault on the registry; the fault is armed once, and the
// request is sent twice.
func TestFaults(t *testing.T) {
	for _, row := range []struct {
		name       string
		fault      ecrlocal.Fault
		want       string
		stored     bool // the manifest is there although the first request failed
		wantHeader string
	}{
		{"status alone", ecrlocal.Fault{Status: 500}, "500 UNKNOWN", false, ""},
		{"status, code and header", ecrlocal.Fault{Status: 429, Code: "TOOMANYREQUESTS", Header: http.Header{"Retry-After": {"7"}}}, "429 TOOMANYREQUESTS", false, "7"},
		{"dropped", ecrlocal.Fault{Drop: true}, "cut", false, ""},
		{"late", ecrlocal.Fault{Status: 503, Late: true}, "503 UNKNOWN", true, ""},
		{"late and dropped", ecrlocal.Fault{Drop: true, Late: true}, "cut", true, ""},
		{"another repository", ecrlocal.Fault{Status: 500, Repository: "other"}, "201", true, ""},
		{"no match", ecrlocal.Fault{Status: 500, Match: func(e ecrlocal.Entry) bool { return e.Reference == "2" }}, "201", true, ""},
		{"a match", ecrlocal.Fault{Status: 500, Match: func(e ecrlocal.Entry) bool { return e.Reference == "1" }}, "500 UNKNOWN", false, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			run := ecrlocaltest.Start(t)
			create(t, run, "app")
			r := login(t, run)
			raw := r.pushImage("app", "", "one")
			run.FailNext("manifest-put", 1, row.fault)
			a, err := r.try("PUT", "/v2/app/manifests/1", raw, "Content-Type", ociManifest)
			got := a.String()
			if err != nil {
				got = "cut"
			}
			if got != row.want || a.header.Get("Retry-After") != row.wantHeader {
				t.Errorf("got %s, Retry-After %q, %v; want %s, %q", got, a.header.Get("Retry-After"), err, row.want, row.wantHeader)
			}
			if last := run.Journal()[len(run.Journal())-1]; (last.Status == 0) != (row.want == "cut") || last.Op != "manifest-put" {
				t.Errorf("the journal has %s with status %d; want 0 if it was cut", last.Op, last.Status)
			}
			if status := r.do("HEAD", "/v2/app/manifests/1", nil).status; (status == 200) != row.stored {
				t.Errorf("afterwards HEAD says %d, want stored=%t", status, row.stored)
			}
			if a := r.pushManifest("app", "1", raw); a.String() != "201" && row.want != "201" {
				t.Errorf("the second request: %s, want 201", a)
			}
		})
	}
}

func TestFaultOnAPI(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	run.FailNext("ListImages", 2, ecrlocal.Fault{Status: 400, Code: "ThrottlingException", Message: "Rate exceeded"})
	run.FailNext("GetCallerIdentity", 1, ecrlocal.Fault{Status: 403, Code: "AccessDenied"})
	list := func() string {
		_, err := api(run).ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: new("app")})
		return errorCode(t, err)
	}
	if diff := cmp.Diff([]string{"ThrottlingException", "ThrottlingException", ""}, []string{list(), list(), list()}); diff != "" {
		t.Errorf("ListImages three times (-want +got):\n%s", diff)
	}
	_, err := sts.NewFromConfig(run.AWSConfig("")).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if got := errorCode(t, err); got != "AccessDenied" {
		t.Errorf("GetCallerIdentity: %q, want AccessDenied", got)
	}
}

// TestFaultCutsBodies ends a download in the middle, at once or after a stall.
func TestFaultCutsBodies(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	content := bytes.Repeat([]byte("x"), 3<<20)
	dgst := r.pushBlob("app", content)
	url := r.do("GET", "/v2/app/blobs/"+string(dgst), nil).header.Get("Location")

	run.FailNext("blob-download", 1, ecrlocal.Fault{CutAfter: 1 << 20})
	a, err := r.try("GET", url, nil)
	if err == nil || len(a.body) != 1<<20 {
		t.Errorf("got %d bytes, %v; want %d and an error", len(a.body), err, 1<<20)
	}
	release := make(chan struct{})
	r.pushImage("app", "1", "one")
	run.FailNext("manifest-get", 1, ecrlocal.Fault{CutAfter: 10, Hold: release})
	done := make(chan int)
	go func() {
		a, err := r.try("GET", "/v2/app/manifests/1", nil)
		if err == nil {
			t.Error("a cut download ended well")
		}
		done <- len(a.body)
	}()
	select {
	case n := <-done:
		t.Errorf("the download ended with %d bytes while it was held", n)
	case <-time.After(50 * time.Millisecond):
		if last := run.Journal()[len(run.Journal())-1]; last.Op != "manifest-get" || last.Status != 200 || last.BytesOut != 10 {
			t.Errorf("while it is held the journal has %+v; want the download with status 200 and 10 bytes", last)
		}
		close(release)
		if n := <-done; n != 10 {
			t.Errorf("got %d bytes, want 10", n)
		}
	}
	if a := r.do("GET", url, nil); len(a.body) != len(content) {
		t.Errorf("afterwards %d bytes, want %d", len(a.body), len(content))
	}
}

// TestFaultHolds keeps a request waiting and then handles it.
func TestFaultHolds(t *testing.T) {
	run := ecrlocaltest.Start(t)
	r := login(t, run)
	release := make(chan struct{})
	run.FailNext("ping", 1, ecrlocal.Fault{Hold: release})
	done := make(chan string)
	go func() {
		a, err := r.try("GET", "/v2/", nil)
		done <- fmt.Sprint(a, err)
	}()
	select {
	case got := <-done:
		t.Errorf("answered while held: %s", got)
	case <-time.After(50 * time.Millisecond):
		close(release)
		if got := <-done; got != "200<nil>" && got != "200 <nil>" {
			t.Errorf("after the release: %s", got)
		}
	}
}
