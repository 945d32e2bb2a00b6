package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	containerimage "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Options say what to build.
type Options struct {
	Recipe    Recipe
	Args      map[string]string // for the ARGs of the recipe
	Context   string            // directory that COPY reads from
	Stages    string            // directory that holds STAGE/OS-ARCHITECTURE for COPY --from=STAGE
	Platforms []string          // OS/ARCHITECTURE
	Tag       string
	Created   time.Time // of everything
}

// Built is a multi-platform image that is not written yet.
type Built struct {
	tag   string
	index containerimage.ImageIndex
}

// Build makes the image. The same Options and the same files make the same bytes, as
// long as the Go version, whose gzip compresses the layers, is the same.
func Build(o Options) (Built, error) {
	labels, err := o.Recipe.Expand(o.Args)
	if err != nil {
		return Built{}, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, name := range o.Platforms {
		image, platform, err := o.image(name, labels)
		if err != nil {
			return Built{}, fmt.Errorf("%s: %w", name, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: containerimage.Descriptor{Platform: platform}})
	}
	return Built{tag: o.Tag, index: index}, nil
}

// image makes the image for one platform, a layer for each COPY.
func (o Options) image(name string, labels map[string]string) (containerimage.Image, *containerimage.Platform, error) {
	platform, err := containerimage.ParsePlatform(name)
	if err != nil {
		return nil, nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, c := range o.Recipe.Copies {
		content, err := layer(c, o.root(c, name), o.Created)
		if err != nil {
			return nil, nil, err
		}
		history := containerimage.History{Created: containerimage.Time{Time: o.Created}, CreatedBy: "COPY " + c.Source + " " + c.Target}
		if image, err = mutate.Append(image, mutate.Addendum{Layer: content, History: history}); err != nil {
			return nil, nil, err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.Created = containerimage.Time{Time: o.Created}
	config.Config = containerimage.Config{
		User: o.Recipe.User, Entrypoint: o.Recipe.Entrypoint, Labels: labels, WorkingDir: "/",
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, // as Docker's builder has it
	}
	image, err = mutate.ConfigFile(image, config)
	return image, platform, err
}

// root is the directory that a COPY reads from.
func (o Options) root(c Copy, platform string) string {
	if c.Stage == "" {
		return o.Context
	}
	return filepath.Join(o.Stages, c.Stage, strings.ReplaceAll(platform, "/", "-"))
}

// Write writes the image as a layout, over the layout that may be there. A directory
// that holds something else stays as it is.
func (b Built) Write(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		if _, err := layout.FromPath(dir); err != nil {
			return fmt.Errorf("%s holds something that is no image layout: choose another directory", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	written, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return written.AppendIndex(b.index, layout.WithAnnotations(map[string]string{imagespec.AnnotationRefName: b.tag}))
}

// Describe prints the digest of the image, and for each platform how much there is to
// download.
func (b Built) Describe(w io.Writer) error {
	digest, err := b.index.Digest()
	if err != nil {
		return err
	}
	manifest, err := b.index.IndexManifest()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s %s\n", b.tag, digest)
	for _, child := range manifest.Manifests {
		image, err := b.index.Image(child.Digest)
		if err != nil {
			return err
		}
		content, err := image.Manifest()
		if err != nil {
			return err
		}
		size := child.Size + content.Config.Size
		for _, l := range content.Layers {
			size += l.Size
		}
		fmt.Fprintf(w, "%s %d bytes compressed, %d layers\n", child.Platform, size, len(content.Layers))
	}
	return nil
}
