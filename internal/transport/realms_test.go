package transport_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// A registry may name a token service of its own site, and the operator any other; whoever
// else it names gets no credential, in whichever form, and is not even asked.
func TestRealmsThatGetTheCredential(t *testing.T) {
	challenge := func(service string) string {
		return `Bearer realm="http://` + service + `/token",service="registry",scope="repository:team/app:pull"`
	}
	for name, test := range map[string]struct {
		service, named string
		refused        bool
	}{
		"another port":          {service: "registry.test:5001"},
		"the same site":         {service: "auth.registry.test:5000"},
		"another site":          {service: "attacker.test:5000", refused: true},
		"a name that ends so":   {service: "evilregistry.test:5000", refused: true},
		"a site of one's own":   {service: "registry.test.attacker.test:5000", refused: true},
		"an address":            {service: "192.0.2.1:5000", refused: true},
		"another that is named": {service: "tokens.example.test:5000", named: "tokens.example.test:5000"},
		"at a port not named":   {service: "tokens.example.test:5001", named: "tokens.example.test:5000", refused: true},
	} {
		for kind, cred := range map[string]auth.Credential{"password": someone, "identity token": {IdentityToken: "refresh"}} {
			t.Run(name+", "+kind, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					asked := w.serve(test.service, func(rw http.ResponseWriter, _ *http.Request) {
						_, _ = io.WriteString(rw, `{"token":"t1","access_token":"t1"}`)
					})
					w.serve(host, guarded(challenge(test.service), only("Bearer t1"), manifest))
					c := w.client(transport.Options{
						Credentials: auth.Static{host: cred},
						Settings:    everywhere(registry.Settings{Security: registry.Insecure, TokenService: test.named}),
					})
					_, err := c.Manifest(t.Context(), repo.Tagged("1.0"))
					if !test.refused {
						if err != nil || len(asked.all()) == 0 {
							t.Errorf("asked %d times: %v", len(asked.all()), err)
						}
						return
					}
					wantKind(t, err, registry.ErrPermanent)
					if !strings.Contains(err.Error(), "its credential would go to "+test.service) || !strings.Contains(err.Error(), "registries."+host+".tokenService") {
						t.Errorf("error %v", err)
					}
					faults.Measured(t, faults.CredentialWays, 1)
					faults.Measured(t, faults.ForeignCredentials, len(asked.all()))
					if n := len(asked.all()); n != 0 {
						t.Errorf("it was asked %d times", n)
					}
				})
			})
		}
	}
	faults.Covers(t, "F95")
}

// Who asks for nobody in particular has nothing to lose.
func TestAnyRealmMayServeAnonymous(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const service = "tokens.example.test:5000"
		w.serve(service, issue())
		w.serve(host, guarded(`Bearer realm="http://`+service+`/token",scope="repository:team/app:pull"`, only("Bearer t1"), manifest))
		if _, err := w.client(transport.Options{}).Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
			t.Error(err)
		}
	})
}

// Nor does the registry's own token service hand it on.
func TestATokenServiceLeadsNowhere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const other = "attacker.test:5000"
		asked := w.serve(other, issue())
		w.serve(realm, with("Location", "http://"+other+"/token", refuse(307, "", "")))
		w.serve(host, guarded(bearer("repository:team/app:pull"), only("Bearer t1"), manifest))
		for _, cred := range []auth.Credential{someone, {IdentityToken: "refresh"}} {
			c := w.client(transport.Options{Credentials: auth.Static{host: cred}, Settings: everywhere(registry.Settings{Security: registry.Insecure})})
			if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err == nil {
				t.Error("no error")
			}
		}
		if n := len(asked.all()); n != 0 {
			t.Errorf("it was asked %d times", n)
		}
	})
}

// Whatever a registry asks for, and however malformed: the request ends, and who is none of
// the registry's own learns nothing.
func FuzzChallenge(f *testing.F) {
	faults.Covers(f, "I16")
	for _, challenge := range []string{
		`Basic realm="x"`, `basic`, ``, `Bearer`, `Bearer realm=`, `Bearer realm="`, `Negotiate, Basic realm="x"`,
		bearer("repository:team/app:pull"),
		`Bearer realm="http://attacker.test:5000/token",service="registry",scope="repository:team/app:pull"`,
		`Bearer realm="http://registry.test:5000@attacker.test:5000/token"`,
		`Bearer realm="http://registry.test:5001/token",realm="http://attacker.test:5000/token"`,
		`Bearer realm="http://attacker.test:5000\@registry.test:5001/token"`,
		`Bearer scope="a b c",realm=http://registry.test:5001/token,error="insufficient_scope"`,
	} {
		f.Add(challenge)
	}
	f.Fuzz(func(t *testing.T, challenge string) {
		inWorld(t, func(t *testing.T, w *world) {
			foreign := w.serve("attacker.test:5000", issue())
			w.serve(realm, issue())
			w.serve(host, guarded(challenge, only("never"), manifest))
			for _, cred := range []auth.Credential{someone, {IdentityToken: "refresh"}} {
				c := w.client(transport.Options{Credentials: auth.Static{host: cred}})
				if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err == nil {
					t.Error("no error")
				}
			}
			if asked := foreign.all(); len(asked) > 0 {
				t.Errorf("it was asked: %v", asked)
			}
		})
	})
}
