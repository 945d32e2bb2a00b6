package ecrlocal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"
)

// downloadPath is where presigned-style layer URLs live, outside the registry's paths.
const downloadPath = "/layers/"

// downloadTTL is how long such a URL is good for.
const downloadTTL = time.Hour

// downloadClaims is what a layer URL is signed for.
type downloadClaims struct {
	Account string        `json:"a"`
	Region  string        `json:"r"`
	Name    string        `json:"n"`
	Digest  digest.Digest `json:"d"`
	Expires int64         `json:"e"` // seconds since the epoch
}

// downloadURL is a URL on this server from which the blob can be had without credentials.
func (s *Server) downloadURL(r *http.Request, repo *repository, dgst digest.Digest) string {
	claims := downloadClaims{
		Account: repo.Key.Account, Region: repo.Key.Region, Name: repo.Name,
		Digest: dgst, Expires: s.clock().Add(downloadTTL).Unix(),
	}
	query := url.Values{"X-Amz-Expires": {strconv.Itoa(int(downloadTTL.Seconds()))}, "X-Amz-Signature": {s.secret.seal("download", claims)}}
	return baseURL(r) + downloadPath + string(dgst) + "?" + query.Encode()
}

// serveDownload answers a layer URL.
func (s *Server) serveDownload(x *exchange, r *http.Request) {
	var claims downloadClaims
	valid := s.secret.open("download", r.URL.Query().Get("X-Amz-Signature"), &claims) &&
		strings.TrimPrefix(r.URL.Path, downloadPath) == string(claims.Digest)
	x.describe(func(e *Entry) {
		e.Plane, e.Op = PlaneRegistry, "blob-download"
		e.Account, e.Region, e.Repository, e.Reference = claims.Account, claims.Region, claims.Name, string(claims.Digest)
	})
	after, proceed := s.faults.inject(x, r, func(f *Fault) { http.Error(x, f.Message, f.Status) })
	if !proceed {
		return
	}
	defer after()
	if !valid || s.clock().Unix() >= claims.Expires {
		writeS3Error(x, http.StatusForbidden, "AccessDenied", "Request has expired")
		return
	}
	if r.Method != http.MethodGet {
		writeS3Error(x, http.StatusForbidden, "SignatureDoesNotMatch", "the URL is signed for GET")
		return
	}
	s.mu.Lock()
	repo, err := s.state.registry(registryKey{Account: claims.Account, Region: claims.Region}).repository(claims.Name)
	s.mu.Unlock()
	if err == nil {
		err = s.sendBlob(x, r, repo, claims.Digest)
	}
	if err != nil {
		writeS3Error(x, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	}
}

// writeS3Error answers as an object store does, in XML.
func writeS3Error(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
}

// smallBlob is the size up to which a blob is served from memory in one piece. The storage's
// own way allocates a buffer of several megabytes for each.
const smallBlob = 1 << 20

// sendBlob answers with a blob's bytes, ranges included.
func (s *Server) sendBlob(w http.ResponseWriter, r *http.Request, repo *repository, dgst digest.Digest) error {
	size, ok, err := s.storage.size(r.Context(), repo, dgst)
	if err != nil {
		return err
	}
	if !ok {
		return notFound("BLOB_UNKNOWN", "blob %s unknown to the repository", dgst)
	}
	blobs, err := s.storage.of(r.Context(), repo)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", string(dgst))
	if size > smallBlob || r.Header.Get("Range") != "" {
		return s.streamBlob(w, r, blobs, dgst)
	}
	content, err := blobs.Get(r.Context(), dgst)
	if err != nil {
		return fmt.Errorf("reading blob %s: %w", dgst, err)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.Header().Set("Accept-Ranges", "bytes")
	_, _ = w.Write(content) // the client may be gone
	return nil
}

// streamBlob leaves a blob to the storage's own server, which has answered unless it fails.
func (s *Server) streamBlob(w http.ResponseWriter, r *http.Request, blobs distribution.BlobServer, dgst digest.Digest) error {
	if err := blobs.ServeBlob(r.Context(), w, r, dgst); err != nil {
		return fmt.Errorf("serving blob %s: %w", dgst, err)
	}
	return nil
}

// blob is a blob that a request names and that can be had.
type blob struct {
	repo      *repository
	digest    digest.Digest
	size      int64
	mediaType string
}

// findBlob returns the blob a request names, or BLOB_UNKNOWN.
func (s *Server) findBlob(p *pull) (blob, error) {
	dgst, err := parseDigest(p.reference)
	if err != nil {
		return blob{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repo(p)
	if err != nil {
		return blob{}, err
	}
	size, ok, err := s.storage.size(p.r.Context(), repo, dgst)
	if err != nil {
		return blob{}, err
	}
	if !ok || repo.layerArchived(dgst) {
		return blob{}, notFound("BLOB_UNKNOWN", "blob %s unknown to the repository", dgst)
	}
	mediaType := cmp.Or(repo.layerType(dgst), "application/octet-stream")
	return blob{repo: repo, digest: dgst, size: size, mediaType: mediaType}, nil
}

func (s *Server) headBlob(p *pull) error {
	if s.quirks.RefusePublicBlobHeads && p.target.Region == publicRegion {
		return newRegistryError(http.StatusForbidden, "DENIED", "HEAD is not supported on the blobs of public repositories")
	}
	b, err := s.findBlob(p)
	if err != nil {
		return err
	}
	p.Header().Set("Content-Type", b.mediaType)
	p.Header().Set("Content-Length", strconv.FormatInt(b.size, 10))
	p.Header().Set("Docker-Content-Digest", string(b.digest))
	p.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) getBlob(p *pull) error {
	b, err := s.findBlob(p)
	if err != nil {
		return err
	}
	if !s.quirks.RedirectBlobs {
		return s.sendBlob(p, p.r, b.repo, b.digest)
	}
	p.Header().Set("Location", s.downloadURL(p.r, b.repo, b.digest))
	p.Header().Set("Content-Length", "0")
	p.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

// deleteBlob is for plain registries: ECR removes layers by itself.
func (s *Server) deleteBlob(p *pull) error {
	b, err := s.findBlob(p)
	if err != nil {
		return err
	}
	if s.quirks.RefuseDeletions {
		return newRegistryError(http.StatusMethodNotAllowed, "UNSUPPORTED", "layers cannot be deleted")
	}
	blobs, err := s.storage.of(p.r.Context(), b.repo)
	if err != nil {
		return err
	}
	if err := blobs.Delete(p.r.Context(), b.digest); err != nil {
		return fmt.Errorf("deleting blob %s: %w", b.digest, err)
	}
	p.WriteHeader(http.StatusAccepted)
	return nil
}

// mountBlob gives the repository a blob of another, or opens an upload session instead.
func (s *Server) mountBlob(p *pull) error {
	query := p.r.URL.Query()
	dgst, err := parseDigest(query.Get("mount"))
	if err != nil {
		return err
	}
	repo, err := s.pushRepository(p)
	if err != nil {
		return err
	}
	if from := s.mountSource(p, repo, query.Get("from"), dgst); from != nil {
		err := s.storage.mount(p.r.Context(), from, repo, dgst)
		if err == nil {
			p.created(dgst)
			return nil
		}
		s.log.Debug("mount refused", zap.Error(err))
	}
	return s.openUpload(p, repo)
}

// mountSource returns the repository from which the blob may be mounted, or nil.
func (s *Server) mountSource(p *pull, to *repository, from string, dgst digest.Digest) *repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	reg := s.state.registry(p.target)
	source, ok := reg.Repositories[from]
	if !ok || source == to {
		return nil
	}
	if s.quirks.RestrictMounts && (reg.Settings[blobMounting] != "ENABLED" ||
		len(source.layerUsers[dgst]) == 0 || !source.encryptedLike(to.settings) || p.denies("ecr:GetDownloadUrlForLayer")) {
		return nil
	}
	if _, held, err := s.storage.size(context.WithoutCancel(p.r.Context()), source, dgst); err != nil || !held {
		return nil
	}
	return source
}

// pushRepository is the repository of an upload request, created if pushes may do that.
func (s *Server) pushRepository(p *pull) (*repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repositoryForPush(p.target, p.name)
}

func (s *Server) startUpload(p *pull) error {
	repo, err := s.pushRepository(p)
	if err != nil {
		return err
	}
	return s.openUpload(p, repo)
}

func (s *Server) openUpload(p *pull, repo *repository) error {
	up, err := s.uploads.begin(p.r.Context(), s.storage, repo)
	if err != nil {
		return err
	}
	p.uploadHeaders(up, "0-0")
	p.WriteHeader(http.StatusAccepted)
	return nil
}

// uploadHeaders describes an open session.
func (p *pull) uploadHeaders(up *upload, received string) {
	p.Header().Set("Location", p.url("/blobs/uploads/"+up.id))
	p.Header().Set("Docker-Upload-Uuid", up.id)
	p.Header().Set("Range", received)
	p.Header().Set("Content-Length", "0")
}

// created answers 201 for a blob.
func (p *pull) created(dgst digest.Digest) {
	p.Header().Set("Location", p.url("/blobs/"+string(dgst)))
	p.Header().Set("Docker-Content-Digest", string(dgst))
	p.Header().Set("Content-Length", "0")
	p.WriteHeader(http.StatusCreated)
}

// session finds the upload a request continues and locks it. The caller unlocks it.
func (s *Server) session(p *pull) (*upload, error) {
	s.mu.Lock()
	repo, err := s.repo(p)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	up, err := s.uploads.find(repo, p.reference)
	if err != nil {
		return nil, err
	}
	up.mu.Lock()
	return up, nil
}

func (s *Server) uploadStatus(p *pull) error {
	up, err := s.session(p)
	if err != nil {
		return err
	}
	defer up.mu.Unlock()
	p.uploadHeaders(up, s.rangeOf(up))
	p.WriteHeader(http.StatusNoContent)
	return nil
}

// rangeOf is the Range of an upload: what was received or, as ECR has it, the first piece.
func (s *Server) rangeOf(up *upload) string {
	end := up.received
	if s.quirks.OddChunkAnswers && len(up.parts) > 0 {
		end = up.parts[0]
	}
	return "0-" + strconv.FormatInt(max(0, end-1), 10)
}

func (s *Server) patchUpload(p *pull) error {
	up, err := s.session(p)
	if err != nil {
		return err
	}
	defer up.mu.Unlock()
	if err := s.checkOffset(p, up); err != nil {
		return err
	}
	if _, err := up.append(p.r.Body); err != nil {
		return newRegistryError(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "reading the chunk: %s", err)
	}
	status := http.StatusAccepted
	if s.quirks.OddChunkAnswers {
		status = http.StatusCreated
	}
	p.uploadHeaders(up, s.rangeOf(up))
	p.WriteHeader(status)
	return nil
}

// checkOffset refuses a chunk that does not begin where the last one ended.
func (s *Server) checkOffset(p *pull, up *upload) error {
	header := p.r.Header.Get("Content-Range")
	if header == "" {
		return nil
	}
	first, last, ok := strings.Cut(strings.TrimPrefix(header, "bytes "), "-")
	start, startErr := strconv.ParseInt(first, 10, 64)
	end, endErr := strconv.ParseInt(strings.SplitN(last, "/", 2)[0], 10, 64)
	if !ok || startErr != nil || endErr != nil || start != up.received || end < start ||
		(p.r.ContentLength >= 0 && p.r.ContentLength != end-start+1) {
		return &registryError{
			status: http.StatusRequestedRangeNotSatisfiable, code: "BLOB_UPLOAD_INVALID",
			message: "the range " + header + " does not follow the bytes received",
			header:  http.Header{"Range": {s.rangeOf(up)}},
		}
	}
	return nil
}

func (s *Server) finishUpload(p *pull) error {
	dgst, err := parseDigest(p.r.URL.Query().Get("digest"))
	if err != nil {
		return err
	}
	up, err := s.session(p)
	if err != nil {
		return err
	}
	defer up.mu.Unlock()
	if err := s.checkOffset(p, up); err != nil {
		return err
	}
	if _, err := up.append(p.r.Body); err != nil {
		return newRegistryError(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "reading the last chunk: %s", err)
	}
	if err := up.complete(p.r.Context(), s.quirks, dgst); err != nil {
		s.uploads.end(p.r.Context(), up)
		return s.uploadRefusal(err)
	}
	s.uploads.forget(up)
	p.created(dgst)
	return nil
}

// uploadRefusal spells a digest mismatch as a plain registry does, where the quirk is off.
func (s *Server) uploadRefusal(err error) error {
	if e, ok := errors.AsType[*apiError](err); ok && e.code == "InvalidLayerException" && !s.quirks.UploadInvalidOnMismatch {
		return newRegistryError(http.StatusBadRequest, "DIGEST_INVALID", "%s", e.message)
	}
	return err
}

func (s *Server) cancelUpload(p *pull) error {
	up, err := s.session(p)
	if err != nil {
		return err
	}
	defer up.mu.Unlock()
	s.uploads.end(p.r.Context(), up)
	p.WriteHeader(http.StatusNoContent)
	return nil
}
