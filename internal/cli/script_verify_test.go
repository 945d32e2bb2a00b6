package cli_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

// damage remove|flip root|child|layer UPSTREAM:TAG LAYOUT harms the copy of an upstream
// image's root, first child manifest or last layer in an OCI image layout.
func (s *stage) damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: damage remove|flip root|child|layer UPSTREAM:TAG LAYOUT")
	}
	what, err := part(s.walk(ts, s.upstream.direct, args[2], ""), args[1])
	ts.Check(err)
	file := filepath.Join(ts.MkAbs(args[3]), "blobs/sha256", what)
	if args[0] == "remove" {
		ts.Check(os.Remove(file))
		return
	}
	raw, err := os.ReadFile(file)
	ts.Check(err)
	raw[len(raw)/2] ^= 1
	ts.Check(os.WriteFile(file, raw, 0o600))
}

// part is the hex digest of a part of an image.
func part(image walker.Report, name string) (string, error) {
	switch name {
	case "root":
		return image.Root.Encoded(), nil
	case "child":
		return image.Manifests[1].Digest.Encoded(), nil
	case "layer":
		return image.Blobs[len(image.Blobs)-1].Digest.Encoded(), nil
	}
	return "", fmt.Errorf("an image has no %q", name)
}
