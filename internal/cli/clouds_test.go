package cli_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// google TOKEN makes the machine one of Google's cloud, whose metadata server gives out
// TOKEN.
func (s *stage) google(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		switch {
		case r.Header.Get("Metadata-Flavor") != "Google":
			http.Error(w, "no Metadata-Flavor", http.StatusForbidden)
		case strings.HasSuffix(r.URL.Path, "/instance/service-accounts/default/token"):
			fmt.Fprintf(w, `{"access_token":%q,"expires_in":3599,"token_type":"Bearer"}`, args[0])
		case strings.HasSuffix(r.URL.Path, "/project/project-id"):
			fmt.Fprint(w, "project")
		default:
			http.NotFound(w, r)
		}
	}))
	s.t.Cleanup(server.Close)
	ts.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
}
