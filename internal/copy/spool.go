package copy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Spool says where a blob that several destinations want, and cannot mount, is kept
// between its one download and its last upload. The zero Spool keeps none: each upload
// reads upstream for itself.
type Spool struct {
	Dir   string // a directory of its own is made here; "" means the system's temporary one
	Limit int64  // bytes kept at once; 0 switches the spool off
}

// spool keeps blobs in files, each for as long as somebody is still to upload it. The
// files help and are never needed: where one cannot be written, or read again, upstream
// is read instead.
type spool struct {
	opts Spool
	log  *zap.Logger

	// downloads are those of blobs that several repositories want, one at a time. Their
	// outcome is the path of the file that the download has left, "" where it left none.
	downloads flights[blobID, string]

	mu     sync.Mutex
	needs  needs
	files  map[blobID]string // the whole ones
	bytes  int64             // of all files, those being written included
	dir    *spoolDir         // made for the first file
	broken error             // why no file can be made, and nobody tries again
}

// blobID is a blob, wherever it is.
type blobID struct {
	digest ref.Digest
	size   int64
}

func (c content) blob() blobID { return blobID{c.digest, c.size} }

func newSpool(opts Spool, log *zap.Logger) *spool {
	s := &spool{opts: opts, log: log, files: map[blobID]string{}}
	// An upload that fails says nothing about the next one's, which reads for itself.
	s.downloads.final = ofSource
	return s
}

// ofSource reports whether err is what everyone would get who reads from there.
func ofSource(err error) bool {
	return registry.OnSide(err) == registry.SideSource && failure.Final(err)
}

// expect tells the spool what the run needs, before the run begins.
func (s *spool) expect(n needs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needs = n
}

// referrer tells the spool of a referrer that a manifest has, before its blobs are read.
func (s *spool) referrer(subject origin, n *Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needs.referrer(subject, n)
}

// feed is one upload of a blob that is to be fed.
type feed struct {
	at     content
	from   ref.Repository
	open   registry.Opener                  // reads upstream
	moved  func(n int)                      // is told of bytes that do not come from upstream
	mounts func(host string) bool           // whether repositories there will rather mount the blob
	store  func(open registry.Opener) error // uploads what open reads, once
}

// feed carries out an upload, fed by upstream or by the file that an earlier one has
// left. One at a time of those who want the same blob reads upstream, the others wait
// for what it leaves; whoever calls holds nothing that the one may have to wait for.
func (s *spool) feed(ctx context.Context, f feed) error {
	id := f.at.blob()
	if !s.wantedByOthers(f) {
		if path, ok := s.downloads.outcome(id); ok && path != "" {
			return s.again(ctx, f, path)
		}
		return f.store(f.open)
	}
	var led bool
	var err error
	path, waited := s.downloads.do(ctx, id, f.from, func(context.Context) (string, error) {
		var path string
		led = true
		if path, err = s.tee(f); path != "" {
			return path, nil // which is good, whatever came of the upload
		}
		return "", err
	})
	switch {
	case led:
		return err
	case waited != nil:
		return waited
	case path == "":
		return f.store(f.open)
	}
	return s.again(ctx, f, path)
}

// shared says who wants a blob, as far as several repositories do or did.
func (s *spool) shared(id blobID) sharing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.needs.shared(id)
}

func (s *spool) wantedByOthers(f feed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.needs.others(f.at, f.mounts)
}

// again uploads from a file; from upstream where the file is gone, or not what it was.
func (s *spool) again(ctx context.Context, f feed, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return f.store(f.open) // nobody was thought to need it any more
	}
	kept := &spooled{ReadCloser: verify(file, ref.Descriptor{Digest: f.at.digest, Size: f.at.size}, f.moved)}
	defer kept.Close()
	err = f.store(func(context.Context) (io.ReadCloser, error) { return kept, nil })
	if err == nil || ctx.Err() != nil || !kept.failed() {
		return err
	}
	s.log.Debug("spooled blob cannot be read, reading upstream again", zap.String("digest", string(f.at.digest)), zap.Error(err))
	s.downloads.forgetLanded(f.at.blob())
	s.remove(f.at.blob())
	return f.store(f.open)
}

