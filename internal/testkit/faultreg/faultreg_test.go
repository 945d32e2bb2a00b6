package faultreg_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faultreg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const body = "0123456789"

// answering is a registry that counts what it did and always says the same.
func answering(done *atomic.Int32) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		done.Add(1)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = io.WriteString(w, body)
	})
}

// ask sends one request over a connection of its own.
func ask(ctx context.Context, t *testing.T, method, url string, content io.Reader) (int, http.Header, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(got), err
}

// Each request has the one kind that rules can name.
func TestKinds(t *testing.T) {
	sum := "sha256:" + strings.Repeat("0", 64)
	for _, test := range []struct {
		method, url, target string
		kind                faultreg.Kind
		repository, ref     string
	}{
		{"GET", "/v2/", "", faultreg.Ping, "", ""},
		{"GET", "/token?service=x&scope=y", "", faultreg.Token, "", ""},
		{"GET", "/v2/_catalog?n=5", "", faultreg.Catalog, "", ""},
		{"GET", "/v2/a/b/tags/list", "", faultreg.Tags, "a/b", "list"},
		{"HEAD", "/v2/a/b/manifests/1", "", faultreg.ManifestHead, "a/b", "1"},
		{"GET", "/v2/a/b/manifests/1", "", faultreg.ManifestGet, "a/b", "1"},
		{"PUT", "/v2/a/b/manifests/1", "", faultreg.ManifestPut, "a/b", "1"},
		{"PUT", "/v2/a/b/manifests/" + sum, "", faultreg.ManifestPutDigest, "a/b", sum},
		{"DELETE", "/v2/a/b/manifests/1", "", faultreg.Delete, "a/b", "1"},
		{"GET", "/v2/a/referrers/" + sum, "", faultreg.Referrers, "a", sum},
		{"HEAD", "/v2/a/blobs/" + sum, "", faultreg.BlobHead, "a", sum},
		{"GET", "/v2/blobs/manifests/blobs/" + sum, "", faultreg.BlobGet, "blobs/manifests", sum},
		{"POST", "/v2/a/blobs/uploads/", "", faultreg.UploadPost, "a", ""},
		{"POST", "/v2/a/blobs/uploads/?mount=" + sum + "&from=b", "", faultreg.Mount, "a", sum},
		{"PATCH", "/v2/a/blobs/uploads/7", "", faultreg.UploadPatch, "a", "7"},
		{"PUT", "/v2/a/blobs/uploads/7?digest=" + sum, "", faultreg.UploadPut, "a", sum},
		{"DELETE", "/v2/a/blobs/uploads/7", "", faultreg.Delete, "a", "7"},
		{"POST", "/", "AmazonEC2ContainerRegistry_V20150921.PutImage", faultreg.API, "", "PutImage"},
		{"GET", "/login", "", faultreg.Other, "", ""},
	} {
		var done atomic.Int32
		g := faultreg.New(answering(&done))
		req, err := http.NewRequestWithContext(t.Context(), test.method, "http://registry.test"+test.url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if test.target != "" {
			req.Header.Set("X-Amz-Target", test.target)
		}
		g.ServeHTTP(discard{}, req)
		want := faultreg.Entry{
			N: 1, Kind: test.kind, Repository: test.repository, Reference: test.ref,
			Method: test.method, Path: req.URL.Path, Host: "registry.test", Status: 200,
		}
		if diff := cmp.Diff([]faultreg.Entry{want}, g.Journal()); diff != "" || done.Load() != 1 {
			t.Errorf("%s %s, handled %d times: %s", test.method, test.url, done.Load(), diff)
		}
	}
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// What each action shows to a client, and whether the registry has acted.
func TestActions(t *testing.T) {
	for _, test := range []struct {
		name   string
		do     faultreg.Action
		acts   int
		status int
		body   string
		err    error // nil means any, where the body is not whole
		broken bool
	}{
		{"status", faultreg.Status(503, "Retry-After", "7"), 0, 503, "", nil, false},
		{"refusal", faultreg.Refuse(403, "DENIED", "no"), 0, 403, `{"errors":[{"code":"DENIED","message":"no"}]}` + "\n", nil, false},
		{"redirect", faultreg.Redirect(307, "http://127.0.0.2/"), 0, 307, "", nil, false},
		{"page", faultreg.Say("text/html", "log in"), 0, 200, "log in", nil, false},
		{"delay", faultreg.Delay(time.Millisecond), 1, 200, body, nil, false},
		{"reset", faultreg.Reset(), 0, 0, "", syscall.ECONNRESET, true},
		{"close", faultreg.Close(), 0, 0, "", io.EOF, true},
		{"answer lost", faultreg.LoseAnswer(), 1, 0, "", syscall.ECONNRESET, true},
		{"another answer", faultreg.ActThen(faultreg.Status(500)), 1, 500, "", nil, false},
		{"flipped", faultreg.Corrupt(-1), 1, 200, "0123456788", nil, false},
		{"flipped where nothing is", faultreg.Corrupt(10), 1, 200, body, nil, false},
		{"shortened", faultreg.Shorten(4), 1, 200, "0123", nil, false},
		{"truncated", faultreg.Truncate(4), 1, 200, "0123", io.ErrUnexpectedEOF, true},
		{"cut", faultreg.CutAfter(4), 1, 200, "0123", syscall.ECONNRESET, true},
		{"cut after all of it", faultreg.CutAfter(100), 1, 200, "012345678", syscall.ECONNRESET, true},
		{"drip", faultreg.Drip(time.Microsecond), 1, 200, body, nil, false},
		{"lie", faultreg.Lie(func(a *faultreg.Answer) { a.Status, a.Body = 201, []byte("other") }), 1, 201, "other", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var done atomic.Int32
			server := faultreg.Start(t, answering(&done))
			server.Inject(faultreg.Rule{Do: test.do})
			status, header, got, err := ask(t.Context(), t, "GET", server.URL+"/v2/", nil)
			if status != test.status || got != test.body || int(done.Load()) != test.acts {
				t.Errorf("status %d, body %q, handled %d times", status, got, done.Load())
			}
			if (err != nil) != test.broken || (test.err != nil && !errors.Is(err, test.err)) {
				t.Errorf("error %v", err)
			}
			if test.name == "status" && header.Get("Retry-After") != "7" {
				t.Errorf("headers %v", header)
			}
			// The next one is answered as ever.
			if status, _, got, err := ask(t.Context(), t, "GET", server.URL+"/v2/", nil); status != 200 || got != body || err != nil {
				t.Errorf("then status %d, body %q: %v", status, got, err)
			}
		})
	}
}

// What stalls does so until the client leaves.
func TestStalls(t *testing.T) {
	for name, test := range map[string]struct {
		do   faultreg.Action
		acts int
	}{
		"at once":      {faultreg.Stall(), 0},
		"after acting": {faultreg.ActThenStall(), 1},
		"in the body":  {faultreg.StallAfter(4), 1},
		"reading":      {faultreg.StopReading(64 << 10), 0},
	} {
		t.Run(name, func(t *testing.T) {
			var done atomic.Int32
			server := faultreg.Start(t, answering(&done))
			server.Inject(faultreg.Rule{Do: test.do})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { // the client leaves once the request has come, and the registry has acted
				for len(server.Journal()) == 0 || int(done.Load()) < test.acts {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(20 * time.Millisecond)
				cancel()
			}()
			_, _, _, err := ask(ctx, t, "PUT", server.URL+"/v2/a/blobs/uploads/1", bytes.NewReader(make([]byte, 16<<20)))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if int(done.Load()) != test.acts {
				t.Errorf("handled %d times", done.Load())
			}
		})
	}
}

// Rules count the requests they are about, and nothing else.
func TestRules(t *testing.T) {
	tests := []struct {
		name string
		rule faultreg.Rule
		want []int // statuses of a HEAD, GET, GET and GET, in two repositories in turn
	}{
		{"first", faultreg.Rule{}, []int{500, 200, 200, 200}},
		{"second", faultreg.Rule{Nth: 2}, []int{200, 500, 200, 200}},
		{"two from the second", faultreg.Rule{Nth: 2, Times: 2}, []int{200, 500, 500, 200}},
		{"all", faultreg.Rule{Times: -1}, []int{500, 500, 500, 500}},
		{"kind", faultreg.Rule{Kind: faultreg.ManifestGet, Nth: 2}, []int{200, 200, 500, 200}},
		{"repository", faultreg.Rule{Repository: "b", Times: -1}, []int{200, 500, 200, 500}},
		{"match", faultreg.Rule{Match: func(e faultreg.Entry) bool { return e.N > 2 }, Times: -1}, []int{200, 200, 500, 500}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var done atomic.Int32
			server := faultreg.Start(t, answering(&done))
			test.rule.Do = faultreg.Status(500)
			server.Inject(test.rule)
			var got []int
			for i, method := range []string{"HEAD", "GET", "GET", "GET"} {
				status, _, _, err := ask(t.Context(), t, method, server.URL+"/v2/"+string("ab"[i%2])+"/manifests/1", nil)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, status)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			for i, e := range server.Journal() {
				if e.Failed != (test.want[i] == 500) || e.Status != test.want[i] {
					t.Errorf("journal: %+v", e)
				}
			}
		})
	}
}

// A registry that was killed answers nobody, and everybody once it is healed.
func TestKillAndHeal(t *testing.T) {
	var done atomic.Int32
	server := faultreg.Start(t, answering(&done))
	server.Inject(faultreg.Rule{Do: faultreg.After(server.Kill, faultreg.Reset())}, faultreg.Rule{Nth: 5, Do: faultreg.Status(500)})
	for range 2 {
		if _, _, _, err := ask(t.Context(), t, "GET", server.URL+"/v2/", nil); err == nil {
			t.Error("it answered")
		}
	}
	server.Kill() // a second time is nothing
	server.Heal()
	for range 6 {
		if status, _, _, err := ask(t.Context(), t, "GET", server.URL+"/v2/", nil); err != nil || status != 200 {
			t.Errorf("status %d, error %v", status, err)
		}
	}
	server.Forget()
	if left := server.Journal(); len(left) > 0 || done.Load() != 6 {
		t.Errorf("%d in the journal, %d handled", len(left), done.Load())
	}
}
