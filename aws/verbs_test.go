package aws_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Each verb does nothing that its policies do not allow: what the local ECR was asked is
// held against them.
func TestEachVerbNeedsNoMoreThanItsPolicies(t *testing.T) {
	// The program's log takes in that of the servers, which go on after it.
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	upstream := ecrlocaltest.StartRegistry(t)
	for _, tag := range []string{"1.0", "1.1"} {
		image := imagetest.Image(ref.Platform{OS: "linux", Architecture: "amd64"}, imagetest.Layer("base", 3000), imagetest.Layer(tag, 3000))
		if _, err := imagetest.Push(t.Context(), nil, upstream.URL, "org/app", tag, imagetest.Index(image)); err != nil {
			t.Fatal(err)
		}
	}
	local := ecrlocaltest.Start(t)
	home := t.TempDir()
	for _, pair := range append(local.Env(), "HOME="+home, "XDG_RUNTIME_DIR="+home,
		"AWS_CONFIG_FILE="+filepath.Join(home, "config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(home, "credentials")) {
		key, value, _ := strings.Cut(pair, "=")
		t.Setenv(key, value)
	}
	tags := map[string]string{"upstream-image": upstream.Host + "/org/app", "upstream-tags": "1.+"}
	if err := local.CreateRepository("tagged/app", ecrlocal.RepositoryOptions{Tags: tags}); err != nil {
		t.Fatal(err)
	}
	if err := local.CreateRepository("copies/app", ecrlocal.RepositoryOptions{}); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(home, "mirrors.yaml")
	text := fmt.Sprintf(`apiVersion: ecr-mirror-sync.io/v1alpha1
mirrors:
  - name: made
    from: %s/org/app
    to: %s/made/app
    tags: ["1.0"]
    repositories:
      create: true
      reconcile: apply
      scanOnPush: true
      resourceTags: {team: platform}
`, upstream.Host, local.Host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		args     []string
		policies []string
		has      string // an action that the verb cannot do without
	}{
		{"list", []string{"list"}, []string{"list"}, "tag:GetResources"},
		{"list without the tagging API", []string{"list", "--discover-with", "ecr"}, []string{"list"}, "ecr:ListTagsForResource"},
		{"dry run", []string{"sync", "--insecure-policy", "--dry-run"}, []string{"list"}, "ecr:ListImages"},
		{"sync", []string{"sync", "--insecure-policy"}, []string{"sync"}, "ecr:PutImage"},
		{"sync again", []string{"sync", "--insecure-policy", "--recheck"}, []string{"sync"}, "ecr:ListImages"},
		{"copy", []string{"copy", "-s", upstream.Host + "/org/app:1.0", "-d", local.Host + "/copies/app", "--insecure-policy"}, []string{"copy"}, "ecr:PutImage"},
		{"ECR as upstream", []string{"copy", "-s", local.Host + "/copies/app:1.0", "-d", "oci:" + home + "/layout", "--insecure-policy"}, []string{"source"}, "ecr:GetDownloadUrlForLayer"},
		{"create and reconcile", []string{"sync", "--config", config, "--insecure-policy"}, []string{"sync", "create", "reconcile"}, "ecr:CreateRepository"},
		{"track", []string{"track", "copies/app", "--image", upstream.Host + "/org/app", "--tags", "1.0", "--apply"}, []string{"track"}, "ecr:TagResource"},
		{"untrack", []string{"untrack", "copies/app", "--apply"}, []string{"track"}, "ecr:UntagResource"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			local.ResetJournal()
			out, err := os.Create(filepath.Join(t.TempDir(), "out"))
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			if code := cli.Main(tt.args, cli.Streams{In: strings.NewReader(""), Out: out, Err: log}); code != 0 {
				said, _ := os.ReadFile(out.Name())
				why, _ := os.ReadFile(log.Name())
				t.Fatalf("%v ended with %d\n%s%s", tt.args, code, said, why)
			}
			allowed := make(map[string]bool)
			for _, name := range tt.policies {
				for _, s := range read(t, "iam-policy-"+name+".json").Statement {
					for _, action := range s.Action {
						allowed[action] = true
					}
				}
			}
			asked := actionsOf(t, local.Journal())
			for action, op := range asked {
				if !allowed[action] {
					t.Errorf("%s asked for %s, which %s do not allow; it asked for %v", op, action, tt.policies, slices.Sorted(maps.Keys(asked)))
				}
			}
			if asked[tt.has] == "" {
				t.Errorf("it did not ask for %s, but for %v", tt.has, slices.Sorted(maps.Keys(asked)))
			}
		})
	}
}

// actionsOf returns the actions that requests need, and an operation that needs each. To
// the registry each request is the twin of a call of the API.
func actionsOf(t *testing.T, journal []ecrlocal.Entry) map[string]string {
	t.Helper()
	twins := map[string]string{
		"ping": "", "manifest-head": "BatchGetImage", "manifest-get": "BatchGetImage", "manifest-put": "PutImage",
		"tags-list": "ListImages", "referrers": "ListImageReferrers", "manifest-delete": "BatchDeleteImage",
		"blob-head": "BatchCheckLayerAvailability", "blob-get": "GetDownloadUrlForLayer", "blob-download": "",
		"mount": "InitiateLayerUpload", "upload-post": "InitiateLayerUpload", "upload-patch": "UploadLayerPart",
		"upload-get": "UploadLayerPart", "upload-put": "CompleteLayerUpload",
	}
	actions := make(map[string]string)
	for _, e := range journal {
		action := e.Op
		if e.Plane == ecrlocal.PlaneRegistry {
			var known bool
			if action, known = twins[e.Op]; !known {
				t.Errorf("nobody knows what %s %s needs", e.Method, e.Path)
			}
		}
		switch action {
		case "", "GetCallerIdentity":
		case "GetResources":
			actions["tag:"+action] = e.Op
		default:
			actions["ecr:"+action] = e.Op
		}
	}
	return actions
}
