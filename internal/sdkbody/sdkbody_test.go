package sdkbody_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/sdkbody"
)

// closedBody is an SDK body after it was closed.
type closedBody struct{ io.ReadCloser }

func (closedBody) WriteTo(io.Writer) (int64, error) { return 0, io.EOF }

type seen struct{ body io.ReadCloser }

func (s *seen) Do(r *http.Request) (*http.Response, error) {
	s.body = r.Body
	return &http.Response{}, nil
}

func TestBodiesAreOnlyRead(t *testing.T) {
	body := closedBody{io.NopCloser(strings.NewReader("text"))}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/", body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, body); err == nil {
		t.Fatal("the body has no fault to work round")
	}
	var s seen
	if _, err := sdkbody.Plain(&s).Do(request); err != nil { //nolint:bodyclose // there is none
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, s.body); n != 4 || err != nil {
		t.Errorf("reading the body gave %d bytes and %v", n, err)
	}
	if request.Body != body {
		t.Error("the caller's request was changed")
	}
}
