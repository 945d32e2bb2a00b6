package cli_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/rogpeppe/go-internal/testscript"
)

// withdraw REPOSITORY:TAG removes a tag upstream.
func (s *stage) withdraw(ts *testscript.TestScript, neg bool, args []string) {
	repo, tag, _ := strings.Cut(args[0], ":")
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodDelete, s.upstream.direct+"/v2/"+repo+"/manifests/"+tag, nil)
	ts.Check(err)
	answer, err := http.DefaultClient.Do(request)
	ts.Check(err)
	ts.Check(answer.Body.Close())
	if neg || answer.StatusCode != http.StatusAccepted {
		ts.Fatalf("upstream answered %s", answer.Status)
	}
}

// startS3 serves a bucket named states, and returns where.
func startS3(t *testing.T) string {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("states"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend, gofakes3.WithLogger(gofakes3.StdLog(log.New(io.Discard, "", 0)))).Server())
	t.Cleanup(server.Close)
	return server.URL
}
