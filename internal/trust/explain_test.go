package trust

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/library"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

const trustPage = "../../docs/trust-policy.md"

// Every policy of the page is one.
func TestPoliciesInDocs(t *testing.T) {
	page, err := os.ReadFile(trustPage)
	if err != nil {
		t.Fatal(err)
	}
	policies := strings.Split(string(page), "```json\n")[1:]
	if len(policies) < 5 {
		t.Errorf("%d policies", len(policies))
	}
	for i, rest := range policies {
		text, _, _ := strings.Cut(rest, "```\n")
		if _, err := ReadFile(file(t, text), nil, nil); err != nil {
			t.Errorf("policy %d: %v\n%s", i+1, err, text)
		}
	}
}

// A refusal names the rule and the first requirement of it that is not met.
func TestRefusalsNameTheRequirement(t *testing.T) {
	up := ecrlocaltest.StartRegistry(t)
	node := imagetest.Image(ref.Platform{OS: "linux", Architecture: "amd64"})
	if _, err := imagetest.Push(t.Context(), nil, up.URL, "org/app", "1", node); err != nil {
		t.Fatal(err)
	}
	key := base64.StdEncoding.EncodeToString(publicKey(t))
	const (
		fulcio = `{"type":"sigstoreSigned","fulcio":{"caData":"%[1]s","oidcIssuer":"https://issuer.example.com","subjectEmail":"a@example.com"},"rekorPublicKeyData":"%[1]s"}`
		byKey  = `{"type":"sigstoreSigned","keyData":"%[1]s"}`
	)
	for _, test := range []struct{ scope, requirements, says string }{
		{"/org/app:1", `{"type":"reject"}`, `rule "HOST/org/app:1", reject: `},
		{"/org/app", `{"type":"signedBy","keyType":"GPGKeys","keyData":"%[1]s"}`, `rule "HOST/org/app", signedBy: `},
		{"/org", byKey, `rule "HOST/org", sigstoreSigned with a key: A signature was required`},
		{"", fulcio, `rule "HOST", sigstoreSigned through Fulcio: A signature was required`},
		{"", `{"type":"sigstoreSigned","pki":{"caRootsData":"%[1]s","subjectEmail":"a@example.com"}}`, `rule "HOST", sigstoreSigned by a PKI: A signature was required`},
		{"", `{"type":"insecureAcceptAnything"},` + byKey + `,{"type":"reject"}`, `rule "HOST", sigstoreSigned with a key: `},
		{"all", byKey, `rule "docker", sigstoreSigned with a key: `},
		{"default", byKey, `rule "default", sigstoreSigned with a key: `},
	} {
		t.Run(test.says, func(t *testing.T) {
			requirements := "[" + test.requirements + "]"
			if strings.Contains(requirements, "%[1]s") {
				requirements = fmt.Sprintf(requirements, key)
			}
			policy := fmt.Sprintf(`{"default":%s,"transports":{"docker":{"%s":%s}}}`, accept, up.Host+test.scope, requirements)
			switch test.scope {
			case "all":
				policy = fmt.Sprintf(`{"default":%s,"transports":{"docker":{"":%s}}}`, accept, requirements)
			case "default":
				policy = fmt.Sprintf(`{"default":%s}`, requirements)
			}
			err := judgeOf(t, policy, openPlain).Allow(t.Context(), at(up.Host, node))
			refused(t, err)
			if want := strings.ReplaceAll(test.says, "HOST", up.Host); !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		})
	}
}

func openPlain(ctx context.Context, r ref.Reference) (imagetypes.ImageSource, error) {
	r.Tag = ""
	return library.OpenImage(ctx, r, library.Options{Settings: func(string) registry.Settings { return registry.Settings{Security: registry.Insecure} }})
}

func at(host string, node imagetest.Node) ref.Reference {
	return ref.Reference{Repository: ref.Repository{Host: host, Path: "org/app"}, Tag: "1", Digest: node.Digest()}
}

// A signature that is there in a form that no requirement reads is named; what is no
// signature is not.
func TestRefusalsNameUnreadSignatures(t *testing.T) {
	image := imagetest.Image(ref.Platform{OS: "linux", Architecture: "amd64"})
	fallback := strings.Replace(string(image.Digest()), ":", "-", 1)
	bundle := imagetest.Referrer(image, "application/vnd.dev.sigstore.bundle.v0.3+json", imagetest.Layer("bundle", 30))
	key := base64.StdEncoding.EncodeToString(publicKey(t))
	byKey := `{"default":[{"type":"sigstoreSigned","keyData":"` + key + `"}]}`
	tests := []struct {
		name, policy string
		tags         map[string]imagetest.Node
		says         string // "" where nothing is to be added
	}{
		{"none", byKey, nil, ""},
		{"a bundle", byKey, map[string]imagetest.Node{fallback: imagetest.Index(bundle)}, "bundle format not supported: the image is signed by the bundle " + string(bundle.Digest())},
		{"an SBOM", byKey, map[string]imagetest.Node{fallback: imagetest.Index(imagetest.Referrer(image, "application/spdx+json"))}, ""},
		{"a tag", byKey, map[string]imagetest.Node{fallback + ".sig": imagetest.Artifact("text/plain")}, "no file in registries.d says use-sigstore-attachments"},
		{"a bundle, and a rule that wants none", `{"default":[{"type":"reject"}]}`, map[string]imagetest.Node{fallback: imagetest.Index(bundle)}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir()) // no registries.d of the user's
			up := ecrlocaltest.StartRegistry(t)
			push := func(tag string, n imagetest.Node) {
				if _, err := imagetest.Push(t.Context(), nil, up.URL, "org/app", tag, n); err != nil {
					t.Fatal(err)
				}
			}
			push("1", image)
			for tag, n := range test.tags {
				push(tag, n)
			}
			client := transport.New(transport.Options{})
			defer func() {
				if err := client.Close(); err != nil {
					t.Error(err)
				}
			}()
			judge := judgeOf(t, test.policy, openPlain)
			judge.upstream = client
			err := judge.Allow(t.Context(), at(up.Host, image))
			refused(t, err)
			for _, hint := range []string{"bundle format not supported", "use-sigstore-attachments"} {
				if said := strings.Contains(err.Error(), hint); said != strings.Contains(test.says, hint) {
					t.Errorf("%q", err)
				}
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("%q does not say %q", err, test.says)
			}
			judge.upstream = deaf{}
			refused(t, judge.Allow(t.Context(), at(up.Host, image)))
		})
	}
}

// deaf is an upstream that answers nothing.
type deaf struct{}

var errDeaf = errors.New("no answer")

func (deaf) Resolve(context.Context, ref.Reference) (ref.Descriptor, error) {
	return ref.Descriptor{}, errDeaf
}

func (deaf) Referrers(context.Context, ref.Reference) ([]ref.Descriptor, error) { return nil, errDeaf }

func (deaf) Manifest(context.Context, ref.Reference) (registry.Manifest, error) {
	return registry.Manifest{}, errDeaf
}
