package layout

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Archives reads and writes layouts in tar files. A file is unpacked beside itself at its
// first use, since the order of what is in it is nobody's to choose, and packed again by
// Commit: until then it stays as it was. Archives is safe for concurrent use, within one
// process: of two that write to one file, the last wins. Close ends it.
type Archives struct {
	mu     sync.Mutex
	staged map[string]*staged // by file
}

// staged is an archive that is unpacked, by whoever first needs it. One who gave up, or
// whose image took too long, leaves it to the next.
type staged struct {
	mu  sync.Mutex
	dir *directory
}

var (
	_ registry.Target      = (*Archives)(nil)
	_ registry.Snapshotter = (*Archives)(nil)
	_ registry.TagDeleter  = (*Archives)(nil)
)

// Close removes what was unpacked.
func (a *Archives) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, s := range a.staged {
		if s.dir != nil {
			errs = append(errs, os.RemoveAll(s.dir.path))
		}
	}
	clear(a.staged)
	return errors.Join(errs...)
}

// directory unpacks repo's archive. Where there is no file, it is an empty directory.
func (a *Archives) directory(ctx context.Context, repo ref.Repository) (*directory, error) {
	file := location(repo)
	a.mu.Lock()
	if a.staged == nil {
		a.staged = map[string]*staged{}
	}
	s, ok := a.staged[file]
	if !ok {
		s = &staged{}
		a.staged[file] = s
	}
	a.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == nil {
		d, err := unpacked(ctx, file)
		if err != nil {
			return nil, err
		}
		s.dir = d
	}
	return s.dir, nil
}

// unpacked unpacks a file into a directory beside it, which is the one place that is
// known to have room for it and where it can be renamed from.
func unpacked(ctx context.Context, file string) (*directory, error) {
	packed, err := os.Open(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, kind(err)
	}
	if err == nil {
		defer packed.Close()
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); packed == nil && err != nil { //nolint:gosec // images are to be read by others
		return nil, kind(err)
	}
	at, err := os.MkdirTemp(filepath.Dir(file), "."+filepath.Base(file)+".")
	if err != nil {
		return nil, kind(err)
	}
	d := &directory{path: at, name: file}
	if packed == nil {
		return d, nil
	}
	if err := unpack(ctx, packed, d); err != nil {
		return nil, errors.Join(fmt.Errorf("archive %s: %w", file, err), os.RemoveAll(at))
	}
	return d, nil
}

// member matches the names that a layout's files have in an archive. Others are left
// alone, so that none leads out of the directory.
var member = regexp.MustCompile(`^(oci-layout|index\.json|blobs/[a-z0-9]+/[a-z0-9]+)$`)

func unpack(ctx context.Context, packed io.Reader, d *directory) error {
	in := tar.NewReader(packed)
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", err, registry.ErrPermanent)
		}
		name := path.Clean(header.Name)
		if header.Typeflag != tar.TypeReg || !member.MatchString(name) {
			continue
		}
		if err := d.arrive(ctx, filepath.Join(d.path, filepath.FromSlash(name)), func(f *os.File) error {
			_, err := io.Copy(f, in) //nolint:gosec // as large as the archive, which the user named
			if _, ours := errors.AsType[*fs.PathError](err); err != nil && !ours {
				return fmt.Errorf("%w: %w", err, registry.ErrPermanent) // it is cut
			}
			return kind(err)
		}); err != nil {
			return err
		}
	}
	if _, err := d.index(ctx); err != nil {
		return fmt.Errorf("it is no OCI layout: %w: %w", err, registry.ErrPermanent)
	}
	return nil
}

// pack writes the directory's layout to a file, which appears at once. Nothing but the
// content decides its bytes.
func (d *directory) pack(ctx context.Context, file string) (err error) {
	out, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".")
	if err != nil {
		return kind(err)
	}
	defer os.Remove(out.Name()) // nothing is there after the rename
	defer out.Close()
	members, err := d.members()
	if err != nil {
		return err
	}
	packed := tar.NewWriter(out)
	for _, name := range members {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := d.packMember(packed, name); err != nil {
			return err
		}
	}
	if err := errors.Join(packed.Close(), out.Chmod(0o644), out.Sync(), out.Close()); err != nil {
		return kind(err)
	}
	if err := os.Rename(out.Name(), file); err != nil {
		return kind(err)
	}
	return kind(syncDir(filepath.Dir(file)))
}

// members lists the layout's files, sorted, after the two that readers look for first.
func (d *directory) members() ([]string, error) {
	blobs, err := fs.Glob(os.DirFS(d.path), imgspec.ImageBlobsDir+"/*/*")
	if err != nil {
		return nil, err
	}
	slices.Sort(blobs)
	return append([]string{imgspec.ImageLayoutFile, imgspec.ImageIndexFile}, blobs...), nil
}

func (d *directory) packMember(packed *tar.Writer, name string) error {
	f, err := os.Open(filepath.Join(d.path, filepath.FromSlash(name)))
	if err != nil {
		return kind(err)
	}
	defer f.Close()
	about, err := f.Stat()
	if err != nil {
		return kind(err)
	}
	if err := packed.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: about.Size(), Mode: 0o644, ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	_, err = io.Copy(packed, f)
	return kind(err)
}

// with runs f on repo's layout.
func with[T any](ctx context.Context, a *Archives, repo ref.Repository, f func(*Layouts, ref.Repository) (T, error)) (T, error) {
	d, err := a.directory(ctx, repo)
	if err != nil {
		var none T
		return none, err
	}
	// The layout is known under the archive's own name, which is no directory.
	return f(&Layouts{open: map[string]*directory{location(repo): d}}, repo)
}

