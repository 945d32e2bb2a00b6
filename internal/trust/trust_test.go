package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	imagetypes "go.podman.io/image/v5/types"
	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/library"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, ecrlocaltest.IgnoreRegistryGoroutine())
}

const someDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// file writes a policy.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// judgeOf reads a policy. No image is to be opened where open is nil.
func judgeOf(t *testing.T, text string, open OpenImage) *Judge {
	t.Helper()
	if open == nil {
		open = func(context.Context, ref.Reference) (imagetypes.ImageSource, error) {
			t.Error("an image was opened that no requirement looks into")
			return nil, errors.New("not to be opened")
		}
	}
	j, err := ReadFile(file(t, text), open, nil)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// refused fails the test unless err is a refusal.
func refused(t *testing.T, err error) {
	t.Helper()
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || !errors.Is(err, failure.ErrForbidden) || !failure.ForPerson(err) {
		t.Fatalf("got %v, want a refusal", err)
	}
	if !strings.HasPrefix(err.Error(), "trust policy refuses it: ") || refusal.Err == nil {
		t.Errorf("refusal %q", err)
	}
}

const (
	accept = `[{"type":"insecureAcceptAnything"}]`
	reject = `[{"type":"reject"}]`
)

func TestScopes(t *testing.T) {
	scoped := `{"default":` + reject + `,"transports":{"docker":{
		"docker.io/library/nginx":` + accept + `,
		"quay.io/org":` + accept + `,
		"quay.io/org/bad":` + reject + `,
		"ghcr.io/x/y:1.0":` + accept + `,
		"*.example.com":` + accept + `},
		"atomic":{"":` + accept + `}}}`
	tests := []struct {
		policy, image string
		allowed       bool
	}{
		{`{"default":` + accept + `}`, "nginx:1", true},
		{`{"default":` + reject + `}`, "nginx:1", false},
		{scoped, "nginx:1.27", true},
		{scoped, "docker.io/library/nginx@" + someDigest, true},
		{scoped, "redis:1", false},
		{scoped, "quay.io/org/app:1", true},
		{scoped, "quay.io/org/bad:1", false},
		{scoped, "quay.io/other/app:1", false},
		{scoped, "ghcr.io/x/y:1.0", true},
		{scoped, "ghcr.io/x/y:1.1", false},
		{scoped, "registry.example.com/app:1", true},
		{scoped, "example.com/app:1", false},
	}
	for _, test := range tests {
		t.Run(test.image, func(t *testing.T) {
			r := ref.MustParse(test.image)
			r.Digest = someDigest
			err := judgeOf(t, test.policy, nil).Allow(t.Context(), r)
			if test.allowed && err != nil {
				t.Errorf("got %v", err)
			}
			if !test.allowed {
				refused(t, err)
			}
		})
	}
}

// What was pinned to a digest is known by its digest: a rule about a tag of that name
// says nothing about it.
func TestIdentity(t *testing.T) {
	policy := `{"default":` + reject + `,"transports":{"docker":{"quay.io/app:1":` + accept + `}}}`
	tagged, pinned := ref.MustParse("quay.io/app:1"), ref.MustParse("quay.io/app@"+someDigest)
	tagged.Digest = someDigest
	if err := judgeOf(t, policy, nil).Allow(t.Context(), tagged); err != nil {
		t.Errorf("by its tag: %v", err)
	}
	refused(t, judgeOf(t, policy, nil).Allow(t.Context(), pinned))
}

func TestAcceptAll(t *testing.T) {
	if err := AcceptAll().Allow(t.Context(), ref.MustParse("quay.io/app@"+someDigest)); err != nil {
		t.Error(err)
	}
}

// elsewhere is a system that is empty but for what is put under its root.
func elsewhere(t *testing.T) (sys *imagetypes.SystemContext, root string) {
	t.Helper()
	root = t.TempDir()
	t.Setenv("HOME", root)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(root, "config"))
	t.Setenv("CONTAINERS_POLICY_JSON", "")
	return &imagetypes.SystemContext{RootForImplicitAbsolutePaths: root}, root
}

func TestNoPolicy(t *testing.T) {
	sys, _ := elsewhere(t)
	j, err := read(sys, nil)
	if !errors.Is(err, ErrNoPolicy) || j != nil {
		t.Fatalf("got %v, %v", j, err)
	}
	for _, choice := range []string{"--policy FILE", "--insecure-policy"} {
		if !strings.Contains(err.Error(), choice) {
			t.Errorf("%q does not say %s", err, choice)
		}
	}
}

