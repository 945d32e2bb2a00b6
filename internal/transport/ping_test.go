package transport_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

func TestPing(t *testing.T) {
	fine := func(http.ResponseWriter, *http.Request) {}
	challenge := strings.Replace(bearer(""), `,scope=""`, "", 1)
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		cred   auth.Credential
		asks   bool
		kind   error
		whats  []string
	}{
		"open":               {answer: fine, whats: []string{"GET /v2/"}},
		"open, with one":     {answer: fine, cred: someone, whats: []string{"GET /v2/"}},
		"basic":              {answer: guarded(`Basic realm="x"`, only(basic(someone)), fine), cred: someone, asks: true, whats: []string{"GET /v2/", "GET /v2/"}},
		"basic, wrong":       {answer: guarded(`Basic realm="x"`, only("never"), fine), cred: someone, asks: true, kind: registry.ErrDenied, whats: []string{"GET /v2/", "GET /v2/"}},
		"basic, nobody":      {answer: guarded(`Basic realm="x"`, only("never"), fine), kind: registry.ErrDenied, whats: []string{"GET /v2/"}},
		"token":              {answer: guarded(challenge, only("Bearer t1"), fine), cred: someone, asks: true, whats: []string{"GET /v2/", "GET /v2/"}},
		"token for nobody":   {answer: guarded(challenge, only("Bearer t1"), fine), asks: true, whats: []string{"GET /v2/", "GET /v2/"}},
		"no registry at all": {answer: http.NotFound, kind: registry.ErrNotFound, whats: []string{"GET /v2/"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				tokens := w.serve(realm, issue())
				j := w.serve(host, test.answer)
				asks, err := w.client(transport.Options{Credentials: auth.Static{host: test.cred}}).Ping(t.Context(), host, "")
				if test.kind != nil {
					wantKind(t, err, test.kind)
				} else if err != nil {
					t.Error(err)
				}
				if err == nil && asks != test.asks {
					t.Errorf("asks = %t", asks)
				}
				if diff := cmp.Diff(test.whats, j.whats()); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				for _, e := range tokens.all() {
					if strings.Contains(e.query, "scope") {
						t.Errorf("the token is for %s", e.query)
					}
				}
			})
		})
	}
}

// A part of a registry is asked for as whom it is given, also where the host was asked before,
// and at the API's base, too.
func TestPingOfAPath(t *testing.T) {
	by := auth.ByHost{Hosts: map[string]auth.Provider{
		host:           auth.Static{host: someone},
		host + "/team": auth.Static{host: {Username: "team", Password: "pw"}},
	}, Rest: auth.Anonymous{}}
	for _, kind := range []string{"basic", "bearer"} {
		inWorld(t, func(t *testing.T, w *world) {
			w.serve(realm, func(rw http.ResponseWriter, r *http.Request) {
				user, _, _ := r.BasicAuth()
				fmt.Fprintf(rw, `{"token":%q}`, user)
			})
			challenge, want := `Basic realm="x"`, basic(someone)
			if kind == "bearer" {
				challenge, want = strings.Replace(bearer(""), `,scope=""`, "", 1), "Bearer "+someone.Username
			}
			j := w.serve(host, guarded(challenge, only(want), func(http.ResponseWriter, *http.Request) {}))
			c := w.client(transport.Options{Credentials: by})
			if _, err := c.Ping(t.Context(), host, ""); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			_, err := c.Ping(t.Context(), host, "team")
			wantKind(t, err, registry.ErrDenied)
			for _, what := range j.whats() {
				if what != "GET /v2/" {
					t.Errorf("%s: %s", kind, what)
				}
			}
		})
	}
}