// spooled is a blob that is read from a file, and remembers whether that went wrong.
type spooled struct {
	io.ReadCloser
	mu  sync.Mutex
	err error
}

func (r *spooled) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.err = err
	}
	return n, err
}

func (r *spooled) failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err != nil
}

// tee uploads from upstream and writes what passes to a file. It returns the path of the
// file if the whole blob is in it: its last byte only comes when the digest is right.
func (s *spool) tee(f feed) (path string, err error) {
	file, spoolErr := s.create(f.at.size)
	if spoolErr == nil {
		t := &tee{file: file}
		err = f.store(func(ctx context.Context) (io.ReadCloser, error) {
			body, err := f.open(ctx)
			if err != nil {
				return nil, err
			}
			return &teeReader{ReadCloser: body, tee: t}, nil
		})
		if spoolErr = t.finish(f.at.size); spoolErr == nil {
			s.keep(f.at.blob(), file.Name())
			return file.Name(), err
		}
		s.release(file.Name(), f.at.size)
	} else {
		err = f.store(f.open)
	}
	if err == nil {
		s.log.Debug("blob not spooled, upstream may be read again", zap.String("digest", string(f.at.digest)), zap.Error(spoolErr))
	}
	return "", err
}

// tee is a file that is being written. What is written after an error, or after the
// end, is lost: an upload may be over before its source has noticed.
type tee struct {
	mu      sync.Mutex
	file    *os.File
	written int64
	err     error
}

func (t *tee) write(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		var n int
		n, t.err = t.file.Write(p)
		t.written += int64(n)
	}
}

// finish closes the file, and is an error if it has not got all bytes.
func (t *tee) finish(size int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	closeErr := t.file.Close()
	err := t.err
	t.err = os.ErrClosed
	if err == nil && t.written != size {
		err = fmt.Errorf("%d bytes of %d came", t.written, size)
	}
	return errors.Join(err, closeErr)
}

type teeReader struct {
	io.ReadCloser
	tee *tee
}

func (r *teeReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if n > 0 {
		r.tee.write(p[:n])
	}
	return n, err
}

// create makes an empty file for size bytes, which count from now on.
func (s *spool) create(size int64) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil && s.dir == nil {
		s.dir, s.broken = makeSpoolDir(s.opts.Dir, s.log)
	}
	switch {
	case s.broken != nil:
		return nil, s.broken
	case s.bytes+size > s.opts.Limit:
		return nil, fmt.Errorf("%d bytes more are over the limit of %d", size, s.opts.Limit)
	}
	file, err := os.CreateTemp(s.dir.path, "blob-") // 0600
	if err == nil {
		s.bytes += size
	}
	return file, err
}

// keep notes a whole file.
func (s *spool) keep(id blobID, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[id] = path
}

// release removes a file of size bytes.
func (s *spool) release(path string, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(path, size)
}

// drop is release for a caller that holds the lock. A file that cannot be removed still
// is when the spool is closed.
func (s *spool) drop(path string, size int64) {
	if err := os.Remove(path); err != nil {
		s.log.Debug("spooled blob not removed", zap.Error(err))
		return
	}
	s.bytes -= size
}

// remove removes a blob's file, if there is one.
func (s *spool) remove(ids ...blobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if path, ok := s.files[id]; ok {
			delete(s.files, id)
			s.drop(path, id.size)
		}
	}
}

// brought notes that a repository has a blob.
func (s *spool) brought(at content) {
	s.mu.Lock()
	last := s.needs.met(at.blob(), at.repo)
	s.mu.Unlock()
	if last {
		s.remove(at.blob())
	}
}

// finished notes that an action on a repository has been carried out.
func (s *spool) finished(repo ref.Repository) {
	s.mu.Lock()
	over := s.needs.finished(repo)
	s.mu.Unlock()
	s.remove(over...)
}

// close removes all that is left.
func (s *spool) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = os.ErrClosed
	if s.dir == nil {
		return nil
	}
	return s.dir.remove()
}
