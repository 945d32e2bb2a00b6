package bucket_test

import (
	"errors"
	"net/http"
	"testing"

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
