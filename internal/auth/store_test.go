package auth_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
)

// helper puts a credential helper on an otherwise empty PATH. It speaks the helpers'
// protocol: a host on standard input, JSON or a message on standard output.
func helper(t *testing.T, name string, known map[string]string) {
	t.Helper()
	var script strings.Builder
	script.WriteString("#!/bin/sh\n[ \"$1\" = get ] || exit 2\nread -r host\ncase \"$host\" in\n")
	for host, answer := range known {
		fmt.Fprintf(&script, "%q) echo '%s' ;;\n", host, answer)
	}
	script.WriteString("broken.test) echo 'the keychain is locked'; exit 1 ;;\n*) echo 'credentials not found in native keychain'; exit 1 ;;\nesac\n")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte(script.String()), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestHelpersAndStores(t *testing.T) {
	helper(t, "one", map[string]string{"helped.test": `{"ServerURL":"helped.test","Username":"h","Secret":"pw"}`})
	helper(t, "all", map[string]string{
		"stored.test":                 `{"ServerURL":"stored.test","Username":"s","Secret":"pw"}`,
		"token.test":                  `{"ServerURL":"token.test","Username":"<token>","Secret":"refresh"}`,
		"https://index.docker.io/v1/": `{"ServerURL":"https://index.docker.io/v1/","Username":"d","Secret":"pw"}`,
		"helped.test":                 `{"ServerURL":"helped.test","Username":"wrong","Secret":"pw"}`,
		"written.test":                `{"ServerURL":"written.test","Username":"wrong","Secret":"pw"}`,
	})
	text := `{"auths":{"stored.test":{},"written.test":{"auth":"` + entry("w:pw") + `"}},"credHelpers":{"helped.test":"one"},"credsStore":"all"}`
	named, err := auth.OpenFile(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	for name, value := range map[string]string{"HOME": home, "DOCKER_CONFIG": home, "XDG_CONFIG_HOME": home, "XDG_RUNTIME_DIR": home, "REGISTRY_AUTH_FILE": ""} {
		t.Setenv(name, value)
	}
	if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]auth.File{"named": named, "docker's own": auth.DefaultFiles()} {
		for host, want := range map[string]auth.Credential{
			"helped.test":       {Username: "h", Password: "pw"},
			"stored.test":       {Username: "s", Password: "pw"},
			"written.test":      {Username: "w", Password: "pw"},
			"token.test":        {Username: "<token>", IdentityToken: "refresh"},
			"docker.io":         {Username: "d", Password: "pw"},
			"unknown.test":      {},
			"sub.stored.test":   {},
			"stored.test:5000":  {},
			"stored.test.evil.": {},
		} {
			if got, err := file.Credential(t.Context(), host); err != nil || got != want {
				t.Errorf("%s: Credential(%s) = %v, %v; want %v", name, host, got, err, want)
			}
		}
		if got, err := file.Credential(t.Context(), "broken.test"); err == nil || !strings.Contains(err.Error(), "docker-credential-all") {
			t.Errorf("%s: a store that fails gives %v, %v", name, got, err)
		}
	}
}

// A store that is not there is a mistake in a file that somebody named. Docker's own file
// may be another machine's.
func TestAStoreThatIsMissing(t *testing.T) {
	home := t.TempDir()
	for name, value := range map[string]string{"HOME": home, "DOCKER_CONFIG": "", "XDG_CONFIG_HOME": home, "XDG_RUNTIME_DIR": home, "REGISTRY_AUTH_FILE": ""} {
		t.Setenv(name, value)
	}
	text := `{"auths":{},"credsStore":"of-another-machine"}`
	named, err := auth.OpenFile(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := named.Credential(t.Context(), "a.test"); err == nil || !strings.Contains(err.Error(), "docker-credential-of-another-machine") {
		t.Errorf("%v, %v", got, err)
	}
	if err := os.Mkdir(filepath.Join(home, ".docker"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".docker", "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := auth.DefaultFiles().Credential(t.Context(), "a.test"); err != nil || !got.Anonymous() {
		t.Errorf("docker's own: %v, %v", got, err)
	}
}
