package cli_test

import (
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/collector"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/pushgateway"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

var update = flag.Bool("update", false, "rewrite testdata/golden")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ecr-mirror-sync": func() {
			os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

// TestScripts drives the program as a user does, against a local ECR and a real
// registry as upstream. A script that holds a file credentials.yaml gets an ECR with
// those access keys. The commands that scripts have besides testscript's own are in
// stage.commands.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		name := strings.TrimSuffix(filepath.Base(script), ".txtar")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, script)
			testscript.Run(t, testscript.Params{
				Files:               []string{script},
				RequireExplicitExec: true,
				Setup:               s.setup,
				Cmds:                s.commands(),
			})
		})
	}
}

// stage is what one script runs on.
type stage struct {
	t        *testing.T
	ecr      *ecrlocaltest.Running
	api      *ecr.Client
	upstream *upstream
	held     chan struct{}
	s3       *objectStorage
	proxies  sync.Map // what the proxy was asked for
	pushed   *pushgateway.Gateway
	traces   *collector.Collector
	daemon   *background

	listeners listeners
}

func newStage(t *testing.T, script string) *stage {
	t.Helper()
	archive, err := txtar.ParseFile(script)
	if err != nil {
		t.Fatal(err)
	}
	var opts []ecrlocaltest.Option
	for _, file := range archive.Files {
		if file.Name == "credentials.yaml" {
			path := filepath.Join(t.TempDir(), file.Name)
			if err := os.WriteFile(path, file.Data, 0o600); err != nil {
				t.Fatal(err)
			}
			credentials, err := ecrlocal.LoadCredentials(path)
			if err != nil {
				t.Fatal(err)
			}
			opts = append(opts, ecrlocaltest.WithCredentials(*credentials))
		}
	}
	local := ecrlocaltest.Start(t, opts...)
	return &stage{t: t, ecr: local, api: ecr.NewFromConfig(local.AWSConfig("")), upstream: startUpstream(t), s3: startS3(t)}
}

// setup gives a script the environment of a machine with nothing on it but AWS keys.
func (s *stage) setup(env *testscript.Env) error {
	for _, pair := range s.ecr.Env() {
		key, value, _ := strings.Cut(pair, "=")
		env.Setenv(key, value)
	}
	// The race detector waits a second at the end of a process for reports of races, and
	// scripts start hundreds of processes.
	env.Setenv("GORACE", "atexit_sleep_ms=20")
	home := filepath.Join(env.WorkDir, "home")
	env.Setenv("HOME", home)
	env.Setenv("XDG_RUNTIME_DIR", home)
	env.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "aws-config"))
	env.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "aws-credentials"))
	env.Setenv("UPSTREAM", s.upstream.host)
	env.Setenv("UPSTREAM_NAME", strings.ReplaceAll(s.upstream.host, ":", "-"))
	env.Setenv("ECR", s.ecr.Host)
	env.Setenv("ECR_PASSWORD", s.ecr.Password("", ""))
	env.Setenv("AWS_ENDPOINT_URL_S3", s.s3.url)
	shipped, err := filepath.Abs("../../docker")
	if err != nil {
		return err
	}
	env.Setenv("SHIPPED", shipped)
	return os.MkdirAll(home, 0o700)
}

type command = func(ts *testscript.TestScript, neg bool, args []string)

// commands are what scripts can do to the stage.
func (s *stage) commands() map[string]command {
	return map[string]command{
		"push":          s.push,
		"create":        s.create,
		"tag":           s.tag,
		"untag":         s.untag,
		"tagged":        s.tagged,
		"immutable":     s.immutable,
		"drop":          s.drop,
		"same":          s.same,
		"absent":        s.absent,
		"digest":        s.digest,
		"fail":          s.fail,
		"password":      s.password,
		"requests":      s.requests,
		"forget":        s.forget,
		"exits":         exits,
		"many":          s.many,
		"create-in":     s.createIn,
		"create-as":     s.createAs,
		"shown":         s.shown,
		"hold":          s.hold,
		"release":       s.release,
		"interrupt":     s.interrupt,
		"proxy":         s.proxy,
		"proxied":       s.proxied,
		"golden":        s.golden,
		"google":        s.google,
		"fill":          fill,
		"separate":      s.separate,
		"withdraw":      s.withdraw,
		"sign":          s.sign,
		"referrers":     s.referrers,
		"same-all":      s.sameAll,
		"stored":        s.stored,
		"served":        s.served,
		"bucket-writes": s.bucketWrites,
		"weeks-pass":    s.weeksPass,
		"ecr-names":     s.ecrNames,
		"template":      s.template,
		"has":           s.has,
		"harm":          s.harm,
		"damage":        s.damage,
		"pushgateway":   s.pushgateway,
		"pushed":        s.pushedTo,
		"measured":      s.measured,
		"listener":      s.listener,
		"told":          s.toldOf,
		"collector":     s.collector,
		"spans":         s.spans,
		"same-trace":    s.sameTrace,
		"unheard":       s.unheard,
		"start":         s.start,
		"shows":         s.shows,
		"logs":          s.logs,
		"signal":        s.signal,
		"agrees":        s.agrees,
		"of-shard":      s.ofShard,
		"ended":         s.ended,
		"copying":       s.copying,
		"covers":        s.covers,
	}
}

