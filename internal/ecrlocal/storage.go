package ecrlocal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"
)

// blobStorage keeps the bytes of blobs, by repository, in distribution's storage.
type blobStorage struct {
	namespace distribution.Namespace
}

// openStorage opens the storage below dir, or one in memory when dir is "". Uploads that an
// earlier process left unfinished are removed.
func openStorage(dir string) (*blobStorage, error) {
	quietDistribution()
	var d driver.StorageDriver = inmemory.New()
	if dir != "" {
		d = filesystem.New(filesystem.DriverParameters{
			RootDirectory: filepath.Join(dir, "blobs"),
			MaxThreads:    100, // the driver's own default
		})
		if err := removeUploads(filepath.Join(dir, "blobs")); err != nil {
			return nil, fmt.Errorf("removing unfinished uploads: %w", err)
		}
	}
	namespace, err := storage.NewRegistry(context.Background(), d, storage.EnableDelete, storage.DisableDigestResumption)
	if err != nil {
		return nil, fmt.Errorf("opening the blob storage: %w", err)
	}
	return &blobStorage{namespace: namespace}, nil
}

// removeUploads removes what sessions of an earlier process left in distribution's layout.
// Its own way to do that reports every step through the global logger.
func removeUploads(root string) error {
	left, err := filepath.Glob(filepath.Join(root, "docker/registry/v2/repositories/*/*/*/_uploads"))
	for _, uploads := range left {
		err = errors.Join(err, os.RemoveAll(uploads))
	}
	return err
}

// of returns the blobs of one repository.
func (b *blobStorage) of(ctx context.Context, repo *repository) (distribution.BlobStore, error) {
	named, err := storageName(repo)
	if err != nil {
		return nil, err
	}
	stored, err := b.namespace.Repository(ctx, named)
	if err != nil {
		return nil, fmt.Errorf("opening the blobs of %s: %w", repo.Name, err)
	}
	return stored.Blobs(ctx), nil
}

func storageName(repo *repository) (reference.Named, error) {
	named, err := reference.WithName(repo.Key.Account + "/" + repo.Key.Region + "/" + repo.ID)
	if err != nil {
		return nil, fmt.Errorf("naming the blobs of %s: %w", repo.Name, err)
	}
	return named, nil
}

// size reports how many bytes the blob has, and whether repo holds it at all.
func (b *blobStorage) size(ctx context.Context, repo *repository, dgst digest.Digest) (int64, bool, error) {
	blobs, err := b.of(ctx, repo)
	if err != nil {
		return 0, false, err
	}
	desc, err := blobs.Stat(ctx, dgst)
	if errors.Is(err, distribution.ErrBlobUnknown) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("looking for blob %s: %w", dgst, err)
	}
	return desc.Size, true, nil
}

// mount makes the blob of from one of to as well, without copying it.
func (b *blobStorage) mount(ctx context.Context, from, to *repository, dgst digest.Digest) error {
	name, err := storageName(from)
	if err != nil {
		return err
	}
	source, err := reference.WithDigest(name, dgst)
	if err != nil {
		return fmt.Errorf("mounting %s: %w", dgst, err)
	}
	blobs, err := b.of(ctx, to)
	if err != nil {
		return err
	}
	writer, err := blobs.Create(ctx, storage.WithMountFrom(source))
	if _, mounted := errors.AsType[distribution.ErrBlobMounted](err); mounted {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mounting %s: %w", dgst, err)
	}
	return errors.Join(fmt.Errorf("mounting %s: the storage opened an upload", dgst), writer.Cancel(ctx))
}

// The sizes of the buffer that carries blob bytes into the storage.
const (
	firstWrite   = 64 << 10
	largestWrite = 64 << 20
)

// appendTo copies r to w in pieces that grow with what has been copied. The in-memory driver
// copies all it holds on every write, so pieces of one size would cost quadratic time. It
// returns how many bytes were written also when it fails.
func appendTo(w io.Writer, r io.Reader) (int64, error) {
	buf := make([]byte, firstWrite)
	var total int64
	for {
		n, readErr := fill(r, buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if errors.Is(readErr, io.EOF) {
			return total, nil
		}
		if readErr != nil {
			return total, readErr
		}
		if len(buf) < largestWrite {
			buf = make([]byte, 2*len(buf))
		}
	}
}

// fill reads until buf is full or r fails, and returns r's own error unchanged.
func fill(r io.Reader, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// quietDistribution silences distribution, which reports every request and every bad digest
// through logrus's standard logger and offers no other way to stop it. Only its own lines are
// dropped: they carry a field that no one else's do.
func quietDistribution() { quieten() }

// Logrus's standard logger is one per process, and so is this.
var quieten = sync.OnceFunc(func() {
	std := logrus.StandardLogger()
	std.SetFormatter(quietFormatter{std.Formatter})
})

type quietFormatter struct{ logrus.Formatter }

// Format implements [logrus.Formatter].
func (f quietFormatter) Format(e *logrus.Entry) ([]byte, error) {
	if _, distributions := e.Data["go.version"]; distributions {
		return nil, nil
	}
	return f.Formatter.Format(e)
}
