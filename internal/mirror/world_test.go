package mirror_test

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecr "github.com/aws/aws-sdk-go-v2/service/ecr"
	"go.uber.org/goleak"

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
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, ecrlocaltest.IgnoreRegistryGoroutine())
}

var (
	amd64 = ref.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ref.Platform{OS: "linux", Architecture: "arm64"}
	s390x = ref.Platform{OS: "linux", Architecture: "s390x"}
)

// world is an upstream registry, a local ECR, and what a run reaches them by.
type world struct {
	t          *testing.T
	up         *ecrlocaltest.Registry
	ecr        *ecrlocaltest.Running
	session    *ecr.Session
	registries *ecr.Registries
	source     registry.Source
	target     registry.Target
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, up: ecrlocaltest.StartRegistry(t), ecr: ecrlocaltest.Start(t)}
	t.Setenv("AWS_ENDPOINT_URL", w.ecr.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", ecrlocaltest.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", w.ecr.Region())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	session, err := ecr.Open(t.Context(), ecr.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.session, w.registries = session, ecr.NewRegistries(session, nil)
	// The upstream gets no credentials at all.
	sources, targets := transport.New(transport.Options{}), transport.New(transport.Options{Credentials: w.registries})
	t.Cleanup(func() {
		if err := sources.Close(); err != nil {
			t.Error(err)
		}
		if err := targets.Close(); err != nil {
			t.Error(err)
		}
		if err := session.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	w.source, w.target = sources, ecr.NewTarget(targets, w.registries)
	return w
}

// Source and Target make the world the copy.Places of a run.
func (w *world) Source(plan.Action) registry.Source { return w.source }
func (w *world) Target(plan.Action) registry.Target { return w.target }

// repository creates one that mirrors an upstream repository, given its path.
func (w *world) repository(name, upstream, tags string, more ...func(*ecrlocal.RepositoryOptions)) {
	w.t.Helper()
	opts := ecrlocal.RepositoryOptions{Tags: map[string]string{"upstream-image": w.up.Host + "/" + upstream, "upstream-tags": tags}}
	for _, change := range more {
		change(&opts)
	}
	if err := w.ecr.CreateRepository(name, opts); err != nil {
		w.t.Fatal(err)
	}
}

func tagged(key, value string) func(*ecrlocal.RepositoryOptions) {
	return func(o *ecrlocal.RepositoryOptions) { o.Tags[key] = value }
}

func untagged(key string) func(*ecrlocal.RepositoryOptions) {
	return func(o *ecrlocal.RepositoryOptions) { delete(o.Tags, key) }
}

func immutable(o *ecrlocal.RepositoryOptions) { o.Mutability = "IMMUTABLE" }

func (w *world) push(repo, tag string, node imagetest.Node) {
	w.t.Helper()
	if _, err := imagetest.Push(w.t.Context(), nil, w.up.URL, repo, tag, node); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) client() *awsecr.Client { return awsecr.NewFromConfig(w.ecr.AWSConfig("")) }

// delete removes a repository with everything in it.
func (w *world) delete(ctx context.Context, name string) {
	w.t.Helper()
	if _, err := w.client().DeleteRepository(ctx, &awsecr.DeleteRepositoryInput{RepositoryName: aws.String(name), Force: true}); err != nil {
		w.t.Error(err)
	}
}

// finder looks for resource tags.
func (w *world) finder() mirror.Finder {
	return ecr.NewFinder(w.session, w.registries, ecr.FinderOptions{Keys: discover.NewKeys("", "")})
}

// runner is a run by resource tags, as the program makes it.
func (w *world) runner() *mirror.Runner {
	private := func(host string) bool { _, ok := w.registries.Locate(host); return ok }
	return &mirror.Runner{Finder: w.finder(), Places: w, Gate: mirror.Gate{PrivateECR: private}}
}

func (w *world) plan(r *mirror.Runner) plan.Plan {
	w.t.Helper()
	p, err := r.Plan(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// sync plans and carries out a run, and returns what came of it by repository and tag.
func (w *world) sync(r *mirror.Runner) (map[string]plan.Result, plan.Plan) {
	w.t.Helper()
	p := w.plan(r)
	results, err := r.Sync(w.t.Context(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(results) != len(p.Actions) {
		w.t.Fatalf("%d results of %d actions", len(results), len(p.Actions))
	}
	byName := map[string]plan.Result{}
	for _, result := range results {
		byName[name(result.Action)] = result
	}
	return byName, p
}

// name is how tests call an action: repository:tag.
func name(a plan.Action) string {
	if a.To.Tag == "" {
		return a.To.Repository.Path
	}
	return a.To.Repository.Path + ":" + a.To.Tag
}

// rows are the verbs of a plan by repository and tag.
func rows(p plan.Plan) map[string]plan.Verb {
	verbs := map[string]plan.Verb{}
	for _, a := range p.Actions {
		verbs[name(a)] = a.Verb
	}
	return verbs
}

// statuses are those of results by repository and tag.
func statuses(results map[string]plan.Result) map[string]plan.Status {
	by := map[string]plan.Status{}
	for name, r := range results {
		by[name] = r.Status
	}
	return by
}

// judge walks a tag at the destination and fails the test unless it is whole. It
// returns its digest.
func (w *world) judge(repo, tag string) ref.Digest {
	w.t.Helper()
	report, err := walker.Check(w.t.Context(), walker.Options{
		Base: w.ecr.URL, Repository: repo, Reference: tag, Username: "AWS", Password: w.ecr.Password("", ""), Deep: true,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		w.t.Errorf("%s:%s: %v", repo, tag, err)
	}
	return report.Root
}

// forget forgets the requests so far.
func (w *world) forget() {
	w.up.ResetJournal()
	w.ecr.ResetJournal()
}

// ops counts a journal's requests by operation.
func ops(entries []ecrlocal.Entry) map[string]int {
	counts := map[string]int{}
	for _, e := range entries {
		counts[e.Op]++
	}
	return counts
}

// writes are the requests that can change a registry.
func writes(entries []ecrlocal.Entry) []string {
	var lines []string
	for _, e := range entries {
		writesAPI := e.Plane == ecrlocal.PlaneAPI && slices.Contains([]string{"PutImage", "CreateRepository", "BatchDeleteImage", "DeleteRepository"}, e.Op)
		writesRegistry := e.Plane == ecrlocal.PlaneRegistry && e.Method != http.MethodGet && e.Method != http.MethodHead
		if writesAPI || writesRegistry {
			lines = append(lines, e.Method+" "+e.Op+" "+e.Path)
		}
	}
	return lines
}

// findings is a Finder that knows what it finds.
type findings []discover.Finding

func (f findings) Find(context.Context) ([]discover.Finding, error) { return f, nil }

// finderFunc is a Finder in one function.
type finderFunc func(context.Context) ([]discover.Finding, error)

func (f finderFunc) Find(ctx context.Context) ([]discover.Finding, error) { return f(ctx) }

// judgeFunc is a trust policy in one function.
type judgeFunc func(context.Context, ref.Reference) error

func (f judgeFunc) Allow(ctx context.Context, r ref.Reference) error { return f(ctx, r) }

func image(seed string, p ref.Platform) imagetest.Node {
	return imagetest.Image(p, imagetest.Layer(seed+" base", 1000), imagetest.Layer(seed+p.String(), 100))
}

var _ copy.Places = (*world)(nil)
