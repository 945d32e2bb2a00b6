package transport_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// A registry that was named for plain HTTP names a token service that was not. Whoever
// listens on the way there would have read the password; the same registry behind TLS
// could not have named a plain one at all.
func TestACredentialGoesInTheClearOnlyToHostsThatAreNamed(t *testing.T) {
	const service = "registry.test:5002" // the same machine, and another server
	challenge := fmt.Sprintf(`Bearer realm="http://%s/token",service="x",scope="repository:team/app:pull"`, service)
	for name, test := range map[string]struct {
		cred   auth.Credential
		named  []string
		served bool
	}{
		"a password":                         {cred: someone, named: []string{host}},
		"an identity token":                  {cred: auth.Credential{IdentityToken: "refresh"}, named: []string{host}},
		"a password, the service named, too": {cred: someone, named: []string{host, service}, served: true},
		"an identity token, likewise":        {cred: auth.Credential{IdentityToken: "refresh"}, named: []string{host, service}, served: true},
		"no credential at all":               {named: []string{host}, served: true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				tokens := w.serve(service, func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, `{"access_token":"t1"}`) })
				w.serve(host, guarded(challenge, only("Bearer t1"), manifest))
				c := w.client(transport.Options{Credentials: auth.Static{host: test.cred}, Settings: named(test.named...), RetryTimes: 3})
				_, err := c.Manifest(t.Context(), repo.Tagged("1.0"))
				if test.served {
					if err != nil {
						t.Error(err)
					}
					return
				}
				wantKind(t, err, registry.ErrPermanent)
				if err != nil && (!strings.Contains(err.Error(), service) || !strings.Contains(err.Error(), "--insecure-registry")) {
					t.Errorf("error %q does not say which host to name, or how", err)
				}
				if n := len(tokens.all()); n != 0 {
					t.Errorf("%d requests in the clear", n)
				}
			})
		})
	}
}

// A token service sends the request on, in plain text both times.
func TestATokenRequestIsNotRedirectedInTheClear(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const other = "registry.test:5002"
		j := w.serve(other, issue())
		w.serve(realm, with("Location", "http://"+other+"/token", refuse(307, "", "")))
		w.serve(host, guarded(bearer("repository:team/app:pull"), only("Bearer t1"), manifest))
		for _, cred := range []auth.Credential{someone, {IdentityToken: "refresh"}} {
			c := w.client(transport.Options{Credentials: auth.Static{host: cred}, Settings: named(host, realm)})
			if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err == nil {
				t.Error("no error")
			}
		}
		if n := len(j.all()); n != 0 {
			t.Errorf("%d requests in the clear", n)
		}
	})
}

// Storage that was not named may be plain where the registry is: nothing goes there but
// what the registry itself said in plain text.
func TestPlainStorageSeesNoCredential(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const storage = "storage.test:9000"
		j := w.serve(storage, take(new([]byte)))
		w.serve(host, guarded(`Basic realm="x"`, only(basic(someone)), store("http://"+storage+"/put?signature=s3cret", nil)))
		c := w.client(transport.Options{Credentials: auth.Static{host: someone}, Settings: named(host)})
		if err := upload(t, c, blobDesc, content(blob)); err != nil {
			t.Fatal(err)
		}
		for _, e := range j.all() {
			if e.auth != "" {
				t.Errorf("%s was sent %s", e.what, e.auth)
			}
		}
	})
}

// Nor does it where it asks: not even the token that nobody in particular gets.
func TestPlainStorageThatAsksIsNotAnswered(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const storage, service = "storage.test:9000", "storage.test:9001"
		w.serve(service, issue())
		j := w.serve(storage, guarded(`Bearer realm="http://`+service+`/token"`, func(string) bool { return false }, nil))
		w.serve(host, guarded(`Basic realm="x"`, only(basic(someone)), store("http://"+storage+"/put", nil)))
		c := w.client(transport.Options{Credentials: auth.Static{host: someone}, Settings: named(host)})
		wantKind(t, upload(t, c, ref.Descriptor{Digest: digest.FromBytes(nil)}, content(nil)), registry.ErrPermanent)
		for _, e := range j.all() {
			if e.auth != "" {
				t.Errorf("%s was sent %s", e.what, e.auth)
			}
		}
	})
}

// A host that was not named is asked over TLS or not at all, its password with it.
func TestAPasswordWaitsForTLS(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, port := range []string{":80", ":443"} {
			j := w.serve("registry.test"+port, guarded(`Basic realm="x"`, only(basic(someone)), manifest))
			for _, name := range []string{"registry.test", "registry.test" + port} {
				c := w.client(transport.Options{Credentials: auth.Static{name: someone}, Settings: named("other.test")})
				r := repo
				r.Host = name
				if _, err := c.Manifest(t.Context(), r.Tagged("1.0")); err == nil {
					t.Errorf("%s: no error", name)
				}
			}
			if n := len(j.all()); n != 0 {
				t.Errorf("%d requests in the clear", n)
			}
		}
	})
}
