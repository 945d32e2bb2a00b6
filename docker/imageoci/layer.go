package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	containerimage "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer is the layer that one COPY makes, from the directory that it reads from. The
// same files make the same bytes: owner, time and permissions are not those on disk,
// but for the bits that say that a file is a program or a directory is sticky.
func layer(c Copy, root string, created time.Time) (containerimage.Layer, error) {
	b := builder{created: created, made: map[string]bool{}}
	b.archive = tar.NewWriter(&b.content)
	source := filepath.Join(root, filepath.FromSlash(c.Source))
	var err error
	if strings.HasSuffix(c.Source, "/") {
		err = b.addTree(source, c.Target)
	} else {
		err = b.addFile(source, c.Target)
	}
	if err = errors.Join(err, b.archive.Close()); err != nil {
		return nil, fmt.Errorf("COPY %s: %w", c.Source, err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.content.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression))
}

// builder writes a layer's archive.
type builder struct {
	content bytes.Buffer
	archive *tar.Writer
	created time.Time
	made    map[string]bool // directories
}

// addTree adds what is in a directory. Walking is in the order of names.
func (b *builder) addTree(source, target string) error {
	return filepath.WalkDir(source, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == source {
			return err
		}
		below, err := filepath.Rel(source, name)
		if err != nil {
			return err
		}
		at := path.Join(target, filepath.ToSlash(below))
		if !entry.IsDir() {
			return b.addFile(name, at)
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return b.addDirectory(at, info.Mode())
	})
}

// addFile adds a regular file, and the directories above it.
func (b *builder) addFile(source, target string) error {
	info, err := os.Lstat(source)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", source)
	}
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	if err := b.addDirectory(path.Dir(target), 0); err != nil {
		return err
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	header := tar.Header{Typeflag: tar.TypeReg, Name: inArchive(target), Mode: mode, Size: int64(len(content)), ModTime: b.created, Format: tar.FormatPAX}
	if err := b.archive.WriteHeader(&header); err != nil {
		return err
	}
	_, err = b.archive.Write(content)
	return err
}

// addDirectory adds a directory, and those above it, unless it is there.
func (b *builder) addDirectory(target string, mode fs.FileMode) error {
	if target == "/" || b.made[target] {
		return nil
	}
	if err := b.addDirectory(path.Dir(target), 0); err != nil {
		return err
	}
	b.made[target] = true
	header := tar.Header{Typeflag: tar.TypeDir, Name: inArchive(target) + "/", Mode: 0o755, ModTime: b.created, Format: tar.FormatPAX}
	if mode&fs.ModeSticky != 0 {
		header.Mode = 0o1777
	}
	return b.archive.WriteHeader(&header)
}

// inArchive is a path as archives write it: from the root, without a slash before it.
func inArchive(target string) string { return strings.TrimPrefix(path.Clean(target), "/") }
