package ecrlocal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Sizes the layer API states.
const (
	advisedPartSize = 10 << 20 // what InitiateLayerUpload advises
	maxPartSize     = 20 << 20
)

// uploads is the open upload sessions of both faces. They do not survive a restart.
type uploads struct {
	mu   sync.Mutex
	open map[string]*upload
}

// upload is one session: the pieces of a blob as they arrive.
type upload struct {
	id     string
	repoID string

	mu       sync.Mutex // one request at a time
	writer   distribution.BlobWriter
	received int64
	parts    []int64 // sizes of the non-empty pieces
}

// begin opens a session for repo.
func (u *uploads) begin(ctx context.Context, storage *blobStorage, repo *repository) (*upload, error) {
	ctx = context.WithoutCancel(ctx) // the session outlives the request that opens it
	blobs, err := storage.of(ctx, repo)
	if err != nil {
		return nil, err
	}
	writer, err := blobs.Create(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening an upload: %w", err)
	}
	up := &upload{id: writer.ID(), repoID: repo.ID, writer: writer}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open == nil {
		u.open = make(map[string]*upload)
	}
	u.open[up.id] = up
	return up, nil
}

// find returns the session id of repo, or UploadNotFoundException.
func (u *uploads) find(repo *repository, id string) (*upload, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	up, ok := u.open[id]
	if !ok || up.repoID != repo.ID {
		return nil, newError("UploadNotFoundException",
			"The upload with id '%s' in the repository with name '%s' in the registry with id '%s' does not exist", id, repo.Name, repo.Key.Account)
	}
	return up, nil
}

// end forgets a session and removes what it received.
func (u *uploads) end(ctx context.Context, up *upload) {
	u.forget(up)
	_ = up.writer.Cancel(context.WithoutCancel(ctx)) // a session that committed has nothing left
}

func (u *uploads) forget(up *upload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.open, up.id)
}

// abandon ends every session.
func (u *uploads) abandon() {
	u.mu.Lock()
	open := u.open
	u.open = nil
	u.mu.Unlock()
	for _, up := range open {
		_ = up.writer.Cancel(context.Background()) // what remains is purged at the next start
	}
}

// append adds a piece. What arrived before an error stays and counts.
func (up *upload) append(r io.Reader) (int64, error) {
	n, err := appendTo(up.writer, r)
	up.received += n
	if n > 0 {
		up.parts = append(up.parts, n)
	}
	return n, err
}

// complete checks the pieces against the quirks and stores them as the blob dgst.
func (up *upload) complete(ctx context.Context, q Quirks, dgst digest.Digest) error {
	if up.received == 0 && q.RefuseEmptyBlobs {
		return newError("EmptyUploadException", "blob upload invalid: the upload has no parts")
	}
	for _, size := range up.parts[:max(0, len(up.parts)-1)] {
		if size < q.MinimumChunk {
			return newError("LayerPartTooSmallException",
				"layer part too small: every part but the last must have at least %d bytes, one has %d", q.MinimumChunk, size)
		}
	}
	_, err := up.writer.Commit(context.WithoutCancel(ctx), v1.Descriptor{Digest: dgst})
	if _, mismatch := errors.AsType[distribution.ErrBlobInvalidDigest](err); mismatch {
		return newError("InvalidLayerException", "Layer upload failed: none of the provided layer digests match the content (%s)", dgst)
	}
	if err != nil {
		return fmt.Errorf("storing blob %s: %w", dgst, err)
	}
	return nil
}

// lockedRepository finds a repository for a handler that does not hold mu.
func (s *Server) lockedRepository(c *call, registryID, name *string) (*repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repository(c, registryID, name)
}

func (s *Server) initiateLayerUpload(c *call, in *ecr.InitiateLayerUploadInput) (*ecr.InitiateLayerUploadOutput, error) {
	repo, err := s.lockedRepository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	up, err := s.uploads.begin(c.r.Context(), s.storage, repo)
	if err != nil {
		return nil, err
	}
	return &ecr.InitiateLayerUploadOutput{UploadId: &up.id, PartSize: aws.Int64(advisedPartSize)}, nil
}

