package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// daemonsKey signs what the daemon asks; what the test asks is signed with another key, so
// that the journal tells them apart.
const daemonsKey = "AKIASOAKDAEMON000000"

// place is a tag of a repository.
type place struct{ repository, tag string }

func (p place) String() string { return p.repository + ":" + p.tag }

// world is everything around the daemon. Its methods are called one after the other.
type world struct {
	t      *testing.T
	random *rand.Rand
	dir    string

	local    *ecrlocaltest.Running
	api      *ecr.Client
	ecr      *front // by which the daemon reaches it
	seen     *ecrlocal.Upstream
	upstream *front
	pushes   *ecrlocaltest.Registry // the same content, without a trace in the journal

	pushed  int                  // images, so that no two are the same
	wanted  map[place]place      // what the daemon is to keep, and whose copy it is
	was     map[place]ref.Digest // what tags were when all was in sync last
	unclear bool                 // whether something has failed in this life, so that answers may have been given up
	daemon  *process
	program string
	grows   growth
	tally   tally
}

// taggedRepositories are described by resource tags; one more comes and goes.
const taggedRepositories = 3

const comesAndGoes = "external/guest"

// newWorld returns a world with a daemon in it that has copied nothing yet.
func newWorld(t *testing.T, program string, seed uint64) *world {
	t.Helper()
	w := &world{
		t: t, random: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), program: program,
		wanted: map[place]place{}, was: map[place]ref.Digest{}, tally: tally{events: map[string]int{}},
	}
	w.local = ecrlocaltest.Start(t,
		ecrlocaltest.WithCredentials(ecrlocal.Credentials{AccessKeys: map[string]ecrlocal.AccessKey{
			ecrlocaltest.AccessKey: {Account: ecrlocal.DefaultAccount, User: "test"},
			daemonsKey:             {Account: ecrlocal.DefaultAccount, User: "daemon"},
		}}),
		ecrlocaltest.WithThrottle(ecrlocal.Throttle{}))
	config := w.local.AWSConfig("")
	config.Credentials = credentials.NewStaticCredentialsProvider(ecrlocaltest.AccessKey, "secret", "")
	w.api = ecr.NewFromConfig(config)
	w.ecr = startFront(t, w.local.Server)

	content := t.TempDir()
	w.pushes = ecrlocaltest.StartRegistry(t, func(o *ecrlocal.UpstreamOptions) { o.Dir = content })
	seen, err := ecrlocal.NewUpstream(ecrlocal.UpstreamOptions{Dir: content})
	w.check(err)
	t.Cleanup(func() { w.check(seen.Close()) })
	w.seen, w.upstream = seen, startFront(t, seen)
	return w
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// fill makes what the daemon finds at first: three repositories with resource tags, one rule
// in the file, two tags of each.
func (w *world) fill(ctx context.Context) error {
	names := []string{"web", "extra", "guest"}
	for i := range taggedRepositories {
		names = append(names, fmt.Sprintf("app-%d", i))
	}
	for _, name := range names {
		for _, tag := range []string{"1", "2"} {
			if err := w.push(ctx, place{"library/" + name, tag}); err != nil {
				return err
			}
		}
	}
	for i := range taggedRepositories {
		name := fmt.Sprintf("app-%d", i)
		if err := w.local.CreateRepository("external/"+name, ecrlocal.RepositoryOptions{Tags: w.upstreamTags(name)}); err != nil {
			return err
		}
		w.wants("external/"+name, name)
	}
	for _, name := range []string{"copies/web", "copies/extra", comesAndGoes} {
		if err := w.local.CreateRepository(name, ecrlocal.RepositoryOptions{}); err != nil {
			return err
		}
	}
	w.wants("copies/web", "web")
	return w.configure(rules("web"))
}

func (w *world) upstreamTags(name string) map[string]string {
	return map[string]string{"upstream-image": w.upstream.host + "/library/" + name, "upstream-tags": "1/2"}
}

