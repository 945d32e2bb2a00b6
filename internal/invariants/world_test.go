package invariants_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faultreg"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/trust"
)

// asProgram in the environment makes the test binary the program itself, which can be
// killed as no goroutine can.
const asProgram = "INVARIANTS_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	goleak.VerifyTestMain(m, ecrlocaltest.IgnoreRegistryGoroutine(),
		// What toxiproxy has between the two ends of a connection that breaks waits for ever to
		// hand on what nobody takes: the toxics, and what reads for the first of them.
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"))
}

var (
	amd64 = ref.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ref.Platform{OS: "linux", Architecture: "arm64"}
)

// world is an upstream registry and a destination, each behind a front that fails by
// rules. Pushing and judging go past the fronts.
type world struct {
	up, down           *faultreg.Server
	upURL, downURL     string
	username, password string             // of the destination
	create             func(string) error // a repository at the destination, with nothing in it
	aws                *ecr.Session       // where the destination is ECR
	account, region    string             // likewise
	walked             sync.Map           // trees at upstream, by digest
}

// kinds of worlds, by what their destination is.
var kinds = map[string]func(*testing.T) *world{"registry": registryWorld, "ecr": ecrWorld}

// registryWorld has distribution's registry as the destination.
func registryWorld(t *testing.T) *world {
	t.Helper()
	up, down := ecrlocaltest.StartRegistry(t), ecrlocaltest.StartRegistry(t)
	return &world{
		up: faultreg.Start(t, up.Upstream), down: faultreg.Start(t, down.Upstream),
		upURL: up.URL, downURL: down.URL,
		create: func(string) error { return nil },
	}
}