func (s *Server) uploadLayerPart(c *call, in *ecr.UploadLayerPartInput) (*ecr.UploadLayerPartOutput, error) {
	repo, err := s.lockedRepository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if len(in.LayerPartBlob) > maxPartSize {
		return nil, errConstraint("layerPartBlob", "Member must have length less than or equal to "+strconv.Itoa(maxPartSize))
	}
	up, err := s.uploads.find(repo, aws.ToString(in.UploadId))
	if err != nil {
		return nil, err
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	first, last := aws.ToInt64(in.PartFirstByte), aws.ToInt64(in.PartLastByte)
	if first != up.received || last-first+1 != int64(len(in.LayerPartBlob)) {
		refusal := newError("InvalidLayerPartException",
			"The layer part is invalid: it does not follow the last byte received, %d, or its length is not that of the range %d-%d", up.received-1, first, last)
		refusal.fields = map[string]any{
			"registryId": repo.Key.Account, "repositoryName": repo.Name, "uploadId": up.id, "lastValidByteReceived": up.received - 1,
		}
		return nil, refusal
	}
	if _, err := up.append(bytes.NewReader(in.LayerPartBlob)); err != nil {
		return nil, fmt.Errorf("storing a layer part: %w", err)
	}
	return &ecr.UploadLayerPartOutput{
		LastByteReceived: aws.Int64(up.received - 1), RegistryId: &repo.Key.Account, RepositoryName: &repo.Name, UploadId: &up.id,
	}, nil
}

func (s *Server) completeLayerUpload(c *call, in *ecr.CompleteLayerUploadInput) (*ecr.CompleteLayerUploadOutput, error) {
	repo, err := s.lockedRepository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	up, err := s.uploads.find(repo, aws.ToString(in.UploadId))
	if err != nil {
		return nil, err
	}
	if len(in.LayerDigests) == 0 || digest.Digest(in.LayerDigests[0]).Validate() != nil {
		return nil, errConstraint("layerDigests", "Member must hold a digest")
	}
	dgst := digest.Digest(in.LayerDigests[0])
	up.mu.Lock()
	defer up.mu.Unlock()
	if _, exists, err := s.storage.size(c.r.Context(), repo, dgst); err != nil || exists {
		s.uploads.end(c.r.Context(), up)
		if err != nil {
			return nil, err
		}
		return nil, newError("LayerAlreadyExistsException",
			"The layer with digest '%s' already exists in the repository with name '%s' in the registry with id '%s'", dgst, repo.Name, repo.Key.Account)
	}
	rules := s.quirks
	rules.RefuseEmptyBlobs, rules.MinimumChunk = true, ECR().MinimumChunk // the API has no plain variant
	if err := up.complete(c.r.Context(), rules, dgst); err != nil {
		s.uploads.end(c.r.Context(), up)
		return nil, err
	}
	s.uploads.forget(up)
	return &ecr.CompleteLayerUploadOutput{
		LayerDigest: aws.String(string(dgst)), RegistryId: &repo.Key.Account, RepositoryName: &repo.Name, UploadId: &up.id,
	}, nil
}

func (s *Server) batchCheckLayerAvailability(c *call, in *ecr.BatchCheckLayerAvailabilityInput) (*ecr.BatchCheckLayerAvailabilityOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if len(in.LayerDigests) < 1 || len(in.LayerDigests) > 100 {
		return nil, errConstraint("layerDigests", "Member must have length between 1 and 100")
	}
	out := &ecr.BatchCheckLayerAvailabilityOutput{Layers: []ecrtypes.Layer{}, Failures: []ecrtypes.LayerFailure{}}
	for _, text := range in.LayerDigests {
		dgst := digest.Digest(text)
		if dgst.Validate() != nil {
			code := ecrtypes.LayerFailureCodeInvalidLayerDigest
			if strings.TrimSpace(text) == "" {
				code = ecrtypes.LayerFailureCodeMissingLayerDigest
			}
			out.Failures = append(out.Failures, ecrtypes.LayerFailure{
				FailureCode: code, FailureReason: aws.String("Invalid request parameters: layer digest is not well formed"), LayerDigest: aws.String(text),
			})
			continue
		}
		layer, err := s.layer(c.r.Context(), repo, dgst)
		if err != nil {
			return nil, err
		}
		out.Layers = append(out.Layers, layer)
	}
	return out, nil
}

// layer says whether repo holds a layer, and of what kind it is as far as a manifest tells.
func (s *Server) layer(ctx context.Context, repo *repository, dgst digest.Digest) (ecrtypes.Layer, error) {
	layer := ecrtypes.Layer{LayerDigest: aws.String(string(dgst)), LayerAvailability: ecrtypes.LayerAvailabilityUnavailable}
	size, ok, err := s.storage.size(ctx, repo, dgst)
	if err != nil || !ok {
		return layer, err
	}
	layer.LayerAvailability, layer.LayerSize = ecrtypes.LayerAvailabilityAvailable, &size
	if repo.layerArchived(dgst) {
		layer.LayerAvailability = ecrtypes.LayerAvailabilityArchived
	}
	layer.MediaType = optional(repo.layerType(dgst))
	return layer, nil
}

// layerType is the media type a manifest gives a blob; "" when none mentions it.
func (repo *repository) layerType(dgst digest.Digest) string {
	for user := range repo.layerUsers[dgst] {
		img := repo.Images[user]
		if img.config != nil && img.config.Digest == dgst {
			return img.config.MediaType
		}
		for _, l := range img.layers {
			if l.Digest == dgst {
				return l.MediaType
			}
		}
	}
	return ""
}

func (s *Server) getDownloadURLForLayer(c *call, in *ecr.GetDownloadUrlForLayerInput) (*ecr.GetDownloadUrlForLayerOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	dgst := digest.Digest(aws.ToString(in.LayerDigest))
	if dgst.Validate() != nil {
		return nil, errConstraint("layerDigest", "must be a digest")
	}
	if _, exists, err := s.storage.size(c.r.Context(), repo, dgst); err != nil || !exists {
		if err != nil {
			return nil, err
		}
		return nil, newError("LayersNotFoundException",
			"Layers with digests '[%s]' do not exist in the repository with name '%s' in the registry with id '%s'", dgst, repo.Name, repo.Key.Account)
	}
	if len(repo.layerUsers[dgst]) == 0 || repo.layerArchived(dgst) {
		return nil, newError("LayerInaccessibleException",
			"The layer with digest '%s' is not associated with an active image in the repository with name '%s' in the registry with id '%s'", dgst, repo.Name, repo.Key.Account)
	}
	return &ecr.GetDownloadUrlForLayerOutput{
		DownloadUrl: aws.String(s.downloadURL(c.r, repo, dgst)), LayerDigest: aws.String(string(dgst)),
	}, nil
}