func TestSystemPolicy(t *testing.T) {
	sys, root := elsewhere(t)
	path := filepath.Join(root, "etc", "containers", "policy.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"default":`+reject+`}`), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := read(sys, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := ref.MustParse("nginx:1")
	r.Digest = someDigest
	refused(t, j.Allow(t.Context(), r))

	// A system policy with a typing error was called no policy at all, with the advice
	// to choose one: whoever followed it lost the policy they had.
	if err := os.WriteFile(path, []byte(`{"default":[`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(sys, nil); err == nil || errors.Is(err, ErrNoPolicy) || !strings.Contains(err.Error(), path) {
		t.Errorf("a malformed system policy: %v", err)
	}
}

func TestMalformedPolicies(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            ``,
		"no JSON":          `accept everything`,
		"no default":       `{}`,
		"empty default":    `{"default":[]}`,
		"unknown type":     `{"default":[{"type":"trustMe"}]}`,
		"unknown field":    `{"default":` + accept + `,"extra":1}`,
		"signedBy nothing": `{"default":[{"type":"signedBy"}]}`,
	} {
		if j, err := ReadFile(file(t, text), nil, nil); err == nil || errors.Is(err, ErrNoPolicy) || j != nil {
			t.Errorf("%s: got %v, %v", name, j, err)
		}
	}
	absent := filepath.Join(t.TempDir(), "absent.json")
	if _, err := ReadFile(absent, nil, nil); !errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrNoPolicy) || !strings.Contains(err.Error(), absent) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// publicKey is one that has signed nothing.
func publicKey(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// Policies that ask for signatures fail closed on an image that has none, read over the
// library's own source from a real registry; and what they refuse in the same breath
// does not hide what another scope accepts.
func TestSignaturesAreMissed(t *testing.T) {
	faults.Covers(t, "F103")
	up := ecrlocaltest.StartRegistry(t)
	node := imagetest.Image(ref.Platform{OS: "linux", Architecture: "amd64"})
	for _, repo := range []string{"signed/app", "free/app"} {
		if _, err := imagetest.Push(t.Context(), nil, up.URL, repo, "1", node); err != nil {
			t.Fatal(err)
		}
	}
	key := base64.StdEncoding.EncodeToString(publicKey(t))
	for name, requirement := range map[string]string{
		"signedBy":       `{"type":"signedBy","keyType":"GPGKeys","keyData":"` + key + `"}`,
		"sigstoreSigned": `{"type":"sigstoreSigned","keyData":"` + key + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			policy := fmt.Sprintf(`{"default":%s,"transports":{"docker":{"%s/signed":[%s]}}}`, accept, up.Host, requirement)
			judge := judgeOf(t, policy, func(ctx context.Context, r ref.Reference) (imagetypes.ImageSource, error) {
				r.Tag = ""
				return library.OpenImage(ctx, r, library.Options{Settings: func(string) registry.Settings { return registry.Settings{Security: registry.Insecure} }})
			})
			r := ref.Reference{Repository: ref.Repository{Host: up.Host, Path: "signed/app"}, Tag: "1", Digest: node.Digest()}
			refused(t, judge.Allow(t.Context(), r))
			r.Repository.Path = "free/app"
			if err := judge.Allow(t.Context(), r); err != nil {
				t.Errorf("the accepted scope: %v", err)
			}
		})
	}
}

// An image that could not be looked at is neither allowed nor refused: the next run may
// say more.
func TestNotJudged(t *testing.T) {
	cut := errors.New("connection reset")
	policy := `{"default":[{"type":"sigstoreSigned","keyData":"` + base64.StdEncoding.EncodeToString(publicKey(t)) + `"}]}`
	open := map[string]OpenImage{
		"not opened": func(context.Context, ref.Reference) (imagetypes.ImageSource, error) { return nil, cut },
		"not read": func(_ context.Context, r ref.Reference) (imagetypes.ImageSource, error) {
			name, err := library.Name(r)
			return broken{nothing{name}, cut}, err
		},
	}
	for name, open := range open {
		t.Run(name, func(t *testing.T) {
			r := ref.MustParse("quay.io/app:1")
			r.Digest = someDigest
			err := judgeOf(t, policy, open).Allow(t.Context(), r)
			if !errors.Is(err, cut) || errors.Is(err, failure.ErrForbidden) || !strings.Contains(err.Error(), "judging quay.io/app:1@") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// broken is an image whose signatures cannot be read.
type broken struct {
	nothing
	err error
}

func (b broken) GetSignatures(context.Context, *ref.Digest) ([][]byte, error) { return nil, b.err }

// A policy taken for one that needs no signatures, and that needs them after all, allows
// nothing.
func TestNothingIsNotSigned(t *testing.T) {
	j := judgeOf(t, `{"default":[{"type":"sigstoreSigned","keyData":"`+base64.StdEncoding.EncodeToString(publicKey(t))+`"}]}`, nil)
	j.signatures = false
	r := ref.MustParse("quay.io/app:1")
	r.Digest = someDigest
	if err := j.Allow(t.Context(), r); !errors.Is(err, errNotRead) {
		t.Errorf("got %v", err)
	}
}

func TestNeedsSignatures(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(publicKey(t))
	signed := `[{"type":"sigstoreSigned","keyData":"` + key + `"}]`
	for text, want := range map[string]bool{
		`{"default":` + accept + `}`: false,
		`{"default":` + reject + `}`: false,
		`{"default":` + signed + `}`: true,
		`{"default":` + reject + `,"transports":{"docker":{"quay.io":` + accept + `}}}`:                                                         false,
		`{"default":` + reject + `,"transports":{"docker":{"quay.io":` + signed + `}}}`:                                                         true,
		`{"default":` + reject + `,"transports":{"docker":{"quay.io":[{"type":"insecureAcceptAnything"},` + strings.Trim(signed, "[]") + `]}}}`: true,
	} {
		open := func(context.Context, ref.Reference) (imagetypes.ImageSource, error) {
			return nil, errors.New("not opened")
		}
		if got := judgeOf(t, text, open).signatures; got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

// The library's own policy context cannot be shared; ours is.
func TestConcurrentJudging(t *testing.T) {
	j := judgeOf(t, `{"default":`+reject+`,"transports":{"docker":{"quay.io":`+accept+`}}}`, nil)
	var g sync.WaitGroup
	for i := range 50 {
		g.Go(func() {
			host := []string{"quay.io", "ghcr.io"}[i%2]
			err := j.Allow(t.Context(), ref.MustParse(host+"/app@"+someDigest))
			if (err == nil) != (host == "quay.io") {
				t.Errorf("%s: %v", host, err)
			}
		})
	}
	g.Wait()
}
