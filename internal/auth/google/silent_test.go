package google_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth/google"
)

// The library's exchange of a service account's key knows no context.
func TestATokenServiceThatNeverAnswers(t *testing.T) {
	s := newServices(t)
	over := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(over) })
	key := strings.ReplaceAll(s.serviceAccount(), s.URL, silent.URL)
	p, err := google.Key(auth.Secret(key), google.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Fetch(ctx) }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("there is a token")
		}
	case <-time.After(10 * time.Second):
		t.Error("the fetch outlives its context")
	}
}
