package listing_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/dockerhub"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/listing"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// place lists names, and remembers what it was asked.
type place struct {
	names  []string
	broken error         // after the names
	pause  time.Duration // before each name

	mu     sync.Mutex
	asked  []string
	served int // names that were taken
}

func (p *place) list(ctx context.Context, question string) iter.Seq2[string, error] {
	p.mu.Lock()
	p.asked = append(p.asked, question)
	p.mu.Unlock()
	return func(yield func(string, error) bool) {
		for _, name := range p.names {
			if !passes(ctx, p.pause) {
				yield("", context.Cause(ctx))
				return
			}
			p.mu.Lock()
			p.served++
			p.mu.Unlock()
			if !yield(name, nil) {
				return
			}
		}
		if p.broken != nil {
			yield("", p.broken)
		}
	}
}

// passes waits and reports whether ctx lives still.
func passes(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *place) Repositories(ctx context.Context, host string) iter.Seq2[string, error] {
	return p.list(ctx, "repositories "+host)
}

func (p *place) PublicRepositories(ctx context.Context) iter.Seq2[string, error] {
	return p.list(ctx, "public repositories")
}

func (p *place) Namespace(ctx context.Context, namespace string) iter.Seq2[string, error] {
	return p.list(ctx, "namespace "+namespace)
}

func (p *place) Search(ctx context.Context, text string) iter.Seq2[string, error] {
	return p.list(ctx, "search "+text)
}

func names(format string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

// patterns reads mirrors, each given by what it is from, as a user writes them.
func patterns(t *testing.T, froms ...string) []config.Pattern {
	t.Helper()
	text := "apiVersion: ecr-mirror-sync.io/v1alpha1\nmirrors:\n"
	for i, from := range froms {
		text += fmt.Sprintf("- name: m%d\n  from: {%s}\n  to: {registry: r.example.com, prefix: m%d}\n  tags: latest\n", i, from, i)
	}
	read := func(name string) ([]byte, error) {
		if name != "a.yaml" {
			return nil, fs.ErrNotExist
		}
		return []byte(text), nil
	}
	c, err := config.Load([]string{"a.yaml"}, func(string) (string, bool) { return "", false }, read)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Patterns) != len(froms) {
		t.Fatalf("%d patterns", len(c.Patterns))
	}
	slices.SortFunc(c.Patterns, func(a, b config.Pattern) int { return strings.Compare(a.Name, b.Name) })
	return c.Patterns
}

func upstreams(mirrors []discover.Mirror) []string {
	var all []string
	for _, m := range mirrors {
		all = append(all, m.Upstream.String())
	}
	return all
}

func wantMirrors(t *testing.T, l *listing.Lister, p config.Pattern, want ...string) {
	t.Helper()
	mirrors, err := l.Mirrors(t.Context(), p)
	if diff := cmp.Diff(want, upstreams(mirrors)); diff != "" || err != nil {
		t.Errorf("error %v, mirrors of (-want +got)\n%s", err, diff)
	}
}

func wantError(t *testing.T, l *listing.Lister, p config.Pattern, kind error, text string) {
	t.Helper()
	mirrors, err := l.Mirrors(t.Context(), p)
	if mirrors != nil || err == nil || kind != nil && !errors.Is(err, kind) || !strings.Contains(err.Error(), text) || !strings.HasPrefix(err.Error(), p.Place()+": ") {
		t.Errorf("mirrors %v, error %v, want %v with %q", upstreams(mirrors), err, kind, text)
	}
}

const (
	fromCatalog   = "registry: quay.io, repositories: 'a/*'"
	fromECR       = "registry: 111122223333.dkr.ecr.eu-west-1.amazonaws.com, repositories: 'a/*'"
	fromECRPublic = "registry: public.ecr.aws, repositories: 'a/*'"
	fromNamespace = "registry: docker.io, lister: docker-hub, namespace: a, repositories: '**'"
	fromSearch    = "registry: docker.io, lister: docker-hub-search, search: some words, repositories: 'a/*'"
)