// covers ID… says which fault classes and invariants a script proves, see package faults.
func (s *stage) covers(_ *testscript.TestScript, _ bool, args []string) { faults.Covers(s.t, args...) }

// fill FILE… puts the values of environment variables into files, where they stand as
// $NAME; $$ is a dollar sign.
func fill(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), func(variable string) string {
			if variable == "$" {
				return "$"
			}
			return ts.Getenv(variable)
		})
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// exits CODE PROGRAM [ARG…] runs a program and insists on its exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	have := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		have = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if have != want {
		ts.Fatalf("exit code %d, and %d was expected", have, want)
	}
}

// push REPOSITORY:TAG KIND [SEED] puts an image upstream, or with ecr/ before the
// repository at ECR. Kinds: see image.
func (s *stage) push(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: push REPOSITORY:TAG KIND [SEED]")
	}
	seed := args[0]
	if len(args) > 2 {
		seed = args[2]
	}
	node, err := image(args[1], seed)
	ts.Check(err)
	base, auth := s.upstream.direct, imagetest.Auth(func(*http.Request) {})
	name := args[0]
	if rest, ok := strings.CutPrefix(name, "ecr/"); ok {
		name, base, auth = rest, s.ecr.URL, imagetest.Basic("AWS", s.token(ts))
	}
	repo, tag, _ := strings.Cut(name, ":")
	_, err = imagetest.Push(s.t.Context(), nil, base, repo, tag, node, auth)
	ts.Check(err)
}

// image makes a small image. The seed decides its content.
func image(kind, seed string) (imagetest.Node, error) {
	amd64, arm64 := ref.Platform{OS: "linux", Architecture: "amd64"}, ref.Platform{OS: "linux", Architecture: "arm64"}
	base := imagetest.Layer("base", 30_000)
	layer := func(p ref.Platform) imagetest.Blob { return imagetest.Layer(seed+p.String(), 5_000) }
	switch kind {
	case "single":
		return imagetest.Image(amd64, base, layer(amd64)), nil
	case "arm64":
		return imagetest.Image(arm64, base, layer(arm64)), nil
	case "docker":
		return imagetest.DockerIndex(imagetest.DockerImage(amd64, base, layer(amd64)), imagetest.DockerImage(arm64, base, layer(arm64))), nil
	case "index":
		return imagetest.Index(imagetest.Image(amd64, base, layer(amd64)), imagetest.Image(arm64, base, layer(arm64))), nil
	case "attested":
		one, two := imagetest.Image(amd64, base, layer(amd64)), imagetest.Image(arm64, base, layer(arm64))
		statement := imagetest.NewBlob("application/vnd.in-toto+json", []byte(`{"seed":"`+seed+`"}`))
		return imagetest.Index(one, two, imagetest.Attestation(one, statement), imagetest.Attestation(two, statement)), nil
	case "real": // what unpacks layers can unpack it
		tar := func(p ref.Platform) imagetest.Blob {
			return imagetest.TarLayer(map[string]string{"etc/" + seed: p.String()})
		}
		return imagetest.Index(imagetest.Image(amd64, tar(amd64)), imagetest.Image(arm64, tar(arm64))), nil
	case "bare":
		return imagetest.Index(imagetest.Artifact("application/vnd.example.thing", layer(amd64))), nil
	case "nested":
		return imagetest.Index(imagetest.Index(imagetest.Image(amd64, base, layer(amd64))), imagetest.Image(arm64, layer(arm64))), nil
	case "chart":
		return imagetest.Artifact("application/vnd.cncf.helm.config.v1+json",
			imagetest.NewBlob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", []byte("chart "+seed))), nil
	}
	return imagetest.Node{}, fmt.Errorf("no image of kind %q", kind)
}

// create NAME [KEY=VALUE…] creates an ECR repository with resource tags.
func (s *stage) create(ts *testscript.TestScript, neg bool, args []string) {
	_, err := s.api.CreateRepository(s.t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String(args[0]), Tags: resourceTags(args[1:])})
	check(ts, neg, err)
}

