package s3store_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/s3store"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/sdkbody"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bucket is a server that speaks S3, with one bucket, states.
func bucket(t *testing.T) http.Handler {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("states"); err != nil {
		t.Fatal(err)
	}
	return gofakes3.New(backend, gofakes3.WithLogger(gofakes3.StdLog(log.New(io.Discard, "", 0)))).Server()
}

// store is a Store in the bucket behind handler.
func store(t *testing.T, handler http.Handler, at string) *s3store.Store {
	t.Helper()
	server := httptest.NewServer(handler)
	client := awshttp.NewBuildableClient()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	location, err := s3store.ParseLocation(at)
	if err != nil {
		t.Fatal(err)
	}
	return s3store.New(aws.Config{
		Region: "eu-central-1", BaseEndpoint: &server.URL, HTTPClient: sdkbody.Plain(client),
		Credentials:      credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		RetryMaxAttempts: 1,
	}, location)
}

func TestStore(t *testing.T) {
	s := store(t, bucket(t), "s3://states/mirror/prune.json")
	data, version, err := s.Read(t.Context())
	if data != nil || version != "" || err != nil {
		t.Fatalf("before the first run: %q, %q, %v", data, version, err)
	}
	if err := s.Write(t.Context(), []byte("one"), ""); err != nil {
		t.Fatal(err)
	}
	data, version, err = s.Read(t.Context())
	if string(data) != "one" || version == "" || err != nil {
		t.Fatalf("after it: %q, %q, %v", data, version, err)
	}
	if err := s.Write(t.Context(), []byte("two"), version); err != nil {
		t.Fatal(err)
	}
	// What another run has written since is not overwritten.
	for name, outdated := range map[string]string{"the version before": version, "no version": ""} {
		if err := s.Write(t.Context(), []byte("three"), outdated); !errors.Is(err, state.ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if data, _, err := s.Read(t.Context()); string(data) != "two" || err != nil {
		t.Errorf("it is %q, %v", data, err)
	}
}

func TestAStateInABucket(t *testing.T) {
	s := store(t, bucket(t), "s3://states/prune.json")
	keep := func(s state.State) state.State { return s }
	for range 2 {
		if err := state.Update(t.Context(), s, keep); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := state.Load(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	for name, tc := range map[string]struct {
		at     string
		answer http.HandlerFunc // nil for the bucket's own
		want   string
	}{
		"no such bucket": {"s3://elsewhere/prune.json", nil, "s3:GetObject: NoSuchBucket"},
		"denied": {"s3://states/prune.json", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>Access\nDenied</Message></Error>")
		}, "s3:GetObject: AccessDenied: Access Denied"},
	} {
		handler := bucket(t)
		if tc.answer != nil {
			handler = tc.answer
		}
		_, _, err := store(t, handler, tc.at).Read(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A bucket in another Region says so, and is asked there.
func TestBucketInAnotherRegion(t *testing.T) {
	s3 := bucket(t)
	var asked []string
	s := store(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/s3/") {
			asked = append(asked, "eu-central-1")
			w.Header().Set("X-Amz-Bucket-Region", "us-west-2")
			w.WriteHeader(http.StatusMovedPermanently)
			_, _ = io.WriteString(w, "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>")
			return
		}
		asked = append(asked, "elsewhere")
		s3.ServeHTTP(w, r)
	}), "s3://states/prune.json")
	if err := s.Write(t.Context(), []byte("one"), ""); err != nil {
		t.Fatal(err)
	}
	if data, _, err := s.Read(t.Context()); string(data) != "one" || err != nil {
		t.Errorf("it is %q, %v", data, err)
	}
	if strings.Join(asked, " ") != "eu-central-1 elsewhere elsewhere" {
		t.Errorf("asked %q", asked)
	}
}

// A server that knows no conditional writes is written to without conditions.
func TestServerWithoutConditions(t *testing.T) {
	s3 := bucket(t)
	s := store(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Match")+r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotImplemented)
			_, _ = io.WriteString(w, "<Error><Code>NotImplemented</Code><Message>no conditions</Message></Error>")
			return
		}
		s3.ServeHTTP(w, r)
	}), "s3://states/prune.json")
	for _, text := range []string{"one", "two"} {
		if err := s.Write(t.Context(), []byte(text), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if data, _, err := s.Read(t.Context()); string(data) != "two" || err != nil {
		t.Errorf("it is %q, %v", data, err)
	}
}

func TestReadEndsWithTheRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := store(t, bucket(t), "s3://states/prune.json").Read(ctx); err == nil {
		t.Error("no error")
	}
}

func TestParseLocation(t *testing.T) {
	for _, good := range []string{"s3://bucket/key", "s3://my.bucket/a/b/c.json"} {
		if at, err := s3store.ParseLocation(good); err != nil || at.String() != good {
			t.Errorf("%q is %s, %v", good, at, err)
		}
	}
	for _, bad := range []string{"", "bucket/key", "s3://bucket", "s3://bucket/", "s3://bucket/a/", "s3:///key", "https://bucket/key", "s3://bucket/key?x=1", "s3://u:p@bucket/key"} {
		if at, err := s3store.ParseLocation(bad); err == nil {
			t.Errorf("%q is %s", bad, at)
		}
	}
}
