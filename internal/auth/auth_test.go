package auth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

const hidden = "hunter2"

func TestASecretIsNeverPrinted(t *testing.T) {
	cred := auth.Credential{Username: "someone", Password: hidden, IdentityToken: hidden, RegistryToken: hidden}
	values := map[string]any{
		"secret": auth.Secret(hidden), "pointer": new(auth.Secret(hidden)), "credential": cred, "pointer to one": &cred,
		"list": []auth.Secret{hidden}, "map": map[string]auth.Secret{"x": hidden}, "nested": struct{ C auth.Credential }{cred},
	}
	for name, v := range values {
		// %d is not a verb for strings: fmt complains of it and quotes the value.
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10s"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, hidden) || strings.Contains(got, "68756e746572") {
				t.Errorf("%s of a %s prints %s", verb, name, got)
			}
		}
		for format, marshal := range map[string]func(any) ([]byte, error){"JSON": json.Marshal, "YAML": yaml.Marshal} {
			got, err := marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(got, []byte(hidden)) {
				t.Errorf("%s of a %s is %s", format, name, got)
			}
		}
	}
}

func TestASecretIsNeverLogged(t *testing.T) {
	cred := auth.Credential{Username: "someone", Password: hidden, IdentityToken: hidden, RegistryToken: hidden}
	for name, config := range map[string]func(zapcore.EncoderConfig) zapcore.Encoder{"JSON": zapcore.NewJSONEncoder, "console": zapcore.NewConsoleEncoder} {
		var out bytes.Buffer
		log := zap.New(zapcore.NewCore(config(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(&out), zap.DebugLevel))
		log.Info("x", zap.Object("object", cred), zap.Any("any", cred), zap.Reflect("reflected", cred),
			zap.Any("secret", cred.Password), zap.Stringer("stringer", cred.Password), zap.Any("list", []auth.Secret{hidden}))
		log.Sugar().Infof("%v %+v %#v", cred, cred, cred)
		log.Sugar().Infow("x", "cred", cred, "secret", cred.Password)
		if strings.Contains(out.String(), hidden) {
			t.Errorf("%s: %s", name, out.String())
		}
		if !strings.Contains(out.String(), "someone") {
			t.Errorf("%s does not say who: %s", name, out.String())
		}
	}
}

func TestReveal(t *testing.T) {
	if got := auth.Secret(hidden).Reveal(); got != hidden {
		t.Errorf("Reveal = %q", got)
	}
	if got := auth.Secret("").String(); got != "" {
		t.Errorf("the empty secret prints %q: nothing is hidden", got)
	}
	if !(auth.Credential{}).Anonymous() || (auth.Credential{RegistryToken: "x"}).Anonymous() {
		t.Error("Anonymous")
	}
}

type broken struct{ auth.Anonymous }

var errBroken = errors.New("broken")

func (broken) Credential(context.Context, string) (auth.Credential, error) {
	return auth.Credential{}, errBroken
}

type listening struct {
	auth.Anonymous
	heard []string
}

func (l *listening) Refused(host string, c auth.Credential) {
	l.heard = append(l.heard, host+" "+c.Username)
}

func TestChain(t *testing.T) {
	one, two := auth.Credential{Username: "one"}, auth.Credential{Username: "two"}
	heard := &listening{}
	chain := auth.Chain{heard, auth.Static{"a.test": one}, auth.Static{"a.test": two, "b.test": two}}
	for host, want := range map[string]auth.Credential{"a.test": one, "b.test": two, "c.test": {}, "a.test:443": {}, "sub.a.test": {}} {
		if got, err := chain.Credential(t.Context(), host); err != nil || got != want {
			t.Errorf("Credential(%s) = %v, %v", host, got, err)
		}
	}
	chain.Refused("a.test", one)
	if diff := cmp.Diff([]string{"a.test one"}, heard.heard); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// A provider that cannot say must not be passed over for one that guesses.
	_, err := auth.Chain{broken{}, auth.Static{"a.test": one}}.Credential(t.Context(), "a.test")
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "a.test") {
		t.Errorf("error %v", err)
	}
	_, err = auth.Chain{auth.Static{"a.test": one}, broken{}}.Credential(t.Context(), "a.test")
	if err != nil {
		t.Errorf("asked further than needed: %v", err)
	}
}

