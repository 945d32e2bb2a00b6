// Package ecrlocaltest starts a local ECR, or a plain registry, for the length of a test.
package ecrlocaltest

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/sdkbody"
)

// AccessKey signs the requests of [Running.AWSConfig] and [Running.Env].
const AccessKey = "AKIAECRLOCALTEST0000"

// Running is a local ECR that serves on a free port of 127.0.0.1. The embedded server's
// methods prepare and inspect it: CreateRepository, FailNext, Journal and others.
type Running struct {
	*ecrlocal.Server
	URL  string // http://127.0.0.1:PORT
	Host string // 127.0.0.1:PORT, which is also where its repositories are
}

// Option changes the options of the server before it starts.
type Option func(*ecrlocal.Options)

// WithThrottle meters operations as t says. Without it nothing is metered, so that tests need
// not wait.
func WithThrottle(t ecrlocal.Throttle) Option {
	return func(o *ecrlocal.Options) { o.Throttle = t }
}

// WithQuirks replaces the quirks, which are otherwise those of [ecrlocal.ECR].
func WithQuirks(q ecrlocal.Quirks) Option {
	return func(o *ecrlocal.Options) { o.Quirks = &q }
}

// WithCredentials makes c say which access keys exist. [AccessKey] must be among them for
// AWSConfig to be of use.
func WithCredentials(c ecrlocal.Credentials) Option {
	return func(o *ecrlocal.Options) { o.Credentials = &c }
}

// Start serves a local ECR until the test ends.
func Start(tb testing.TB, opts ...Option) *Running {
	tb.Helper()
	options := ecrlocal.Options{Throttle: ecrlocal.Throttle{Off: true}}
	for _, apply := range opts {
		apply(&options)
	}
	server, err := ecrlocal.New(options)
	if err != nil {
		tb.Fatalf("starting a local ECR: %v", err)
	}
	url := serve(tb, server, server.Close)
	return &Running{Server: server, URL: url, Host: strings.TrimPrefix(url, "http://")}
}

// AWSConfig is an SDK configuration whose clients talk to this server, with static keys. An
// empty region means the server's default.
func (r *Running) AWSConfig(region string) aws.Config {
	if region == "" {
		region = r.Region()
	}
	return aws.Config{
		Region:       region,
		BaseEndpoint: aws.String(r.URL),
		HTTPClient:   sdkbody.Plain(awshttp.NewBuildableClient()),
		Credentials:  credentials.NewStaticCredentialsProvider(AccessKey, "secret", ""),
	}
}

// Password is the registry password of the user AWS. Getting it leaves no trace in the
// journal. An empty account or region means the server's default.
func (r *Running) Password(account, region string) string {
	return r.RegistryToken(AccessKey, account, region)
}

// Separate serves the private registry of an account in a Region on an address of its own
// until the test ends, and returns the address, 127.0.0.1:PORT; see
// [ecrlocal.Server.RegistryAt]. An empty account or region means the server's default.
func (r *Running) Separate(tb testing.TB, account, region string) string {
	tb.Helper()
	front := httptest.NewUnstartedServer(nil)
	host := front.Listener.Addr().String()
	registry, err := r.RegistryAt(account, region, host)
	if err != nil {
		tb.Fatalf("separating a registry: %v", err)
	}
	front.Config.Handler = registry
	front.Start()
	stopping(tb, front)
	return host
}

// Env is the environment with which a child process finds this server and nothing else. It
// goes after the environment that the child otherwise gets.
func (r *Running) Env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + r.URL,
		"AWS_ACCESS_KEY_ID=" + AccessKey,
		"AWS_SECRET_ACCESS_KEY=secret",
		"AWS_REGION=" + r.Region(),
		"AWS_DEFAULT_REGION=" + r.Region(),
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

// Registry is distribution's own registry, running on a free port of 127.0.0.1: no
// credentials, plain HTTP. The embedded methods inspect it and make it fail.
type Registry struct {
	*ecrlocal.Upstream
	URL  string // http://127.0.0.1:PORT
	Host string // 127.0.0.1:PORT
}

// RegistryOption changes the options of a plain registry before it starts.
type RegistryOption func(*ecrlocal.UpstreamOptions)

// StartRegistry serves a plain registry until the test ends. It leaves a goroutine behind
// that [IgnoreRegistryGoroutine] tells goleak about.
func StartRegistry(tb testing.TB, opts ...RegistryOption) *Registry {
	tb.Helper()
	var options ecrlocal.UpstreamOptions
	for _, apply := range opts {
		apply(&options)
	}
	if options.Dir == "" {
		options.Dir = scratch(tb)
	}
	upstream, err := ecrlocal.NewUpstream(options)
	if err != nil {
		tb.Fatalf("starting a registry: %v", err)
	}
	url := serve(tb, upstream, upstream.Close)
	return &Registry{Upstream: upstream, URL: url, Host: strings.TrimPrefix(url, "http://")}
}

// scratch returns a directory for the files of a registry until the test ends, in memory
// where that may be: the registry syncs each of them, and tests would spend most of their
// time waiting for a disk.
func scratch(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp(inMemory(), "ecr-mirror-sync-test-") //nolint:usetesting // its directories are on disk
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("removing what the registry stored: %v", err)
		}
	})
	return dir
}

// IgnoreRegistryGoroutine is the one leak there is: every [StartRegistry] leaves the event
// broadcaster of distribution's registry running, which nothing can stop.
func IgnoreRegistryGoroutine() goleak.Option {
	return goleak.IgnoreAnyFunction("github.com/docker/go-events.(*Broadcaster).run")
}

func serve(tb testing.TB, handler http.Handler, closeHandler func() error) string {
	tb.Helper()
	tb.Cleanup(func() {
		if err := closeHandler(); err != nil {
			tb.Errorf("closing the server: %v", err)
		}
	})
	server := httptest.NewServer(handler)
	stopping(tb, server)
	return server.URL
}

// stopping ends a server with the test.
func stopping(tb testing.TB, server *httptest.Server) {
	tb.Helper()
	tb.Cleanup(func() {
		server.CloseClientConnections() // clients may keep idle ones
		server.Close()
	})
}