func TestEachListerIsAskedItsOwnWay(t *testing.T) {
	var catalog, amazon, hub place
	all := []*place{&catalog, &amazon, &hub}
	for _, p := range all {
		p.names = []string{"b/x", "a/y", "a/x"}
	}
	hub.names = []string{"a/y", "a/x"}
	l := listing.New(listing.Options{Catalog: &catalog, ECR: &amazon, Hub: &hub})
	for i, p := range patterns(t, fromCatalog, fromECR, fromECRPublic, fromNamespace, fromSearch) {
		host := []string{"quay.io", "111122223333.dkr.ecr.eu-west-1.amazonaws.com", "public.ecr.aws", "docker.io", "docker.io"}[i]
		wantMirrors(t, l, p, host+"/a/x", host+"/a/y")
	}
	var asked [][]string
	for _, p := range all {
		asked = append(asked, p.asked)
	}
	want := [][]string{
		{"repositories quay.io"},
		{"repositories 111122223333.dkr.ecr.eu-west-1.amazonaws.com", "public repositories"},
		{"namespace a", "search some words"},
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("questions (-want +got)\n%s", diff)
	}
}

func TestAListerThatIsMissing(t *testing.T) {
	for _, p := range patterns(t, fromCatalog, fromECR, fromECRPublic, fromNamespace, fromSearch) {
		wantError(t, listing.New(listing.Options{}), p, failure.ErrUnsupported, "cannot be listed with "+string(p.Lister))
	}
}

// A mirror that silently copies the first half of a registry is worse than none.
func TestAListThatBreaksIsNoMirror(t *testing.T) {
	outage := errors.New("outage")
	hub := &place{names: names("a/%d", 10), broken: outage}
	l := listing.New(listing.Options{Catalog: hub, Hub: hub})
	ps := patterns(t, fromCatalog, fromNamespace, fromSearch, fromSearch+", maxItems: 11")
	for _, p := range ps {
		wantError(t, l, p, outage, "outage")
	}
	if len(hub.asked) != 3 {
		t.Errorf("questions %v: a failure is the run's", hub.asked)
	}
	hub.broken = nil
	wantError(t, l, ps[0], outage, "outage")
	l.NextRun()
	if mirrors, err := l.Mirrors(t.Context(), ps[0]); err != nil || len(mirrors) != 10 {
		t.Errorf("the next run: %d mirrors, %v", len(mirrors), err)
	}
}

// Quay answers with an empty catalogue to those who may not see it, and Docker Hub with an
// empty namespace where there is none.
func TestAnEmptyListIsAnError(t *testing.T) {
	empty := &place{}
	l := listing.New(listing.Options{Catalog: empty, ECR: empty, Hub: empty})
	for i, text := range []string{
		"quay.io lists no repositories; name them one by one", "111122223333.dkr.ecr.eu-west-1.amazonaws.com lists no repositories", "public.ecr.aws lists no repositories",
		"namespace a of Docker Hub has no repositories to be seen; check its name, or give credentials", `searching Docker Hub for "some words": not found`,
	} {
		wantError(t, l, patterns(t, fromCatalog, fromECR, fromECRPublic, fromNamespace, fromSearch)[i], failure.ErrNotFound, text)
	}
	// That nothing on a list matches is for the pattern's author to judge.
	wantMirrors(t, listing.New(listing.Options{Catalog: &place{names: []string{"b/x"}}}), patterns(t, fromCatalog)[0])
}