func (w *world) wants(repository, name string) {
	for _, tag := range []string{"1", "2"} {
		w.wanted[place{repository, tag}] = place{"library/" + name, tag}
	}
}

func (w *world) wantsNoMore(repository string) {
	for _, tag := range []string{"1", "2"} {
		delete(w.wanted, place{repository, tag})
	}
}

// push lets an upstream tag be an image that never was.
func (w *world) push(ctx context.Context, to place) error {
	w.pushed++
	seed := fmt.Sprintf("image %d", w.pushed)
	base := imagetest.Layer("base", 30_000)
	image := func(architecture string) imagetest.Node {
		return imagetest.Image(ref.Platform{OS: "linux", Architecture: architecture}, base, imagetest.Layer(seed+architecture, 5_000+w.random.IntN(20_000)))
	}
	node := image("amd64")
	if w.pushed%2 == 0 {
		node = imagetest.Index(node, image("arm64"))
	}
	_, err := imagetest.Push(ctx, nil, w.pushes.URL, to.repository, to.tag, node)
	return err
}

// someTag is an upstream tag that the daemon is to keep a copy of.
func (w *world) someTag() place {
	name := fmt.Sprintf("library/app-%d", w.random.IntN(taggedRepositories+1))
	if name == fmt.Sprintf("library/app-%d", taggedRepositories) {
		name = "library/web"
	}
	return place{name, fmt.Sprint(1 + w.random.IntN(2))}
}

// rules are a configuration with a mirror for each name.
func rules(names ...string) func(w *world) string {
	return func(w *world) string {
		var b strings.Builder
		b.WriteString("apiVersion: ecr-mirror-sync.io/v1alpha1\ndiscovery: {ecr: [{}]}\nmirrors:\n")
		for _, name := range names {
			fmt.Fprintf(&b, "  - {name: %[1]s, from: %[2]s/library/%[1]s, to: %[3]s/copies/%[1]s, tags: [\"1\", \"2\"]}\n", name, w.upstream.host, w.ecr.host)
		}
		return b.String()
	}
}

// broken is a configuration that cannot be meant.
func broken(*world) string { return "mirrors:\n  - {name: web, upstreem: nowhere}\n" }

// configure replaces the file as editors do.
func (w *world) configure(text func(*world) string) error {
	file := filepath.Join(w.dir, "mirrors.yaml")
	if err := os.WriteFile(file+".new", []byte(text(w)), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// live starts the daemon. All that its journals hold from now on is its own.
func (w *world) live(ctx context.Context) error { return w.liveEvery(ctx, "1s") }

// liveEvery is live with another interval.
func (w *world) liveEvery(ctx context.Context, interval string) error {
	for _, f := range []*front{w.ecr, w.upstream} {
		if err := f.drained(ctx); err != nil {
			return err
		}
		f.refused.Store(0)
	}
	w.local.ResetJournal()
	w.seen.ResetJournal()
	w.grows, w.unclear = growth{}, false
	env := []string{
		"HOME=" + w.dir, "XDG_RUNTIME_DIR=" + w.dir, "TMPDIR=" + w.dir, "GORACE=atexit_sleep_ms=20",
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ENDPOINT_URL=" + w.ecr.url, "AWS_REGION=" + w.local.Region(), "AWS_ACCESS_KEY_ID=" + daemonsKey, "AWS_SECRET_ACCESS_KEY=secret",
	}
	var err error
	w.daemon, err = begin(ctx, w.program, w.dir, env, "--config", "mirrors.yaml", "--insecure-policy", "--pprof", "--interval", interval, "--retry-times", "1")
	w.tally.lives++
	return err
}

// signal tells the daemon something.
func (w *world) signal(s syscall.Signal) error { return w.daemon.cmd.Process.Signal(s) }

// arn is that of a repository.
func (w *world) arn(repository string) *string {
	return aws.String(fmt.Sprintf("arn:aws:ecr:%s:%s:repository/%s", w.local.Region(), w.local.Account(), repository))
}