// create-in REGION NAME [KEY=VALUE…] is create in another Region.
func (s *stage) createIn(ts *testscript.TestScript, neg bool, args []string) {
	_, err := ecr.NewFromConfig(s.ecr.AWSConfig(args[0])).CreateRepository(s.t.Context(), &ecr.CreateRepositoryInput{
		RepositoryName: aws.String(args[1]), Tags: resourceTags(args[2:]),
	})
	check(ts, neg, err)
}

// create-as ACCOUNT[/REGION] NAME [KEY=VALUE…] is create in another account.
func (s *stage) createAs(ts *testscript.TestScript, neg bool, args []string) {
	account, region, _ := strings.Cut(args[0], "/")
	tags := map[string]string{}
	for _, t := range resourceTags(args[2:]) {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	check(ts, neg, s.ecr.CreateRepository(args[1], ecrlocal.RepositoryOptions{Account: account, Region: region, Tags: tags}))
}

// separate VARIABLE REGION [ACCOUNT] gives a registry an address of its own, and puts it
// into an environment variable.
func (s *stage) separate(ts *testscript.TestScript, _ bool, args []string) {
	region, account := registryOf(args[1:])
	ts.Setenv(args[0], s.ecr.Separate(s.t, account, region))
}

// registryOf reads [REGION [ACCOUNT]]; "" is the default.
func registryOf(args []string) (region, account string) {
	args = append(args, "", "")
	return args[0], args[1]
}

// many N NAME [KEY=VALUE…] creates the repositories NAME-1 to NAME-N.
func (s *stage) many(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for i := range n {
		s.create(ts, neg, append([]string{fmt.Sprintf("%s-%d", args[1], i+1)}, args[2:]...))
	}
}

// tag NAME KEY=VALUE… sets resource tags.
func (s *stage) tag(ts *testscript.TestScript, neg bool, args []string) {
	_, err := s.api.TagResource(s.t.Context(), &ecr.TagResourceInput{ResourceArn: s.arn(args[0]), Tags: resourceTags(args[1:])})
	check(ts, neg, err)
}

// untag NAME KEY… removes resource tags.
func (s *stage) untag(ts *testscript.TestScript, neg bool, args []string) {
	_, err := s.api.UntagResource(s.t.Context(), &ecr.UntagResourceInput{ResourceArn: s.arn(args[0]), TagKeys: args[1:]})
	check(ts, neg, err)
}

// tagged NAME [KEY=VALUE…] insists that a repository has these resource tags and no
// others.
func (s *stage) tagged(ts *testscript.TestScript, _ bool, args []string) {
	out, err := s.api.ListTagsForResource(s.t.Context(), &ecr.ListTagsForResourceInput{ResourceArn: s.arn(args[0])})
	ts.Check(err)
	var have []string
	for _, t := range out.Tags {
		have = append(have, aws.ToString(t.Key)+"="+aws.ToString(t.Value))
	}
	want := slices.Sorted(slices.Values(args[1:]))
	slices.Sort(have)
	if !slices.Equal(have, want) {
		ts.Fatalf("%s has the resource tags %q, and %q were expected", args[0], have, want)
	}
}

// immutable NAME makes a repository's tags immutable.
func (s *stage) immutable(ts *testscript.TestScript, neg bool, args []string) {
	_, err := s.api.PutImageTagMutability(s.t.Context(), &ecr.PutImageTagMutabilityInput{
		RepositoryName: aws.String(args[0]), ImageTagMutability: types.ImageTagMutabilityImmutable,
	})
	check(ts, neg, err)
}

// drop NAME deletes an ECR repository with all that is in it.
func (s *stage) drop(ts *testscript.TestScript, neg bool, args []string) {
	_, err := s.api.DeleteRepository(s.t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: aws.String(args[0]), Force: true})
	check(ts, neg, err)
}

// same UPSTREAM:TAG ECR:TAG [REGION [ACCOUNT]] walks both, re-hashes every blob, and
// insists that they are the same image, complete. The second may be upstream's, too, as
// upstream/NAME:TAG.
func (s *stage) same(ts *testscript.TestScript, neg bool, args []string) {
	original := s.walk(ts, s.upstream.direct, args[0], "")
	region, account := registryOf(args[2:])
	base, password := s.ecr.URL, s.ecr.Password(account, region)
	name, there := strings.CutPrefix(args[1], "upstream/")
	if there {
		base, password = s.upstream.direct, ""
	}
	check(ts, neg, walker.Same(original, s.walk(ts, base, name, password)))
}