// ecrWorld has a local ECR with its API as the destination.
func ecrWorld(t *testing.T) *world {
	t.Helper()
	up, down := ecrlocaltest.StartRegistry(t), ecrlocaltest.Start(t)
	w := &world{
		up: faultreg.Start(t, up.Upstream), down: faultreg.Start(t, down.Server),
		upURL: up.URL, downURL: down.URL,
		username: "AWS", password: down.Password("", ""),
		create:  func(name string) error { return down.CreateRepository(name, ecrlocal.RepositoryOptions{}) },
		account: down.Account(), region: down.Region(),
	}
	t.Setenv("AWS_ENDPOINT_URL", w.down.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", ecrlocaltest.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", down.Region())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	session, err := ecr.Open(t.Context(), ecr.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.aws = session
	t.Cleanup(func() { _ = session.Close() })
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return w
}

func (w *world) auth() []imagetest.Auth {
	if w.username == "" {
		return nil
	}
	return []imagetest.Auth{imagetest.Basic(w.username, w.password)}
}

// content is what upstream has under tags, and what refers to it.
type content struct {
	tags      map[string]imagetest.Node
	referrers map[ref.Digest]imagetest.Node // by what they refer to
}

// rich is small and has all that a run brings: an index whose images share a layer, a
// signature of it, an image that shares the layer too.
func rich(seed string) content {
	base := imagetest.Layer("base", 3000)
	index := imagetest.Index(
		imagetest.Image(amd64, base, imagetest.Layer(seed+" amd64", 500)),
		imagetest.Image(arm64, base, imagetest.Layer(seed+" arm64", 600)),
	)
	return content{
		tags: map[string]imagetest.Node{
			"index":  index,
			"single": imagetest.Image(amd64, base, imagetest.Layer(seed+" single", 40_000)),
		},
		referrers: map[ref.Digest]imagetest.Node{
			index.Digest(): imagetest.Referrer(index, "application/vnd.example.signature", imagetest.Layer(seed+" signature", 50)),
		},
	}
}

// bring pushes content past the fronts.
func bring(base, repo string, c content, auth ...imagetest.Auth) error {
	for tag, node := range c.tags {
		if _, err := imagetest.Push(context.Background(), nil, base, repo, tag, node, auth...); err != nil {
			return err
		}
	}
	for subject, referrer := range c.referrers {
		// Where there is no referrers API, its list is an index under a tag.
		tag := strings.Replace(string(subject), ":", "-", 1)
		if _, err := imagetest.Push(context.Background(), nil, base, repo, tag, imagetest.Index(referrer), auth...); err != nil {
			return err
		}
	}
	return nil
}

// process is one start of the program, below its command line.
type process struct {
	*mirror.Runner
	source registry.Source
	target registry.Target
	close  []func() error
}

// Source and Target make the process the copy.Places of its run.
func (p *process) Source(plan.Action) registry.Source { return p.source }

func (p *process) Target(plan.Action) registry.Target { return p.target }

// end lets go of what the process holds.
func (p *process) end() error {
	var errs []error
	for _, c := range p.close {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// patience is how a process deals with what fails.
type patience struct {
	retries int
	stall   time.Duration // also the deadline of requests
	strict  bool          // no tag without its referrers
}

// patient waits long, and is what a run without faults needs.
var patient = patience{retries: 2, stall: time.Minute}

// start makes a process that mirrors upstream's repositories, each to one of the same
// index in to.
func (w *world) start(p patience, from, to []string) *process {
	sources := transport.New(transport.Options{RetryTimes: p.retries, Stall: p.stall, RequestTimeout: p.stall})
	proc := &process{source: sources, close: []func() error{sources.Close}}
	options := transport.Options{RetryTimes: p.retries, Stall: p.stall, RequestTimeout: p.stall}
	if w.aws == nil {
		targets := transport.New(options)
		proc.target, proc.close = targets, append(proc.close, targets.Close)
	} else {
		registries := ecr.NewRegistries(w.aws, nil)
		registries.Learn(w.down.Host, ecr.Location{Account: w.account, Region: w.region}, w.aws)
		options.Credentials = registries
		targets := transport.New(options)
		proc.target, proc.close = ecr.NewTarget(targets, registries), append(proc.close, targets.Close)
	}
	proc.Runner = &mirror.Runner{
		Finder: w.finder(from, to), Places: proc, Judge: trust.AcceptAll(),
		Copy: copy.Options{RetryTimes: p.retries, RequireReferrers: p.strict},
	}
	return proc
}

// finder finds one rule for each pair of repositories.
func (w *world) finder(from, to []string) mirror.Finder {
	var all findings
	for i := range from {
		spec, _, err := discover.FromTags(map[string]string{
			"upstream-image": w.up.Host + "/" + from[i], "upstream-tags": "index/single",
		}, discover.NewKeys("", ""))
		if err != nil {
			panic(err)
		}
		all = append(all, discover.Finding{Mirror: discover.Mirror{
			Upstream: spec.Upstream, Target: ref.Repository{Host: w.down.Host, Path: to[i]},
			Rules: spec.Rules, Options: spec.Options, Origin: discover.Origin{Kind: discover.FromCommandLine, Place: "test"},
		}})
	}
	return all
}

type findings []discover.Finding

func (f findings) Find(context.Context) ([]discover.Finding, error) { return f, nil }

// run is one process from its start to its end. Its error is that there was no plan.
func (w *world) run(ctx context.Context, p patience, from, to []string) (results []plan.Result, err error) {
	proc := w.start(p, from, to)
	defer func() { err = errors.Join(err, proc.end()) }()
	planned, err := proc.Plan(ctx)
	if err != nil {
		return nil, err
	}
	return proc.Sync(ctx, planned)
}

// options are how a walker reads a tag at the destination.
func (w *world) options(repo, tag string) walker.Options {
	return walker.Options{Base: w.downURL, Repository: repo, Reference: tag, Username: w.username, Password: w.password, Deep: true}
}

// holds returns what a tag at the destination is: "" where it is absent. It is an error
// if anything below it is missing or wrong.
func (w *world) holds(repo, tag string) (ref.Digest, error) {
	report, err := walker.Check(context.Background(), w.options(repo, tag))
	if errors.Is(err, walker.ErrNotFound) {
		return "", nil
	}
	return report.Root, errors.Join(err, report.Err())
}

// complete returns an error unless a repository holds all of c, as upstream has it in team/app.
func (w *world) complete(repo string, c content) error {
	var errs []error
	for tag, node := range c.tags {
		here, err := walker.CheckAll(context.Background(), w.options(repo, tag))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		there, err := w.upstream(node.Digest())
		if err == nil {
			err = walker.SameAll(there, here)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%s: %w", repo, tag, err))
		}
	}
	return errors.Join(errs...)
}

// upstream returns what upstream has of an image of team/app. It is read once: nothing
// changes what a digest names.
func (w *world) upstream(d ref.Digest) (walker.Tree, error) {
	if known, ok := w.walked.Load(d); ok {
		return known.(walker.Tree), nil
	}
	tree, err := walker.CheckAll(context.Background(), walker.Options{Base: w.upURL, Repository: "team/app", Reference: string(d), Deep: true})
	if err == nil {
		w.walked.Store(d, tree)
	}
	return tree, err
}

// writes are the requests to the destination that can have changed it.
func (w *world) writes() (all []faultreg.Entry) {
	for _, e := range w.down.Journal() {
		if e.Kind.Writes() {
			all = append(all, e)
		}
	}
	return all
}

// quiet forgets rules and requests, once those under way have ended. One of those may be
// about to kill a registry: its run can end as soon as the first connection is cut, and
// once the next run met a registry that was killed after it had been healed.
func (w *world) quiet() {
	both := []*faultreg.Server{w.up, w.down}
	for _, side := range both {
		side.Heal()
	}
	for _, side := range both {
		side.Settle()
	}
	for _, side := range both {
		side.Heal()
		side.Forget()
	}
}
