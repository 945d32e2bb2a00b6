package ecrlocal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"
	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	ociConfig      = "application/vnd.oci.image.config.v1+json"
	ociLayer       = "application/vnd.oci.image.layer.v1.tar+gzip"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// api is an ECR client of the server that does not retry.
func api(run *ecrlocaltest.Running) *ecr.Client {
	return ecr.NewFromConfig(run.AWSConfig(""), func(o *ecr.Options) { o.RetryMaxAttempts = 1 })
}

// registry talks the registry protocol to the server, without following redirects.
type registry struct {
	t    testing.TB
	base string
	auth string // the Authorization header; "" sends none
	http *http.Client
}

// login returns a registry client with a token for the default account and Region.
func login(tb testing.TB, run *ecrlocaltest.Running) *registry {
	tb.Helper()
	return loginAs(tb, run, api(run))
}

func loginAs(tb testing.TB, run *ecrlocaltest.Running, client *ecr.Client) *registry {
	tb.Helper()
	out, err := client.GetAuthorizationToken(tb.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		tb.Fatalf("getting a token: %v", err)
	}
	r := anonymous(tb, run.URL)
	r.auth = "Basic " + aws.ToString(out.AuthorizationData[0].AuthorizationToken)
	return r
}

// withKey is the SDK configuration with another access key.
func withKey(run *ecrlocaltest.Running, key string) aws.Config {
	config := run.AWSConfig("")
	config.Credentials = credentials.NewStaticCredentialsProvider(key, "secret", "")
	return config
}

func anonymous(tb testing.TB, url string) *registry {
	tb.Helper()
	transport := &http.Transport{}
	tb.Cleanup(transport.CloseIdleConnections)
	return &registry{t: tb, base: url, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// password is the token in the client's Authorization header.
func (r *registry) password() string {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.auth, "Basic "))
	if err != nil {
		r.t.Fatal(err)
	}
	_, password, _ := strings.Cut(string(raw), ":")
	return password
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// code is the first error code of a registry error; "" when there is none.
func (a answer) code() string {
	var e struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(a.body, &e) != nil || len(e.Errors) == 0 {
		return ""
	}
	return e.Errors[0].Code
}

// String is status and error code, as the tables spell outcomes: "404 NAME_UNKNOWN".
func (a answer) String() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.status, a.code()))
}

// do sends a request; path may also be a whole URL. Headers are given as pairs.
func (r *registry) do(method, path string, body []byte, headers ...string) answer {
	r.t.Helper()
	a, err := r.try(method, path, body, headers...)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// try is do for requests whose connection may be cut.
func (r *registry) try(method, path string, body []byte, headers ...string) (answer, error) {
	if strings.HasPrefix(path, "/") {
		path = r.base + path
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if r.auth != "" && !strings.Contains(path, "/layers/") {
		req.Header.Set("Authorization", r.auth)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: read}, err
}

// want fails the test unless the answer has the status.
func (r *registry) want(status int, a answer) answer {
	r.t.Helper()
	if a.status != status {
		r.t.Fatalf("got %s (%s), want %d", a, a.body, status)
	}
	return a
}

// begin opens an upload and returns its URL.
func (r *registry) begin(repo string) string {
	r.t.Helper()
	return r.want(202, r.do("POST", "/v2/"+repo+"/blobs/uploads/", nil)).header.Get("Location")
}

// finish completes an upload with the last bytes.
func (r *registry) finish(upload string, last []byte, dgst digest.Digest) answer {
	r.t.Helper()
	separator := "?"
	if strings.Contains(upload, separator) { // distribution keeps its state in the query
		separator = "&"
	}
	return r.do("PUT", upload+separator+"digest="+string(dgst), last)
}

// pushBlob uploads a blob in one PUT.
func (r *registry) pushBlob(repo string, content []byte) digest.Digest {
	r.t.Helper()
	dgst := digest.FromBytes(content)
	r.want(201, r.finish(r.begin(repo), content, dgst))
	return dgst
}

// manifest makes an image manifest of the given type and blobs.
func manifest(mediaType string, config, layer []byte, more ...string) []byte {
	configType, layerType := ociConfig, ociLayer
	if mediaType == dockerManifest {
		configType, layerType = dockerConfig, dockerLayer
	}
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]%s}`, mediaType,
		descriptor(configType, config), descriptor(layerType, layer), strings.Join(more, ""))
}

func index(children ...[]byte) []byte {
	var list []string
	for _, c := range children {
		list = append(list, descriptor(ociManifest, c))
	}
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ociIndex, strings.Join(list, ","))
}

func descriptor(mediaType string, content []byte) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest.FromBytes(content), len(content))
}

// pushManifest puts a manifest under a tag or its digest.
func (r *registry) pushManifest(repo, reference string, raw []byte) answer {
	r.t.Helper()
	var typed struct{ MediaType string }
	if err := json.Unmarshal(raw, &typed); err != nil {
		r.t.Fatal(err)
	}
	return r.do("PUT", "/v2/"+repo+"/manifests/"+reference, raw, "Content-Type", typed.MediaType)
}

// pushImage pushes a whole small OCI image that name makes unique, and returns its manifest.
func (r *registry) pushImage(repo, tag, name string) []byte {
	r.t.Helper()
	return r.pushTyped(repo, tag, name, ociManifest)
}

func (r *registry) pushTyped(repo, tag, name, mediaType string) []byte {
	r.t.Helper()
	config, layer := []byte(`{"name":"`+name+`"}`), []byte("layer of "+name)
	r.pushBlob(repo, config)
	r.pushBlob(repo, layer)
	raw := manifest(mediaType, config, layer)
	reference := tag
	if reference == "" {
		reference = string(digest.FromBytes(raw))
	}
	r.want(201, r.pushManifest(repo, reference, raw))
	return raw
}

// create makes repositories that are to exist.
func create(tb testing.TB, run *ecrlocaltest.Running, names ...string) {
	tb.Helper()
	for _, name := range names {
		if err := run.CreateRepository(name, ecrlocal.RepositoryOptions{}); err != nil {
			tb.Fatal(err)
		}
	}
}

// errorCode is the code of an SDK error; "" when err is nil.
func errorCode(tb testing.TB, err error) string {
	tb.Helper()
	if err == nil {
		return ""
	}
	var apiErr smithy.APIError
	if !errors.As(err, &apiErr) {
		tb.Fatalf("not an API error: %v", err)
	}
	return apiErr.ErrorCode()
}

// ops counts the journal's entries by operation.
func ops(entries []ecrlocal.Entry) map[string]int {
	count := make(map[string]int)
	for _, e := range entries {
		count[e.Op]++
	}
	return count
}

// tagsOf reads a tags/list answer.
func tagsOf(t *testing.T, a answer) []string {
	t.Helper()
	var list struct{ Tags []string }
	if err := json.Unmarshal(a.body, &list); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return list.Tags
}