// An old tool's limit was one of pages: it mirrored up to 99 repositories more.
func TestMaxItems(t *testing.T) {
	for _, test := range []struct {
		name    string
		from    string
		names   []string
		mirrors int // -1 for too many
		served  int
	}{
		{"just enough", fromCatalog + ", maxItems: 10", names("a/%d", 10), 10, 10},
		{"one too many", fromCatalog + ", maxItems: 10", names("a/%d", 11), -1, 11},
		{"a giant", fromCatalog + ", maxItems: 10", names("a/%d", 5000), -1, 11},
		{"the default", fromCatalog, names("a/%d", 5000), -1, 1001},
		{"no limit", fromCatalog + ", maxItems: 0", names("a/%d", 5000), 5000, 5000},
		{"only matches count", fromCatalog + ", maxItems: 10", append(names("b/%d", 500), names("a/%d", 10)...), 10, 510},
		{"only different ones count", fromCatalog + ", maxItems: 10", slices.Concat(names("a/%d", 10), names("a/%d", 10), names("/a/%d/", 10)), 10, 30},
		{"a namespace", fromNamespace + ", maxItems: 2", names("a/%d", 10), -1, 3},
		{"results are looked at, matches or not", fromSearch + ", maxItems: 10", append(names("b/%d", 5), names("a/%d", 500)...), 5, 10},
		{"fewer results", fromSearch + ", maxItems: 10", names("a/%d", 3), 3, 3},
		{"all results", fromSearch + ", maxItems: 0", names("a/%d", 2000), 2000, 2000},
	} {
		t.Run(test.name, func(t *testing.T) {
			from := &place{names: test.names}
			l := listing.New(listing.Options{Catalog: from, Hub: from})
			p := patterns(t, test.from)[0]
			if test.mirrors < 0 {
				wantError(t, l, p, nil, "more repositories of "+p.Registry+" match than maxItems allows")
			} else if mirrors, err := l.Mirrors(t.Context(), p); err != nil || len(mirrors) != test.mirrors {
				t.Errorf("%d mirrors, %v", len(mirrors), err)
			}
			if from.served != test.served {
				t.Errorf("%d names were read, want %d", from.served, test.served)
			}
		})
	}
}

func TestTheBestResultsAreLookedAt(t *testing.T) {
	from := &place{names: []string{"a/z", "a/y", "a/x"}}
	p := patterns(t, fromSearch+", maxItems: 2")[0]
	wantMirrors(t, listing.New(listing.Options{Hub: from}), p, "docker.io/a/y", "docker.io/a/z")
}

func TestARunAsksOnce(t *testing.T) {
	from := &place{names: []string{"a/x", "b/y"}}
	l := listing.New(listing.Options{Catalog: from, Hub: from})
	ps := patterns(t, fromCatalog+", cacheDuration: 0s", "registry: quay.io, repositories: 'b/*', cacheDuration: 0s",
		"registry: r.test, repositories: 'b/*'", "registry: docker.io, lister: docker-hub, namespace: a, repositories: '**'",
		"registry: docker.io, lister: docker-hub, namespace: b, repositories: '**'", "registry: docker.io, lister: docker-hub-search, search: a, repositories: '**'",
		"registry: docker.io, lister: docker-hub-search, search: b, repositories: '**'")
	for range 2 {
		for _, p := range ps {
			if mirrors, err := l.Mirrors(t.Context(), p); err != nil || len(mirrors) == 0 {
				t.Errorf("%s: %v, %v", p.Name, mirrors, err)
			}
		}
	}
	want := []string{"repositories quay.io", "repositories r.test", "namespace a", "namespace b", "search a", "search b"}
	if diff := cmp.Diff(want, from.asked); diff != "" {
		t.Errorf("questions (-want +got)\n%s", diff)
	}
}

// The first pattern has read as far as it needed; the second needs more.
func TestAPatternThatNeedsMore(t *testing.T) {
	from := &place{names: append(names("a/%d", 20), "b/x")}
	l := listing.New(listing.Options{Catalog: from, Hub: from})
	ps := patterns(t, fromCatalog+", maxItems: 5", fromCatalog+", maxItems: 3", "registry: quay.io, repositories: 'b/*'", fromSearch+", maxItems: 2", fromSearch+", maxItems: 4", fromSearch+", maxItems: 3")
	wantError(t, l, ps[0], nil, "maxItems")
	wantError(t, l, ps[1], nil, "maxItems")
	if from.served != 6 {
		t.Errorf("%d names were read, want 6", from.served)
	}
	wantMirrors(t, l, ps[2], "quay.io/b/x")
	wantError(t, l, ps[0], nil, "maxItems")
	wantMirrors(t, l, ps[3], "docker.io/a/0", "docker.io/a/1")
	wantMirrors(t, l, ps[4], "docker.io/a/0", "docker.io/a/1", "docker.io/a/2", "docker.io/a/3")
	wantMirrors(t, l, ps[5], "docker.io/a/0", "docker.io/a/1", "docker.io/a/2")
	want := []string{"repositories quay.io", "repositories quay.io", "search some words", "search some words"}
	if diff := cmp.Diff(want, from.asked); diff != "" || from.served != 6+21+2+4 {
		t.Errorf("%d names, questions (-want +got)\n%s", from.served, diff)
	}
}

