package bucket_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	name = "images"
	host = "s3://" + name
)

// storage is a server that speaks S3, with one bucket.
type storage struct {
	t      *testing.T
	url    string
	client *s3.Client
	before func(http.ResponseWriter, *http.Request) bool // answers in the server's place, if it returns true

	mu       sync.Mutex
	requests []*http.Request // without bodies
	open     atomic.Int64    // connections
}

// serve starts a server.
func serve(t *testing.T) *storage {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket(name); err != nil {
		t.Fatal(err)
	}
	s := &storage{t: t}
	fake := gofakes3.New(backend, gofakes3.WithLogger(gofakes3.StdLog(log.New(io.Discard, "", 0)))).Server()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Clone(context.WithoutCancel(r.Context())))
		s.mu.Unlock()
		if s.before == nil || !s.before(w, r) {
			fake.ServeHTTP(w, r)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.open.Add(-1)
		default:
		}
	}
	server.Start()
	s.url = server.URL
	s.client = s3.NewFromConfig(s.config(), func(o *s3.Options) {
		o.UsePathStyle, o.BaseEndpoint = true, &s.url
	})
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	return s
}

func (s *storage) config() aws.Config {
	return aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")}
}

// target is a Target for the bucket, and for any other name at the same server.
func (s *storage) target(opts bucket.Options) *bucket.Target {
	s.t.Helper()
	s.t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	s.t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	opts.Config = s.config()
	settings := opts.Settings
	opts.Settings = func(host string) bucket.Settings {
		var said bucket.Settings
		if settings != nil {
			said = settings(host)
		}
		said.Endpoint = s.url
		return said
	}
	t := bucket.New(opts)
	s.t.Cleanup(func() { _ = t.Close() })
	return t
}

// received returns the requests so far. The answer to the last one may have come before
// the server's goroutine is done with it, so a test may not look at them without the lock.
func (s *storage) received() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// asked returns the requests so far that begin with a method, as "PUT v2/…", and forgets
// all.
func (s *storage) asked(methods ...string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var asked []string
	for _, r := range s.requests {
		if slices.Contains(methods, r.Method) {
			asked = append(asked, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/"+name+"/"))
		}
	}
	s.requests = nil
	return asked
}

// keys lists the bucket.
func (s *storage) keys() []string {
	s.t.Helper()
	out, err := s.client.ListObjectsV2(context.WithoutCancel(s.t.Context()), &s3.ListObjectsV2Input{Bucket: aws.String(name)})
	if err != nil {
		s.t.Fatal(err)
	}
	var keys []string
	for _, o := range out.Contents {
		keys = append(keys, aws.ToString(o.Key))
	}
	return keys
}

// read returns an object.
func (s *storage) read(key string) string {
	s.t.Helper()
	out, err := s.client.GetObject(s.t.Context(), &s3.GetObjectInput{Bucket: aws.String(name), Key: &key})
	if err != nil {
		s.t.Fatalf("%s: %v", key, err)
	}
	defer out.Body.Close()
	raw, err := io.ReadAll(out.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(raw)
}