// What is said of a host holds, also where it is anonymity: an operator who writes none
// means it.
func TestByHost(t *testing.T) {
	one, two := auth.Credential{Username: "one"}, auth.Credential{Username: "two"}
	named, rest := &listening{}, &listening{}
	by := auth.ByHost{
		Hosts: map[string]auth.Provider{"a.test": auth.Static{"a.test": one}, "none.test": auth.Anonymous{}, "heard.test": named},
		Rest:  auth.Chain{rest, auth.Static{"a.test": two, "none.test": two, "b.test": two}},
	}
	for host, want := range map[string]auth.Credential{"a.test": one, "none.test": {}, "b.test": two, "c.test": {}} {
		if got, err := by.Credential(t.Context(), host); err != nil || got != want {
			t.Errorf("Credential(%s) = %v, %v", host, got, err)
		}
	}
	by.Refused("heard.test", one)
	by.Refused("b.test", two)
	if diff := cmp.Diff([][]string{{"heard.test one"}, {"b.test two"}}, [][]string{named.heard, rest.heard}); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func entry(userPassword string) string {
	return base64.StdEncoding.EncodeToString([]byte(userPassword))
}

func TestFile(t *testing.T) {
	file, err := auth.OpenFile(write(t, `{"auths":{
		"quay.io":                     {"auth":"`+entry("q:pw")+`"},
		"registry.test:5000":          {"auth":"`+entry("r:with:colons")+`"},
		"https://index.docker.io/v1/": {"auth":"`+entry("d:pw")+`"},
		"token.test":                  {"auth":"`+entry("<token>:")+`","identitytoken":"refresh"},
		"empty.test":                  {}
	}}`))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]auth.Credential{
		"quay.io":            {Username: "q", Password: "pw"},
		"registry.test:5000": {Username: "r", Password: "with:colons"},
		"registry.test":      {},
		"docker.io":          {Username: "d", Password: "pw"},
		"token.test":         {Username: "<token>", IdentityToken: "refresh"},
		"empty.test":         {},
		"evil.quay.io":       {},
		"quay.io.evil.test":  {},
	} {
		if got, err := file.Credential(t.Context(), host); err != nil || got != want {
			t.Errorf("Credential(%s) = %v, %v; want %v", host, got, err, want)
		}
	}
}

// The library beneath takes a missing file for an empty one, and an entry it cannot read
// for none: a mistyped path silently meant anonymity.
func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{
		"missing":        filepath.Join(dir, "none.json"),
		"a directory":    dir,
		"empty":          write(t, ""),
		"no JSON":        write(t, `{"auths":`),
		"another shape":  write(t, `["auths"]`),
		"something else": write(t, `{"name":"package","version":"1.0.0"}`),
		"no base64":      write(t, `{"auths":{"a.test":{"auth":"!`+hidden+`"}}}`),
		"no colon":       write(t, `{"auths":{"a.test":{"auth":"`+entry(hidden)+`"}}}`),
	} {
		_, err := auth.OpenFile(path)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %q does not name the file", name, err)
		}
		if strings.Contains(err.Error(), hidden) || strings.Contains(err.Error(), entry(hidden)) {
			t.Errorf("%s: error %q quotes the entry", name, err)
		}
	}
	for name, text := range map[string]string{"logged out": `{"auths":{}}`, "a store": `{"auths":{"a.test":{}},"credsStore":"desktop"}`, "a store beside an entry": `{"auths":{"a.test":{"auth":"` + entry("a:b") + `"}},"credsStore":"desktop"}`} {
		if _, err := auth.OpenFile(write(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	faults.Covers(t, "F72")
}

func TestAFileThatVanishes(t *testing.T) {
	path := write(t, `{"auths":{"a.test":{"auth":"`+entry("a:old")+`"}}}`)
	file, err := auth.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"auths":{"a.test":{"auth":"`+entry("a:new")+`"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := file.Credential(t.Context(), "a.test"); err != nil || got.Password != "new" {
		t.Errorf("the file is not read again: %q, %v", got.Password.Reveal(), err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got, err := file.Credential(t.Context(), "a.test"); err == nil {
		t.Errorf("a missing file gives %v", got)
	}
}

func TestDefaultFiles(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "none"))
	t.Setenv("XDG_RUNTIME_DIR", home)
	t.Setenv("REGISTRY_AUTH_FILE", "")
	if got, err := auth.DefaultFiles().Credential(t.Context(), "a.test"); err != nil || !got.Anonymous() {
		t.Errorf("without files: %v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(`{"auths":{"a.test":{"auth":"`+entry("a:pw")+`"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := auth.DefaultFiles().Credential(t.Context(), "a.test"); err != nil || got.Username != "a" {
		t.Errorf("docker's file: %v, %v", got, err)
	}
}