func TestCacheDuration(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	from := &place{names: []string{"a/x"}}
	l := listing.New(listing.Options{Catalog: from, Now: func() time.Time { return now }})
	ps := patterns(t, fromCatalog+", cacheDuration: 10m", fromCatalog+", cacheDuration: 0s", fromCatalog)
	hour, minutes, never := ps[2], ps[0], ps[1]
	for _, step := range []struct {
		after time.Duration
		p     config.Pattern
		asked int
	}{
		{0, hour, 1},
		{10*time.Minute - 1, minutes, 1},
		{time.Nanosecond, minutes, 2},
		{time.Hour - 1, hour, 2},
		{time.Nanosecond, hour, 3},
		{0, never, 4},
		{0, never, 5},
		{30 * time.Minute, hour, 5},
		{-2 * time.Hour, hour, 6}, // the clock was set back
		{0, hour, 6},
	} {
		now = now.Add(step.after)
		l.NextRun()
		from.names = []string{fmt.Sprintf("a/%d", step.asked)}
		mirrors, err := l.Mirrors(t.Context(), step.p)
		if err != nil || len(mirrors) != 1 || len(from.asked) != step.asked {
			t.Errorf("%s after %s: %v, %v, %d questions, want %d", step.p.Name, step.after, upstreams(mirrors), err, len(from.asked), step.asked)
		}
	}
}

func TestManyAtOnceShareAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &place{names: names("a/%d", 100), pause: time.Second}
		l := listing.New(listing.Options{Catalog: from})
		ps := patterns(t, fromCatalog, fromCatalog+", maxItems: 10", "registry: quay.io, repositories: a/99")
		var wg sync.WaitGroup
		for i := range 30 {
			p, want := ps[i%3], []int{100, 0, 1}[i%3]
			wg.Go(func() {
				mirrors, err := l.Mirrors(t.Context(), p)
				if len(mirrors) != want || (err == nil) != (want > 0) {
					t.Errorf("%s: %d mirrors, %v", p.Name, len(mirrors), err)
				}
			})
		}
		wg.Wait()
		if len(from.asked) > 2 { // the one with the least maxItems may have led once
			t.Errorf("questions %v", from.asked)
		}
	})
}

// Whoever leads may give up; that is no failure of those who wait.
func TestALeaderWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &place{names: names("a/%d", 10), pause: time.Second}
		l := listing.New(listing.Options{Catalog: from})
		p := patterns(t, fromCatalog)[0]
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() {
			_, err := l.Mirrors(ctx, p)
			done <- err
		}()
		synctest.Wait()
		waiting := make(chan int)
		go func() {
			mirrors, err := l.Mirrors(t.Context(), p)
			if err != nil {
				t.Errorf("who waited: %v", err)
			}
			waiting <- len(mirrors)
		}()
		time.Sleep(5500 * time.Millisecond)
		cancel(enough)
		if err := <-done; !errors.Is(err, enough) {
			t.Errorf("who gave up: %v", err)
		}
		if n := <-waiting; n != 10 || len(from.asked) != 2 {
			t.Errorf("%d mirrors, questions %v", n, from.asked)
		}
	})
}

func TestOneWhoWaitsCanGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &place{names: names("a/%d", 10), pause: time.Second}
		l := listing.New(listing.Options{Catalog: from})
		p := patterns(t, fromCatalog)[0]
		led := make(chan error)
		go func() {
			_, err := l.Mirrors(t.Context(), p)
			led <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := l.Mirrors(ctx, p)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if err := <-led; err != nil || len(from.asked) != 1 {
			t.Errorf("who led: %v, questions %v", err, from.asked)
		}
	})
}

// What the program lists with.
var (
	_ registry.Lister = (*transport.Client)(nil)
	_ listing.ECR     = (*ecr.Registries)(nil)
	_ listing.Hub     = (*dockerhub.Client)(nil)
)
