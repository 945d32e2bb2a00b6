package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

var platforms = []ref.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}

// fillUpstream pushes this program's own image, built for both platforms, and a few
// made ones that share a base layer.
func (s *stage) fillUpstream(ctx context.Context) error {
	own, err := s.ownImage(ctx)
	if err != nil {
		return err
	}
	images := map[string]imagetest.Node{
		"platform/ecr-mirror-sync:0.1.0": own,
		"library/web:1.26.3":             web("1.26.3"),
		"library/web:1.27.0":             web("1.27.0"),
		"library/web:1.27.1":             web("1.27.1"),
		"library/web:1.27.1-rc.1":        web("1.27.1-rc.1"),
		"library/web:stable":             web("1.27.0"),
		"library/cache:7":                dockerCache(),
	}
	for _, name := range slices.Sorted(maps.Keys(images)) {
		if err := s.push(ctx, name, images[name]); err != nil {
			return err
		}
	}
	s.printf("\n")
	return nil
}

func (s *stage) push(ctx context.Context, name string, image imagetest.Node) error {
	repo, tag, _ := strings.Cut(name, ":")
	digest, err := imagetest.Push(ctx, nil, "http://"+s.upstream, repo, tag, image)
	if err != nil {
		return fmt.Errorf("pushing %s: %w", name, err)
	}
	s.printf("  pushed %s/%s  %s\n", s.upstream, name, digest.Encoded()[:12])
	return nil
}

// ownImage builds the program for each platform and wraps it as docker/Dockerfile
// does.
func (s *stage) ownImage(ctx context.Context) (imagetest.Node, error) {
	var images []imagetest.Node
	for _, p := range platforms {
		binary := filepath.Join(s.dir, p.Architecture, "ecr-mirror-sync")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", //nolint:gosec // the demo's own arguments
			"-tags", "containers_image_openpgp,exclude_graphdriver_btrfs", "-o", binary, "./cmd/ecr-mirror-sync")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture)
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return imagetest.Node{}, fmt.Errorf("building for %s: %w", p, err)
		}
		image, err := imagetest.ExecutableImage(binary, p, nil)
		if err != nil {
			return imagetest.Node{}, fmt.Errorf("image for %s: %w", p, err)
		}
		images = append(images, image)
	}
	return imagetest.Index(images...), nil
}

// web is an image for both platforms whose versions share their largest layer.
func web(version string) imagetest.Node {
	var images []imagetest.Node
	for _, p := range platforms {
		images = append(images, imagetest.Image(p,
			imagetest.Layer("base for "+p.String(), 4<<20),
			imagetest.TarLayer(map[string]string{"version": version}),
		))
	}
	return imagetest.Index(images...)
}

// dockerCache is an image in Docker's own formats.
func dockerCache() imagetest.Node {
	var images []imagetest.Node
	for _, p := range platforms {
		images = append(images, imagetest.DockerImage(p, imagetest.Layer("cache for "+p.String(), 1<<20)))
	}
	return imagetest.DockerIndex(images...)
}

// moveStable lets upstream's tag stable point at another version.
func (s *stage) moveStable(ctx context.Context) error {
	defer s.printf("\n")
	return s.push(ctx, "library/web:stable", web("1.27.1"))
}

// repositories are what the local ECR holds, by their resource tags.
func (s *stage) repositories() map[string]map[string]string {
	return map[string]map[string]string{
		"external/web": {
			"upstream-image": s.upstream + "/library/web",
			"upstream-tags":  "stable/1.27.+/-+-rc+",
		},
		"external/cache": {
			"upstream-image": s.upstream + "/library/cache",
			"upstream-tags":  "7",
		},
		"platform/ecr-mirror-sync": {
			"upstream-image": s.upstream + "/platform/ecr-mirror-sync",
			"upstream-tags":  "semver:0.x",
		},
		"external/mistake": {
			"upstream-image": s.upstream + "/library/web:1.27.1",
			"upstream-tags":  "1.27.1",
		},
	}
}

func (s *stage) createRepositories(ctx context.Context) error {
	all := s.repositories()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out, err := s.api.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String(name), Tags: resourceTags(all[name])})
		if err != nil {
			return fmt.Errorf("creating %s: %w", name, err)
		}
		s.printf("  created %s  %v\n", aws.ToString(out.Repository.RepositoryUri), all[name])
	}
	s.printf("\n")
	return nil
}

// correct takes the tag out of the upstream image it does not belong in.
func (s *stage) correct(ctx context.Context) error {
	_, err := s.api.TagResource(ctx, &ecr.TagResourceInput{
		ResourceArn: aws.String(fmt.Sprintf("arn:aws:ecr:%s:%s:repository/external/mistake", region, s.account)),
		Tags:        resourceTags(map[string]string{"upstream-image": s.upstream + "/library/web"}),
	})
	return err
}

func resourceTags(values map[string]string) []types.Tag {
	var tags []types.Tag
	for key, value := range values {
		tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	return tags
}
