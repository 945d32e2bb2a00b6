package ecr_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecr "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = ecrlocal.DefaultAccount
	region  = ecrlocal.DefaultRegion
	other   = "444455556666"
)

var defaultKeys = discover.NewKeys("", "")

// hostIn is a registry host of AWS's own.
func hostIn(region string) string { return account + ".dkr.ecr." + region + ".amazonaws.com" }

// repositoryAtAWS is a repository whose host says where it is.
var repositoryAtAWS = ref.Repository{Host: hostIn(region), Path: "app"}

// environment makes vars the whole of the AWS configuration. Nothing of the machine's
// own is left, and no metadata service is asked unless vars name one.
func environment(t *testing.T, vars ...string) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	for _, v := range append([]string{
		"AWS_CONFIG_FILE=/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		"AWS_EC2_METADATA_DISABLED=true",
	}, vars...) {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
}

// keys is an environment with static keys, whose API is at url.
func keys(t *testing.T, url string) {
	t.Helper()
	environment(t, "AWS_ENDPOINT_URL="+url, "AWS_ACCESS_KEY_ID="+ecrlocaltest.AccessKey, "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION="+region)
}

// open opens a session in the environment as it is.
func open(t *testing.T, opts ecr.Options) *ecr.Session {
	t.Helper()
	session, err := ecr.Open(t.Context(), ecr.Quick(opts))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// connect opens a session with the API at url, and registries on it.
func connect(t *testing.T, url string, opts ecr.Options) (*ecr.Session, *ecr.Registries) {
	t.Helper()
	keys(t, url)
	session := open(t, opts)
	return session, ecr.NewRegistries(session, nil)
}

// find looks for repositories through the API at url.
func find(t *testing.T, url string, opts ecr.Options, where ecr.FinderOptions) ([]discover.Finding, error) {
	t.Helper()
	session, registries := connect(t, url, opts)
	if where.Keys == (discover.Keys{}) {
		where.Keys = defaultKeys
	}
	return ecr.NewFinder(session, registries, where).Find(t.Context())
}

// found is find where it has to succeed. It returns the paths of the repositories, or
// the places of findings without one, and what is wrong with each.
func found(t *testing.T, url string, opts ecr.Options, where ecr.FinderOptions) []string {
	t.Helper()
	findings, err := find(t, url, opts, where)
	if err != nil {
		t.Fatalf("Find: %v", err)
	}
	return described(findings)
}

func described(findings []discover.Finding) []string {
	var all []string
	for _, f := range findings {
		name := f.Mirror.Target.Path
		if name == "" {
			name = f.Mirror.Origin.Place
		}
		if f.Err != nil {
			name += ": " + f.Err.Error()
		}
		all = append(all, name)
	}
	return all
}

// mirrored are the resource tags of a repository that is to be found.
func mirrored() map[string]string {
	return map[string]string{"upstream-image": "docker.io/library/nginx", "upstream-tags": "1.27.3"}
}

// create creates a repository; without tags it is a mirror.
func create(t *testing.T, server *ecrlocaltest.Running, name string, opts ecrlocal.RepositoryOptions) {
	t.Helper()
	if opts.Tags == nil {
		opts.Tags = mirrored()
	}
	if err := server.CreateRepository(name, opts); err != nil {
		t.Fatalf("creating %s: %v", name, err)
	}
}

// requests counts the requests that an operation got.
func requests(server *ecrlocaltest.Running, op string) int {
	n := 0
	for _, e := range server.Journal() {
		if e.Op == op {
			n++
		}
	}
	return n
}

func wantRequests(t *testing.T, server *ecrlocaltest.Running, op string, want int) {
	t.Helper()
	if got := requests(server, op); got != want {
		t.Errorf("%s was called %d times, want %d", op, got, want)
	}
}

// observed is a log that tests read.
func observed() (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return zap.New(core), logs
}

// warnings are the messages of the warnings in logs.
func warnings(logs *observer.ObservedLogs) []string {
	var all []string
	for _, e := range logs.FilterLevelExact(zapcore.WarnLevel).All() {
		all = append(all, e.Message)
	}
	return all
}

// refusal is an answer of AWS's that the emulator is told to give.
func refusal(code, message string) ecrlocal.Fault {
	return ecrlocal.Fault{Status: http.StatusBadRequest, Code: code, Message: message}
}

func inRegion(name string, f ecrlocal.Fault) ecrlocal.Fault {
	f.Match = func(e ecrlocal.Entry) bool { return e.Region == name }
	return f
}

// request is a call to AWS as a script sees it.
type request struct {
	op   string
	body []byte
	http *http.Request
}

// script answers calls in AWS's place. It returns false for those that the server
// behind it answers.
type script func(w http.ResponseWriter, r request) bool

// field reads one member of a request.
func field(t *testing.T, r request, name string) string {
	t.Helper()
	var members object
	if err := json.Unmarshal(r.body, &members); err != nil {
		t.Errorf("a request of %s: %v", r.op, err)
	}
	value, _ := members[name].(string)
	return value
}

// scripted puts play in front of a server, which may be nil, and returns the URL.
func scripted(t *testing.T, server http.Handler, play script) string {
	t.Helper()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading a request: %v", err)
		}
		_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if play(w, request{op: op, body: body, http: r}) {
			return
		}
		if server == nil {
			t.Errorf("unexpected call of %q: %s", op, body)
			refuse(w, "UnknownOperationException", op)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	return front.URL
}

// say answers with a JSON document.
func say(w http.ResponseWriter, document any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(document) // the client sees what is missing
}

// refuse answers with an AWS error.
func refuse(w http.ResponseWriter, code, message string) {
	w.Header().Set("X-Amzn-Requestid", "0d7a1c2e-request-id")
	w.WriteHeader(http.StatusBadRequest)
	say(w, map[string]string{"__type": code, "message": message})
}

// object is a JSON object.
type object = map[string]any

// client is the SDK's own, for preparing the emulator.
func client(server *ecrlocaltest.Running) *awsecr.Client {
	return awsecr.NewFromConfig(server.AWSConfig(""))
}

// repositoryOn is a repository of the emulator.
func repositoryOn(server *ecrlocaltest.Running, path string) ref.Repository {
	return ref.Repository{Host: server.Host, Path: path}
}

// pusher pushes small images through the API.
type pusher struct {
	t      *testing.T
	client *awsecr.Client
	repo   string
	config string // digest of the one config blob
}

func newPusher(t *testing.T, server *ecrlocaltest.Running, repo string) *pusher {
	t.Helper()
	p := &pusher{t: t, client: client(server), repo: repo}
	blob := []byte("{}")
	p.config = string(digest.FromBytes(blob))
	up, err := p.client.InitiateLayerUpload(t.Context(), &awsecr.InitiateLayerUploadInput{RepositoryName: &repo})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.UploadLayerPart(t.Context(), &awsecr.UploadLayerPartInput{
		RepositoryName: &repo, UploadId: up.UploadId, PartFirstByte: aws.Int64(0), PartLastByte: aws.Int64(int64(len(blob)) - 1), LayerPartBlob: blob,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.CompleteLayerUpload(t.Context(), &awsecr.CompleteLayerUploadInput{
		RepositoryName: &repo, UploadId: up.UploadId, LayerDigests: []string{p.config},
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	ociImage    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	dockerImage = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList  = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// image is the manifest of an image that differs from all others by name.
func (p *pusher) image(mediaType, name string) string {
	config := "application/vnd.oci.image.config.v1+json"
	if mediaType == dockerImage {
		config = "application/vnd.docker.container.image.v1+json"
	}
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[],"annotations":{"name":%q}}`,
		mediaType, config, p.config, name)
}

// put stores a manifest under a tag, or under none, and returns its digest.
func (p *pusher) put(ctx context.Context, mediaType, manifest, tag string) (ref.Digest, error) {
	in := &awsecr.PutImageInput{RepositoryName: &p.repo, ImageManifest: &manifest, ImageManifestMediaType: &mediaType}
	if tag != "" {
		in.ImageTag = &tag
	}
	out, err := p.client.PutImage(ctx, in)
	if err != nil {
		return "", err
	}
	return ref.Digest(*out.Image.ImageId.ImageDigest), nil
}

// mustPut is put where it has to succeed.
func (p *pusher) mustPut(mediaType, manifest, tag string) ref.Digest {
	p.t.Helper()
	digest, err := p.put(p.t.Context(), mediaType, manifest, tag)
	if err != nil {
		p.t.Fatalf("putting %s: %v", tag, err)
	}
	return digest
}

// archive moves an image to the archive storage class.
func (p *pusher) archive(digest ref.Digest) {
	p.t.Helper()
	_, err := p.client.UpdateImageStorageClass(p.t.Context(), &awsecr.UpdateImageStorageClassInput{
		RepositoryName: &p.repo, ImageId: &types.ImageIdentifier{ImageDigest: aws.String(string(digest))}, TargetStorageClass: types.TargetStorageClassArchive,
	})
	if err != nil {
		p.t.Fatalf("archiving: %v", err)
	}
}
