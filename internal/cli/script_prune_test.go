package cli_test

import (
	"net/http"
	"strings"

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
