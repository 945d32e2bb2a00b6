package stage_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/content"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/stage"
)

func registry(t *testing.T) *stage.Server {
	t.Helper()
	s, err := stage.StartRegistry()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, url string) time.Duration {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// The first request of a connection waits for what a handshake would take.
func TestDelay(t *testing.T) {
	s := registry(t)
	const delay = 30 * time.Millisecond
	s.SetDelay(delay)
	if took := get(t, s.URL()+"/v2/"); took < 3*delay {
		t.Errorf("the first request took %s", took)
	}
	if took := get(t, s.URL()+"/v2/"); took < delay {
		t.Errorf("the second request took %s", took)
	}
	if traffic := s.Traffic(); traffic.Connections != 1 || traffic.Requests != 2 || traffic.Kinds["ping"] != 2 {
		t.Errorf("counted %+v", traffic)
	}
	http.DefaultClient.CloseIdleConnections()
}

// What Fill says it pushed is what the registry was sent: blobs once, repeats by
// mounting.
func TestFill(t *testing.T) {
	s := registry(t)
	v, err := s.Fill(t.Context(), content.Cold(0.001))
	if err != nil {
		t.Fatal(err)
	}
	traffic := s.Traffic()
	if mounts := v.Placements() - v.Blobs(); mounts == 0 || traffic.Kinds["mount"] != mounts || traffic.Kinds["upload-put"] != v.Blobs() || traffic.BlobBytes != v.Bytes() {
		t.Errorf("%d blobs of %d bytes in %d places, and sent was %+v", v.Blobs(), v.Bytes(), v.Placements(), traffic)
	}
	if writes := traffic.Writes(); writes != traffic.Requests {
		t.Errorf("%d of %d requests are writes: %v", writes, traffic.Requests, traffic.Kinds)
	}
	if err := s.Check(t.Context(), v); err != nil {
		t.Error(err)
	}
	other := stage.Count(content.Tiny(0.001))
	if err := s.Check(t.Context(), other); err == nil {
		t.Error("tags that nobody pushed are found")
	}
	if rest := v.Without(v); rest.Blobs() != 0 || rest.Manifests() != 0 {
		t.Errorf("without itself it has %d blobs", rest.Blobs())
	}
}