// Resolve says what the archive has for a tag, or that a manifest is there.
func (a *Archives) Resolve(ctx context.Context, r ref.Reference) (ref.Descriptor, error) {
	return with(ctx, a, r.Repository, func(l *Layouts, _ ref.Repository) (ref.Descriptor, error) { return l.Resolve(ctx, r) })
}

// Snapshot reads all tags.
func (a *Archives) Snapshot(ctx context.Context, repo ref.Repository, tags []string) (map[string]ref.Descriptor, error) {
	return with(ctx, a, repo, func(l *Layouts, repo ref.Repository) (map[string]ref.Descriptor, error) {
		return l.Snapshot(ctx, repo, tags)
	})
}

// Tags yields the tags of the archive, sorted.
func (a *Archives) Tags(ctx context.Context, repo ref.Repository) iter.Seq2[string, error] {
	tags, err := with(ctx, a, repo, func(l *Layouts, repo ref.Repository) (iter.Seq2[string, error], error) { return l.Tags(ctx, repo), nil })
	if err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return tags
}

// Manifest reads a manifest.
func (a *Archives) Manifest(ctx context.Context, r ref.Reference) (registry.Manifest, error) {
	return with(ctx, a, r.Repository, func(l *Layouts, _ ref.Repository) (registry.Manifest, error) { return l.Manifest(ctx, r) })
}

// Referrers reads the subjects of all manifests that the index names.
func (a *Archives) Referrers(ctx context.Context, subject ref.Reference) ([]ref.Descriptor, error) {
	return with(ctx, a, subject.Repository, func(l *Layouts, _ ref.Repository) ([]ref.Descriptor, error) { return l.Referrers(ctx, subject) })
}

// OpenSource returns the archive to read from.
func (a *Archives) OpenSource(ctx context.Context, repo ref.Repository) (imagetypes.ImageSource, error) {
	return with(ctx, a, repo, func(l *Layouts, repo ref.Repository) (imagetypes.ImageSource, error) { return l.OpenSource(ctx, repo) })
}

// OpenDestination returns the archive to write to. What is written is in the file after
// registry.Commit.
func (a *Archives) OpenDestination(ctx context.Context, repo ref.Repository) (imagetypes.ImageDestination, error) {
	d, err := a.directory(ctx, repo)
	if err != nil {
		return nil, err
	}
	return &archived{destination{endpoint: endpoint{d, repo}, all: &Layouts{}}, location(repo)}, nil
}

// DeleteTag removes a tag from the index, and packs the archive.
func (a *Archives) DeleteTag(ctx context.Context, r ref.Reference) error {
	_, err := with(ctx, a, r.Repository, func(l *Layouts, repo ref.Repository) (struct{}, error) {
		if err := l.DeleteTag(ctx, r); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, l.directory(repo).pack(ctx, location(repo))
	})
	return err
}

// LastTagDeletes is false: nothing but tags is ever removed.
func (*Archives) LastTagDeletes(ref.Repository) (bool, error) { return false, nil }

// archived is an archive to write to.
type archived struct {
	destination
	file string
}

var _ registry.Committer = (*archived)(nil)

// MountBlob has nothing to link: archives are packed one by one.
func (d *archived) MountBlob(context.Context, ref.Descriptor, ref.Repository) (registry.BlobUploader, error) {
	return d, nil
}

// CommitWrites packs the archive, and reads back that it names what the layout does.
func (d *archived) CommitWrites(ctx context.Context) error {
	if err := d.dir.pack(ctx, d.file); err != nil {
		return fmt.Errorf("write archive %s: %w", d.file, err)
	}
	written, err := readBack(d.file)
	if err != nil {
		return fmt.Errorf("read back archive %s: %w", d.file, err)
	}
	meant, err := d.dir.tagged(ctx)
	if err != nil {
		return err
	}
	if !maps.Equal(written, meant) {
		return fmt.Errorf("archive %s does not read back as it was written: %w", d.file, registry.ErrCorrupt)
	}
	return nil
}

// readBack reads a whole archive, hashes what it holds, and returns its tags.
func readBack(file string) (map[string]ref.Descriptor, error) {
	packed, err := os.Open(file)
	if err != nil {
		return nil, kind(err)
	}
	defer packed.Close()
	var index imgspec.Index
	in := tar.NewReader(packed)
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return tagsOf(index), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, registry.ErrCorrupt)
		}
		switch algorithm, encoded, isBlob := blobName(header.Name); {
		case header.Name == imgspec.ImageIndexFile:
			if err := json.NewDecoder(in).Decode(&index); err != nil {
				return nil, fmt.Errorf("%s: %w: %w", header.Name, err, registry.ErrCorrupt)
			}
		case isBlob:
			hash := algorithm.Hash()
			if _, err := io.Copy(hash, in); err != nil { //nolint:gosec // as large as what was written
				return nil, fmt.Errorf("%s: %w: %w", header.Name, err, registry.ErrCorrupt)
			}
			if fmt.Sprintf("%x", hash.Sum(nil)) != encoded {
				return nil, fmt.Errorf("%s has another digest: %w", header.Name, registry.ErrCorrupt)
			}
		}
	}
}

// blobName takes the name of a blob's file apart.
func blobName(name string) (algorithm digest.Algorithm, encoded string, ok bool) {
	rest, ok := strings.CutPrefix(name, imgspec.ImageBlobsDir+"/")
	first, encoded, _ := strings.Cut(rest, "/")
	algorithm = digest.Algorithm(first)
	return algorithm, encoded, ok && algorithm.Available()
}