func (s *stage) walk(ts *testscript.TestScript, base, name, password string) walker.Report {
	repo, reference, _ := strings.Cut(name, ":")
	o := walker.Options{Base: base, Repository: repo, Reference: reference, Deep: true}
	if password != "" {
		o.Username, o.Password = "AWS", password
	}
	report, err := walker.Check(s.t.Context(), o)
	ts.Check(err)
	ts.Check(report.Err())
	return report
}

// absent NAME TAG insists that an ECR repository has no such tag.
func (s *stage) absent(ts *testscript.TestScript, _ bool, args []string) {
	out, err := s.api.BatchGetImage(s.t.Context(), &ecr.BatchGetImageInput{
		RepositoryName: aws.String(args[0]), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String(args[1])}},
	})
	ts.Check(err)
	if len(out.Images) > 0 {
		ts.Fatalf("%s:%s is there, as %s", args[0], args[1], aws.ToString(out.Images[0].ImageId.ImageDigest))
	}
}

// digest VARIABLE ECR|UPSTREAM NAME:TAG puts the digest of a tag into an environment
// variable.
func (s *stage) digest(ts *testscript.TestScript, _ bool, args []string) {
	base, password := s.upstream.direct, ""
	if args[1] == "ecr" {
		base, password = s.ecr.URL, s.token(ts)
	}
	ts.Setenv(args[0], string(s.walk(ts, base, args[2], password).Root))
}

// fail ecr|upstream OP TIMES STATUS [CODE [MESSAGE]] makes the next requests of an
// operation fail; with the status "drop" their connection is cut.
func (s *stage) fail(ts *testscript.TestScript, _ bool, args []string) {
	times, err := strconv.Atoi(args[2])
	ts.Check(err)
	var fault ecrlocal.Fault
	if args[3] == "drop" {
		fault.Drop = true
	} else {
		fault.Status, err = strconv.Atoi(args[3])
		ts.Check(err)
	}
	if len(args) > 4 {
		fault.Code = args[4]
	}
	if len(args) > 5 {
		fault.Message = args[5]
	}
	if args[0] == "ecr" {
		s.ecr.FailNext(args[1], times, fault)
		return
	}
	s.upstream.registry.FailNext(args[1], times, fault)
}

// password USER PASSWORD makes upstream ask for them; with the user "bearer", for the
// password as a bearer token.
func (s *stage) password(_ *testscript.TestScript, _ bool, args []string) {
	s.upstream.require(args[0], args[1])
}

// shown upstream COUNT insists on how many different credentials upstream has been shown.
func (s *stage) shown(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	if have := s.upstream.credentialsShown(); have != want {
		ts.Fatalf("upstream was shown %d credentials, and %d were expected", have, want)
	}
}

// hold upstream OP keeps every request of an operation waiting until release.
func (s *stage) hold(_ *testscript.TestScript, _ bool, args []string) {
	s.held = make(chan struct{})
	s.upstream.registry.FailNext(args[1], 1000, ecrlocal.Fault{Hold: s.held, Match: func(ecrlocal.Entry) bool {
		select {
		case <-s.held:
			return false // released
		default:
			return true
		}
	}})
}

// release lets what is held go on.
func (s *stage) release(*testscript.TestScript, bool, []string) { close(s.held) }

// interrupt CODE SIGNAL PROGRAM [ARG…] runs a program, sends it the signal as soon as
// upstream has been asked for a blob, and insists on its exit code.
func (s *stage) interrupt(ts *testscript.TestScript, neg bool, args []string) {
	signal := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT}[args[1]]
	pidFile := ts.MkAbs("pid")
	s.upstream.onBlob(func() {
		written, err := os.ReadFile(pidFile)
		if err != nil {
			s.t.Errorf("interrupt: %v", err)
			return
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(written)))
		if err == nil {
			err = syscall.Kill(pid, signal)
		}
		if err != nil {
			s.t.Errorf("interrupt: %v", err)
		}
	})
	exits(ts, neg, append([]string{args[0], "sh", "-c", `echo $$ > pid; exec "$@"`, "sh"}, args[2:]...))
}

// requests ecr|upstream OP COUNT insists on how often an operation was asked for since
// the last forget. OP "writes" stands for everything that changes a registry.
func (s *stage) requests(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[2])
	ts.Check(err)
	entries := s.upstream.registry.Journal()
	if args[0] == "ecr" {
		entries = s.ecr.Journal()
	}
	have := 0
	var seen []string
	for _, e := range entries {
		seen = append(seen, e.Op)
		writes := e.Plane == ecrlocal.PlaneRegistry && e.Method != http.MethodGet && e.Method != http.MethodHead
		if e.Op == args[1] || args[1] == "writes" && writes || args[1] == "all" {
			have++
		}
	}
	if have != want {
		ts.Fatalf("%s had %d requests %s and %d were expected; it had: %s", args[0], have, args[1], want, strings.Join(seen, " "))
	}
}

