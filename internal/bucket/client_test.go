package bucket_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/bucket"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// S3 says where a bucket is, also to those who ask in the wrong Region, or may not look.
func TestAskRegion(t *testing.T) {
	for _, tt := range []struct {
		status int
		header string
		want   string
		err    error
	}{
		{http.StatusOK, "eu-west-1", "eu-west-1", nil},
		{http.StatusMovedPermanently, "eu-west-1", "eu-west-1", nil},
		{http.StatusForbidden, "eu-west-1", "eu-west-1", nil},
		{http.StatusForbidden, "", "", registry.ErrDenied},
		{http.StatusNotFound, "", "", registry.ErrPermanent},
	} {
		s := serve(t)
		s.before = func(w http.ResponseWriter, _ *http.Request) bool {
			if tt.header != "" {
				w.Header().Set("X-Amz-Bucket-Region", tt.header)
			}
			w.WriteHeader(tt.status)
			return true
		}
		got, err := bucket.AskRegion(t.Context(), s.config(), bucket.Settings{Endpoint: s.url}, name)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%d %q: %q, %v", tt.status, tt.header, got, err)
		}
	}
}

// Connections once stayed for 90 seconds after each run.
func TestCloseLeavesNoConnections(t *testing.T) {
	s := serve(t)
	target := s.target(bucket.Options{})
	push(t, target, "app", "1.0", small("one"))
	if s.open.Load() == 0 {
		t.Error("none were kept")
	}
	if err := target.Close(); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); s.open.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections stay", s.open.Load())
		}
	}
}

func TestLocated(t *testing.T) {
	for host, want := range map[string]struct {
		said           bucket.Settings
		name, endpoint string
	}{
		"s3://images":            {bucket.Settings{}, "images", ""},
		"s3://alias":             {bucket.Settings{Bucket: "images", Endpoint: "https://s3.example.com"}, "images", "https://s3.example.com"},
		"r2://account/images":    {bucket.Settings{}, "images", "https://account.r2.cloudflarestorage.com"},
		"r2://account.eu/images": {bucket.Settings{}, "images", "https://account.eu.r2.cloudflarestorage.com"},
	} {
		got, name, err := bucket.Located(host, want.said)
		if err != nil || name != want.name || got.Endpoint != want.endpoint {
			t.Errorf("%s: %q at %q, %v", host, name, got.Endpoint, err)
		}
	}
	if _, _, err := bucket.Located("quay.io", bucket.Settings{}); !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("a registry: %v", err)
	}
}
