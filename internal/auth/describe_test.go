package auth_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
)

func TestDescribe(t *testing.T) {
	path := write(t, `{"auths":{"file.test":{"auth":"`+entry("f:"+hidden)+`"}}}`)
	file, err := auth.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	given := func(host string) auth.Static { return auth.Static{host: {Username: "someone", Password: hidden}} }
	p := auth.Chain{
		auth.Named{Provider: given("flag.test"), Source: "--src-creds"},
		given("nameless.test"),
		auth.ByHost{
			Hosts: map[string]auth.Provider{
				"none.test":  auth.Named{Provider: auth.Anonymous{}, Source: "none"},
				"named.test": auth.Named{Provider: given("named.test"), Source: "the file"},
				"flag.test":  auth.Named{Provider: given("flag.test"), Source: "the file"},
			},
			Rest: auth.Chain{auth.Anonymous{}, file},
		},
	}
	for host, want := range map[string]string{
		"flag.test": "--src-creds", "nameless.test": "a credential that was given", "none.test": "none",
		"named.test": "the file", "file.test": "auth file " + path, "other.test": "", "sub.file.test": "",
	} {
		got, err := auth.Describe(t.Context(), p, host)
		if err != nil || got.Source != want || !got.Expires.IsZero() {
			t.Errorf("Describe(%s) = %+v, %v; want %q", host, got, err, want)
		}
		if strings.Contains(got.Source, hidden) || strings.Contains(got.Source, "someone") {
			t.Errorf("%q shows the credential", got.Source)
		}
	}
	if _, err := auth.Describe(t.Context(), auth.Chain{broken{}, given("a.test")}, "a.test"); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}
