package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
)

// Real registries take part where a repository of theirs is named that may be written to,
// and this machine is somebody to them. docs/testing-with-real-clouds.md says how.
func TestRealClouds(t *testing.T) {
	for _, variable := range []string{"ECR_MIRROR_SYNC_TEST_GOOGLE", "ECR_MIRROR_SYNC_TEST_AZURE"} {
		t.Run(variable, func(t *testing.T) {
			repository := os.Getenv(variable)
			if repository == "" {
				t.Skipf("%s names no repository to write to, see docs/testing-with-real-clouds.md", variable)
			}
			node, err := image("index", time.Now().String()) // new to the registry
			if err != nil {
				t.Fatal(err)
			}
			from, back := ecrlocaltest.StartRegistry(t), ecrlocaltest.StartRegistry(t)
			if _, err := imagetest.Push(t.Context(), nil, from.URL, "org/app", "1", node); err != nil {
				t.Fatal(err)
			}
			here, there := strings.TrimPrefix(from.URL, "http://"), repository+":ecr-mirror-sync-test"
			again := strings.TrimPrefix(back.URL, "http://") + "/org/app:1"
			wantCopy(t, here+"/org/app:1", there, "copied")
			wantCopy(t, here+"/org/app:1", there, "in sync")
			wantCopy(t, there, again, "copied")
			wantCopy(t, here+"/org/app:1", again, "in sync")
		})
	}
}

// wantCopy copies an image and insists on its status.
func wantCopy(t *testing.T, from, to, status string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "output")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	code := cli.Main([]string{"copy", "-s", from, "-d", to, "--insecure-policy"}, cli.Streams{In: os.Stdin, Out: out, Err: os.Stderr})
	said, err := os.ReadFile(path)
	if code != 0 || err != nil || !strings.Contains(string(said), status) {
		t.Fatalf("from %s to %s: exit code %d, %v\n%s", from, to, code, err, said)
	}
}