// forget empties both journals.
func (s *stage) forget(*testscript.TestScript, bool, []string) {
	s.ecr.ResetJournal()
	s.upstream.registry.ResetJournal()
	s.s3.writes.Store(0)
}

// golden NAME compares stdout with testdata/golden/NAME, after the parts that differ from
// run to run (ports, times) have been replaced by others of equal length.
func (s *stage) golden(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile("stdout")
	text = strings.ReplaceAll(text, s.upstream.host, padded("upstream", s.upstream.host))
	text = strings.ReplaceAll(text, s.ecr.Host, padded("ecr", s.ecr.Host))
	text = elapsed.ReplaceAllString(text, "in N s")
	text = started.ReplaceAllString(text, "2026-01-01T00:00:00Z")
	text = milliseconds.ReplaceAllString(text, "${1}0")
	path := filepath.Join("testdata", "golden", args[0])
	if *update {
		ts.Check(os.WriteFile(path, []byte(text), 0o600))
		return
	}
	want, err := os.ReadFile(path)
	ts.Check(err)
	if diff := cmp.Diff(string(want), text); diff != "" {
		ts.Fatalf("stdout differs from %s (-want +got):\n%s", path, diff)
	}
}

var (
	elapsed      = regexp.MustCompile(`in \d+(\.\d+)? (ms|s)\b`)
	started      = regexp.MustCompile(`20\d\d-\d\d-\d\dT[0-9:.]+Z`)
	milliseconds = regexp.MustCompile(`((?:elapsedMs|startedMs|durationMs)"?: )\d+`)
)

func padded(name, like string) string { return name + strings.Repeat("_", max(0, len(like)-len(name))) }

func (s *stage) arn(name string) *string {
	return aws.String("arn:aws:ecr:" + s.ecr.Region() + ":" + s.ecr.Account() + ":repository/" + name)
}

func (s *stage) token(ts *testscript.TestScript) string {
	out, err := s.api.GetAuthorizationToken(s.t.Context(), &ecr.GetAuthorizationTokenInput{})
	ts.Check(err)
	token, err := base64.StdEncoding.DecodeString(aws.ToString(out.AuthorizationData[0].AuthorizationToken))
	ts.Check(err)
	_, password, _ := strings.Cut(string(token), ":")
	return password
}

func resourceTags(pairs []string) []types.Tag {
	var tags []types.Tag
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	return tags
}

func check(ts *testscript.TestScript, neg bool, err error) {
	if !neg {
		ts.Check(err)
	} else if err == nil {
		ts.Fatalf("it did not fail")
	}
}

// upstream is a registry that can be told to ask for a password.
type upstream struct {
	registry *ecrlocaltest.Registry
	direct   string // URL past the password
	host     string

	mu             sync.Mutex
	user, password string
	shown          map[string]bool // Authorization headers
	blobAsked      func()          // called at the next GET of a blob
	traced         int             // requests that told of a trace
}

func startUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{registry: ecrlocaltest.StartRegistry(t), shown: map[string]bool{}}
	gate := httptest.NewServer(u)
	t.Cleanup(gate.Close)
	u.direct, u.host = u.registry.URL, strings.TrimPrefix(gate.URL, "http://")
	return u
}

func (u *upstream) require(user, password string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.user, u.password = user, password
}

func (u *upstream) credentialsShown() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.shown)
}

// onBlob calls f once, at the next GET of a blob.
func (u *upstream) onBlob(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.blobAsked = f
}

// note writes down what a request shows, and returns who is let in.
func (u *upstream) note(r *http.Request) (user, password string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if header := r.Header.Get("Authorization"); header != "" {
		u.shown[header] = true
	}
	if r.Header.Get("Traceparent") != "" || r.Header.Get("Baggage") != "" {
		u.traced++
	}
	if u.blobAsked != nil && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
		go u.blobAsked()
		u.blobAsked = nil
	}
	return u.user, u.password
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password := u.note(r)
	if user == "bearer" {
		if r.Header.Get("Authorization") != "Bearer "+password {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/no-token-service",service="upstream"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		user = ""
	}
	if gotUser, gotPassword, _ := r.BasicAuth(); user != "" && (gotUser != user || gotPassword != password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="upstream"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	u.registry.ServeHTTP(w, r)
}
