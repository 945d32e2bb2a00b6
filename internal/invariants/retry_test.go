package invariants_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/library"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faultreg"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// Each kind of request fails once, in each way that may pass; what was to be done is done
// nevertheless.
func TestRetryMatrix(t *testing.T) {
	oneShot := []struct {
		name string
		do   faultreg.Action
	}{
		{"500", faultreg.Refuse(500, "UNKNOWN", "sorry")},
		{"502", faultreg.Status(502)},
		{"503", faultreg.Status(503)},
		{"504", faultreg.Status(504)},
		{"429", faultreg.Status(429)},
		{"401", nil}, // with the registry's own challenge
		{"RST", faultreg.Reset()},
		{"stall", faultreg.Stall()},
	}
	// A token service that says no is believed, and containers/image signs in once for
	// each copy.
	refusals := []string{"token, 401", "upload PATCH, 401"}
	var cells, recovered atomic.Int32
	atOnce := make(chan struct{}, 8)
	var all sync.WaitGroup
	for i, row := range retryRows {
		for j, fault := range oneShot {
			if !faults.Full() && (i+j)%4 != 0 {
				continue
			}
			cell := row.name + ", " + fault.name
			limit := 30 * time.Second
			if fault.name == "stall" {
				limit = time.Second
			}
			atOnce <- struct{}{}
			b := newBench(t, limit, 3)
			all.Go(func() {
				defer func() { <-atOnce }()
				cells.Add(1)
				err := b.try(t.Context(), row, fault.name, fault.do)
				if err == nil {
					recovered.Add(1)
				}
				if refused := slices.Contains(refusals, cell); refused != (err != nil) {
					t.Errorf("%s: %v", cell, err)
				}
			})
		}
	}
	all.Wait()
	faults.Covers(t, "F15", "F18")
	faults.Measured(t, faults.RetryCells, int(cells.Load()))
	faults.Measured(t, faults.RetryRecovered, int(recovered.Load()))
}

// retryRow is a kind of request and something that needs one.
type retryRow struct {
	name  string
	kinds []faultreg.Kind
	up    bool // the request is upstream's
	do    func(*bench, context.Context) error
}

var retryRows = []retryRow{
	{"ping", []faultreg.Kind{faultreg.Ping}, true, func(b *bench, ctx context.Context) error {
		_, err := b.client.Ping(ctx, b.up.Host, "")
		return err
	}},
	{"token", []faultreg.Kind{faultreg.Token}, true, (*bench).copies},
	{"tags list", []faultreg.Kind{faultreg.Tags}, true, func(b *bench, ctx context.Context) error {
		n := 0
		for _, err := range b.client.Tags(ctx, b.upstream()) {
			if err != nil {
				return err
			}
			n++
		}
		if n == 0 {
			return errors.New("no tags")
		}
		return nil
	}},
	{"manifest HEAD", []faultreg.Kind{faultreg.ManifestHead}, true, func(b *bench, ctx context.Context) error {
		d, err := b.client.Resolve(ctx, b.upstream().Tagged(b.tag))
		if err == nil && d.Digest != b.image.Digest() {
			err = fmt.Errorf("it is %s", d.Digest)
		}
		return err
	}},
	{"manifest GET", []faultreg.Kind{faultreg.ManifestGet}, true, (*bench).copies},
	{"manifest PUT", []faultreg.Kind{faultreg.ManifestPut, faultreg.ManifestPutDigest}, false, (*bench).copies},
	{"blob HEAD", []faultreg.Kind{faultreg.BlobHead}, false, (*bench).copies},
	{"blob GET", []faultreg.Kind{faultreg.BlobGet}, true, (*bench).copies},
	{"upload POST", []faultreg.Kind{faultreg.UploadPost}, false, (*bench).copies},
	{"upload PATCH", []faultreg.Kind{faultreg.UploadPatch}, false, (*bench).copiesThroughLibrary},
	{"upload PUT", []faultreg.Kind{faultreg.UploadPut}, false, (*bench).copies},
	{"mount", []faultreg.Kind{faultreg.Mount}, false, (*bench).mounts},
	{"DELETE", []faultreg.Kind{faultreg.Delete}, false, func(b *bench, ctx context.Context) error {
		if _, err := imagetest.Push(ctx, nil, b.downURL, "team/app", "old", b.image); err != nil {
			return err
		}
		return b.client.DeleteTag(ctx, b.destination("team/app").Tagged("old"))
	}},
}

// bench is one cell's: two registries that ask for tokens, and a client with short limits.
type bench struct {
	up, down       *faultreg.Server
	upURL, downURL string
	client         *transport.Client
	library        registry.Target
	tag            string // that is copied, and the image it is
	image          imagetest.Node
	retries        int
	elsewhere      string // where upstream is, if not there
}

func newBench(t *testing.T, limit time.Duration, retries int) *bench {
	t.Helper()
	up, down := ecrlocaltest.StartRegistry(t), ecrlocaltest.StartRegistry(t)
	b := &bench{
		retries: retries,
		up:      faultreg.Start(t, guarded(up.Upstream)), down: faultreg.Start(t, guarded(down.Upstream)), upURL: up.URL, downURL: down.URL,
	}
	credentials := auth.Static{}
	for _, host := range []string{b.up.Host, b.down.Host} {
		credentials[host] = auth.Credential{Username: "user", Password: "password"}
	}
	b.client = transport.New(transport.Options{
		Credentials: credentials, RetryTimes: retries, RequestTimeout: limit, Stall: limit,
	})
	l := library.New(b.client, library.Options{
		Credentials: credentials, RetryTimes: retries, Stall: limit, RequestTimeout: limit,
		Settings: func(string) registry.Settings { return registry.Settings{Security: registry.Insecure} },
	})
	b.library = l
	t.Cleanup(func() { _, _ = l.Close(), b.client.Close() })
	return b
}

// bring gives upstream an image to be copied.
func (b *bench) bring(ctx context.Context, tag string) error {
	shared := imagetest.Layer("shared "+tag, 3000)
	b.tag, b.image = tag, imagetest.Index(imagetest.Image(amd64, shared, imagetest.Layer(tag, 300)), imagetest.Image(arm64, shared))
	_, err := imagetest.Push(ctx, nil, b.upURL, "team/app", tag, b.image)
	return err
}

// guarded is a registry that wants a token from its own token service.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"token":"t","expires_in":300,"issued_at":%q}`, time.Now().UTC().Format(time.RFC3339))
		case !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer "):
			w.Header().Set("WWW-Authenticate", challenge(r))
			w.WriteHeader(http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func challenge(r *http.Request) string {
	return `Bearer realm="http://` + r.Host + `/token",service="registry"`
}

func (b *bench) upstream() ref.Repository {
	return ref.Repository{Host: cmp.Or(b.elsewhere, b.up.Host), Path: "team/app"}
}

func (b *bench) destination(path string) ref.Repository {
	return ref.Repository{Host: b.down.Host, Path: path}
}

// try does what a row does while its request fails once.
func (b *bench) try(ctx context.Context, row retryRow, name string, do faultreg.Action) error {
	server := b.down
	if row.up {
		server = b.up
	}
	if name == "401" && row.name != "token" {
		// A token that is refused at once is a refusal. One that has worked has expired.
		if err := errors.Join(b.bring(ctx, "before"), row.do(b, ctx)); err != nil {
			return fmt.Errorf("before: %w", err)
		}
	}
	if name == "401" {
		do = func(x *faultreg.Exchange) { faultreg.Status(401, "WWW-Authenticate", challenge(x.Request))(x) }
	}
	if err := b.bring(ctx, "1"); err != nil {
		return err
	}
	for _, kind := range row.kinds {
		server.Inject(faultreg.Rule{Kind: kind, Do: do, Match: func(e faultreg.Entry) bool {
			return e.Kind == faultreg.Token || e.Authorization != "" // what is refused anyway is no fault
		}})
	}
	if err := row.do(b, ctx); err != nil {
		return err
	}
	for _, kind := range row.kinds {
		if !failed(server, kind) {
			return fmt.Errorf("no request of kind %s failed", kind)
		}
	}
	return nil
}

func failed(s *faultreg.Server, kind faultreg.Kind) bool {
	for _, e := range s.Journal() {
		if e.Kind == kind && e.Failed {
			return true
		}
	}
	return false
}

// Source and Target make the bench the copy.Places of a run.
func (b *bench) Source(plan.Action) registry.Source { return b.client }

func (b *bench) Target(plan.Action) registry.Target { return b.client }

func (b *bench) copies(ctx context.Context) error { return b.copy(ctx, b, "team/app") }

// copiesThroughLibrary sends uploads in PATCH requests, as containers/image does.
func (b *bench) copiesThroughLibrary(ctx context.Context) error {
	return b.copy(ctx, through{b.library}, "team/app")
}

// through is one way for both sides.
type through struct{ way registry.Target }

func (l through) Source(plan.Action) registry.Source { return l.way }
func (l through) Target(plan.Action) registry.Target { return l.way }

// mounts copies to two repositories of the destination, which share all blobs.
func (b *bench) mounts(ctx context.Context) error { return b.copy(ctx, b, "team/app", "team/other") }

// copy copies the image and has the walker judge what came of it.
func (b *bench) copy(ctx context.Context, places copy.Places, to ...string) error {
	from := b.upstream().Tagged(b.tag)
	from.Digest = b.image.Digest()
	var actions []plan.Action
	for _, path := range to {
		actions = append(actions, plan.Action{
			Verb: plan.Copy, From: from, Want: from.Digest, To: b.destination(path).Tagged(b.tag), Mirror: &discover.Mirror{},
		})
	}
	copier := copy.New(places, copy.NewLibrary(16), copy.Options{RetryTimes: b.retries})
	defer copier.Close()
	for _, r := range copier.Run(ctx, plan.Plan{Actions: actions}) {
		if r.Status != plan.Copied {
			return fmt.Errorf("%s is %s: %s", r.Action.To, r.Status, r.Reason)
		}
	}
	for _, path := range to {
		report, err := walker.Check(ctx, walker.Options{Base: b.downURL, Repository: path, Reference: b.tag, Deep: true})
		if err != nil {
			return err
		}
		if err := report.Err(); err != nil || report.Root != b.image.Digest() {
			return fmt.Errorf("%s is %s: %w", path, report.Root, err)
		}
	}
	return nil
}
