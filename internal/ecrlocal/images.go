package ecrlocal

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"
)

// put is a request to store a manifest, from either face.
type put struct {
	manifest *manifest
	tag      string        // "" leaves the image untagged
	digest   digest.Digest // the digest the client expects; "" for none
}

// putImage stores p in repo. It reports whether the image was new there; when it was not, and
// already had the tag, nothing changes. The caller holds mu.
func (s *Server) putImage(ctx context.Context, repo *repository, p put) (img *image, changed bool, err error) {
	dgst := digest.FromBytes(p.manifest.raw)
	if p.digest != "" {
		dgst = p.digest.Algorithm().FromBytes(p.manifest.raw)
		if dgst != p.digest {
			return nil, false, newError("ImageDigestDoesNotMatchException",
				"The digest provided '%s' does not match the digest calculated '%s' for the image manifest", p.digest, dgst)
		}
	}
	if err := s.checkPut(ctx, repo, p, dgst); err != nil {
		return nil, false, err
	}
	img, exists := repo.Images[dgst]
	if exists && !img.Archived && (p.tag == "" || repo.Tags[p.tag] == dgst) {
		return img, false, nil
	}
	if !exists {
		img = &image{Digest: dgst, MediaType: p.manifest.mediaType, manifest: p.manifest, tags: make(map[string]struct{})}
		if s.keeper != nil {
			if err := s.keeper.keepManifest(dgst, p.manifest.raw); err != nil {
				return nil, false, err
			}
		}
		repo.add(img)
	}
	if img.Archived {
		img.Archived, img.ActivatedAt = false, s.clock()
	}
	img.PushedAt = s.clock()
	if p.tag != "" {
		repo.tag(p.tag, img)
	}
	s.changed()
	return img, true, nil
}

// checkPut refuses a push that breaks a rule of the repository.
func (s *Server) checkPut(ctx context.Context, repo *repository, p put, dgst digest.Digest) error {
	if p.tag != "" && !imageTagValid(p.tag) {
		return errConstraint("imageTag", "must be a letter, digit or underscore and up to 127 more, dots and hyphens included")
	}
	if have, taken := repo.Tags[p.tag]; taken && s.quirks.ImmutableTags && repo.immutableTag(p.tag) &&
		(have != dgst || s.quirks.RefuseSameDigest) {
		return newError("ImageTagAlreadyExistsException",
			"The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable", p.tag, repo.Name)
	}
	if s.quirks.RefuseReferrers && p.manifest.subject != nil && p.manifest.artifactType != "" {
		return errConstraint("ImageManifest", "Invalid JSON syntax")
	}
	if err := s.checkMentioned(ctx, repo, p.manifest); err != nil {
		return err
	}
	if img := repo.Images[dgst]; img == nil {
		if len(repo.Images) >= maxImagesPerRepository {
			return newError("LimitExceededException", "The repository '%s' already has %d images", repo.Name, maxImagesPerRepository)
		}
	} else if _, tagged := img.tags[p.tag]; p.tag != "" && !tagged && len(img.tags) >= maxTagsPerImage {
		return newError("LimitExceededException", "The image '%s' already has %d tags", dgst, maxTagsPerImage)
	}
	return nil
}

// checkMentioned refuses a manifest whose blobs or children are not in repo.
func (s *Server) checkMentioned(ctx context.Context, repo *repository, m *manifest) error {
	var missing []string
	for _, blob := range m.blobs() {
		_, ok, err := s.storage.size(ctx, repo, blob)
		if err != nil {
			return err
		}
		if !ok {
			missing = append(missing, string(blob))
		}
	}
	if len(missing) > 0 {
		return newError("LayersNotFoundException",
			"Layers with digests '[%s]' required for pushing image into repository with name '%s' in the registry with id '%s' do not exist",
			strings.Join(missing, ", "), repo.Name, repo.Key.Account)
	}
	for _, child := range m.children {
		if repo.Images[child.Digest] == nil {
			missing = append(missing, string(child.Digest))
		}
	}
	if len(missing) > 0 {
		return newError("ReferencedImagesNotFoundException",
			"Images with digests '[%s]' required for pushing image into repository with name '%s' in the registry with id '%s' do not exist",
			strings.Join(missing, ", "), repo.Name, repo.Key.Account)
	}
	return nil
}

func (s *Server) putImageAPI(c *call, in *ecr.PutImageInput) (*ecr.PutImageOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	raw := []byte(aws.ToString(in.ImageManifest))
	if len(raw) == 0 || len(raw) > maxManifestSize {
		return nil, errConstraint("imageManifest", "Member must have length between 1 and "+strconv.Itoa(maxManifestSize))
	}
	m, err := parseManifest(raw, aws.ToString(in.ImageManifestMediaType), true)
	if err != nil {
		return nil, err
	}
	expected := digest.Digest(aws.ToString(in.ImageDigest))
	if expected != "" && expected.Validate() != nil {
		return nil, errConstraint("imageDigest", "must be a digest")
	}
	tag := aws.ToString(in.ImageTag)
	img, changed, err := s.putImage(c.r.Context(), repo, put{manifest: m, tag: tag, digest: expected})
	if err != nil {
		return nil, err
	}
	if !changed {
		return nil, newError("ImageAlreadyExistsException",
			"Image with digest '%s' and tag '%s' already exists in the repository with name '%s' in registry with id '%s'",
			img.Digest, tag, repo.Name, repo.Key.Account)
	}
	return &ecr.PutImageOutput{Image: repo.imageOf(img, img.manifest, tag)}, nil
}

// imageOf is an image with its manifest, as the API shows it.
func (repo *repository) imageOf(img *image, m *manifest, tag string) *ecrtypes.Image {
	dgst := string(img.Digest)
	if m != img.manifest {
		dgst = string(digest.FromBytes(m.raw))
	}
	return &ecrtypes.Image{
		ImageId:                &ecrtypes.ImageIdentifier{ImageDigest: &dgst, ImageTag: optional(tag)},
		ImageManifest:          aws.String(string(m.raw)),
		ImageManifestMediaType: aws.String(m.mediaType),
		RegistryId:             aws.String(repo.Key.Account),
		RepositoryName:         aws.String(repo.Name),
	}
}

// imageFilter is the common part of the listing operations' filters.
type imageFilter struct {
	tagStatus ecrtypes.TagStatus
	status    ecrtypes.ImageStatusFilter
}

// check refuses values that do not exist.
func (f imageFilter) check() error {
	if f.tagStatus != "" && !slices.Contains(f.tagStatus.Values(), f.tagStatus) {
		return errConstraint("filter.tagStatus", "Member must satisfy enum value set: [TAGGED, UNTAGGED, ANY]")
	}
	if f.status != "" && !slices.Contains(f.status.Values(), f.status) {
		return errConstraint("filter.imageStatus", "Member must satisfy enum value set: [ACTIVE, ARCHIVED, ACTIVATING, ANY]")
	}
	return nil
}

// lets reports whether the filter lets an image through. Without a status only active ones pass.
func (f imageFilter) lets(img *image) bool {
	status := cmp.Or(f.status, ecrtypes.ImageStatusFilterActive)
	if status != ecrtypes.ImageStatusFilterAny && string(status) != img.status() {
		return false
	}
	switch f.tagStatus {
	case ecrtypes.TagStatusTagged:
		return len(img.tags) > 0
	case ecrtypes.TagStatusUntagged:
		return len(img.tags) == 0
	default:
		return true
	}
}

func (s *Server) listImages(c *call, in *ecr.ListImagesInput) (*ecr.ListImagesOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	var filter imageFilter
	if in.Filter != nil {
		filter = imageFilter{tagStatus: in.Filter.TagStatus, status: in.Filter.ImageStatus}
	}
	if err := filter.check(); err != nil {
		return nil, err
	}
	var keys []imageKey
	for _, key := range repo.listing() {
		if filter.lets(repo.Images[key.digest]) {
			keys = append(keys, key)
		}
	}
	page, next, err := paginate(s, pageRequest{
		op: "ListImages", size: in.MaxResults, token: in.NextToken, byDefault: 100, most: 1000,
	}, keys, imageKey.String)
	if err != nil {
		return nil, err
	}
	out := &ecr.ListImagesOutput{ImageIds: make([]ecrtypes.ImageIdentifier, 0, len(page)), NextToken: next}
	for _, key := range page {
		out.ImageIds = append(out.ImageIds, ecrtypes.ImageIdentifier{ImageDigest: aws.String(string(key.digest)), ImageTag: optional(key.tag)})
	}
	return out, nil
}

// detail is what DescribeImages says of an image.
func (repo *repository) detail(img *image) ecrtypes.ImageDetail {
	pushed := img.PushedAt
	d := ecrtypes.ImageDetail{
		ArtifactMediaType:      optional(img.artifactType),
		ImageDigest:            aws.String(string(img.Digest)),
		ImageManifestMediaType: aws.String(img.MediaType),
		ImagePushedAt:          &pushed,
		ImageSizeInBytes:       aws.Int64(repo.imageSize(img)),
		ImageStatus:            ecrtypes.ImageStatus(img.status()),
		LastActivatedAt:        optionalTime(img.ActivatedAt),
		LastArchivedAt:         optionalTime(img.ArchivedAt),
		LastRecordedPullTime:   optionalTime(img.PulledAt),
		RegistryId:             aws.String(repo.Key.Account),
		RepositoryName:         aws.String(repo.Name),
	}
	if len(img.tags) > 0 {
		d.ImageTags = img.sortedTags()
	}
	if img.subject != nil {
		d.SubjectManifestDigest = aws.String(string(img.subject.Digest))
	}
	return d
}

// imageSize is an image's size or, for an index, that of its largest child.
func (repo *repository) imageSize(img *image) int64 {
	if !isIndex(img.MediaType) {
		return img.size()
	}
	var largest int64
	for _, child := range img.children {
		if c := repo.Images[child.Digest]; c != nil {
			largest = max(largest, c.size())
		}
	}
	return largest
}

func (s *Server) describeImages(c *call, in *ecr.DescribeImagesInput) (*ecr.DescribeImagesOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if len(in.ImageIds) > 0 {
		return s.describeNamedImages(repo, in)
	}
	var filter imageFilter
	if in.Filter != nil {
		filter = imageFilter{tagStatus: in.Filter.TagStatus, status: in.Filter.ImageStatus}
	}
	if err := filter.check(); err != nil {
		return nil, err
	}
	var images []*image
	for _, dgst := range sortedDigests(repo) {
		if img := repo.Images[dgst]; filter.lets(img) {
			images = append(images, img)
		}
	}
	page, next, err := paginate(s, pageRequest{
		op: "DescribeImages", size: in.MaxResults, token: in.NextToken, byDefault: 100, most: 1000,
	}, images, func(img *image) string { return string(img.Digest) })
	if err != nil {
		return nil, err
	}
	out := &ecr.DescribeImagesOutput{ImageDetails: make([]ecrtypes.ImageDetail, 0, len(page)), NextToken: next}
	for _, img := range page {
		out.ImageDetails = append(out.ImageDetails, repo.detail(img))
	}
	return out, nil
}

func sortedDigests(repo *repository) []digest.Digest { return slices.Sorted(maps.Keys(repo.Images)) }

func (s *Server) describeNamedImages(repo *repository, in *ecr.DescribeImagesInput) (*ecr.DescribeImagesOutput, error) {
	if in.MaxResults != nil || in.NextToken != nil {
		return nil, errInvalidParameter("maxResults and nextToken cannot be used together with imageIds")
	}
	if err := checkImageIDs(in.ImageIds); err != nil {
		return nil, err
	}
	out := &ecr.DescribeImagesOutput{}
	seen := make(map[digest.Digest]bool)
	for _, id := range in.ImageIds {
		img := repo.find(aws.ToString(id.ImageTag), digest.Digest(aws.ToString(id.ImageDigest)))
		if img == nil {
			return nil, newError("ImageNotFoundException",
				"The image with imageId %s does not exist within the repository with name '%s' in the registry with id '%s'",
				imageIDString(id), repo.Name, repo.Key.Account)
		}
		if !seen[img.Digest] {
			seen[img.Digest] = true
			out.ImageDetails = append(out.ImageDetails, repo.detail(img))
		}
	}
	return out, nil
}

func imageIDString(id ecrtypes.ImageIdentifier) string {
	return "{imageDigest:'" + aws.ToString(id.ImageDigest) + "', imageTag:'" + aws.ToString(id.ImageTag) + "'}"
}

func checkImageIDs(ids []ecrtypes.ImageIdentifier) error {
	if len(ids) < 1 || len(ids) > 100 {
		return errConstraint("imageIds", "Member must have length between 1 and 100")
	}
	return nil
}

// imageFailure says what is wrong with an image id, or returns nil and the image it names.
func (repo *repository) imageFailure(id ecrtypes.ImageIdentifier) (*image, *ecrtypes.ImageFailure) {
	tag, dgst := aws.ToString(id.ImageTag), digest.Digest(aws.ToString(id.ImageDigest))
	fail := func(code ecrtypes.ImageFailureCode, reason string) (*image, *ecrtypes.ImageFailure) {
		return nil, &ecrtypes.ImageFailure{FailureCode: code, FailureReason: &reason, ImageId: &id}
	}
	switch {
	case tag == "" && dgst == "":
		return fail(ecrtypes.ImageFailureCodeMissingDigestAndTag, "Invalid request parameters: both tag and digest cannot be null")
	case dgst != "" && dgst.Validate() != nil:
		return fail(ecrtypes.ImageFailureCodeInvalidImageDigest, "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
	case tag != "" && !imageTagValid(tag):
		return fail(ecrtypes.ImageFailureCodeInvalidImageTag, "Invalid request parameters: image tag is not well formed")
	case tag != "" && dgst != "" && repo.Tags[tag] != "" && repo.Tags[tag] != dgst:
		return fail(ecrtypes.ImageFailureCodeImageTagDoesNotMatchDigest, "The tag does not belong to the image with this digest")
	}
	img := repo.find(tag, dgst)
	if img == nil {
		return fail(ecrtypes.ImageFailureCodeImageNotFound, "Requested image not found")
	}
	return img, nil
}

func (s *Server) batchGetImage(c *call, in *ecr.BatchGetImageInput) (*ecr.BatchGetImageOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if err := checkImageIDs(in.ImageIds); err != nil {
		return nil, err
	}
	if len(in.AcceptedMediaTypes) > 100 {
		return nil, errConstraint("acceptedMediaTypes", "Member must have length less than or equal to 100")
	}
	out := &ecr.BatchGetImageOutput{Images: []ecrtypes.Image{}, Failures: []ecrtypes.ImageFailure{}}
	for _, id := range in.ImageIds {
		img, failure := repo.imageFailure(id)
		if failure == nil && img.Archived {
			failure = &ecrtypes.ImageFailure{
				FailureCode:   ecrtypes.ImageFailureCodeImageInaccessible,
				FailureReason: aws.String("The image is archived"), ImageId: &id,
			}
		}
		if failure != nil {
			out.Failures = append(out.Failures, *failure)
			continue
		}
		s.recordPull(img)
		out.Images = append(out.Images, *repo.imageOf(img, s.served(img, id.ImageTag != nil, in.AcceptedMediaTypes), aws.ToString(id.ImageTag)))
	}
	return out, nil
}

// served is the manifest a pull gets: converted to what the client accepts when it pulls by
// tag, the stored bytes when it pulls by digest.
func (s *Server) served(img *image, byTag bool, accept []string) *manifest {
	if !byTag || !s.quirks.ConvertByAccept {
		return img.manifest
	}
	return img.converted(accept)
}

// recordPull notes a pull, at most once a day as ECR does.
func (s *Server) recordPull(img *image) {
	if now := s.clock(); now.Sub(img.PulledAt).Hours() >= 24 {
		img.PulledAt = now
		s.changed()
	}
}

func (s *Server) batchDeleteImage(c *call, in *ecr.BatchDeleteImageInput) (*ecr.BatchDeleteImageOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if err := checkImageIDs(in.ImageIds); err != nil {
		return nil, err
	}
	out := &ecr.BatchDeleteImageOutput{ImageIds: []ecrtypes.ImageIdentifier{}, Failures: []ecrtypes.ImageFailure{}}
	for _, id := range in.ImageIds {
		deleted, failure := repo.deleteImage(id)
		if failure != nil {
			out.Failures = append(out.Failures, *failure)
			continue
		}
		out.ImageIds = append(out.ImageIds, deleted...)
	}
	s.changed()
	return out, nil
}

// deleteImage removes a tag, and the image with its last one, or an image with all its tags.
func (repo *repository) deleteImage(id ecrtypes.ImageIdentifier) ([]ecrtypes.ImageIdentifier, *ecrtypes.ImageFailure) {
	img, failure := repo.imageFailure(id)
	if failure != nil {
		return nil, failure
	}
	tags := []string{aws.ToString(id.ImageTag)}
	if tags[0] == "" {
		tags = img.sortedTags()
	} else if len(img.tags) > 1 {
		repo.untag(tags[0])
		return identifiers(img.Digest, tags), nil
	}
	if parents := repo.indexesOf[img.Digest]; len(parents) > 0 {
		return nil, &ecrtypes.ImageFailure{
			FailureCode: ecrtypes.ImageFailureCodeImageReferencedByManifestList,
			FailureReason: aws.String("Requested image referenced by manifest list: [" +
				strings.Join(digestStrings(parents), ", ") + "]"),
			ImageId: &id,
		}
	}
	repo.remove(img)
	return identifiers(img.Digest, tags), nil
}

func identifiers(dgst digest.Digest, tags []string) []ecrtypes.ImageIdentifier {
	if len(tags) == 0 {
		return []ecrtypes.ImageIdentifier{{ImageDigest: aws.String(string(dgst))}}
	}
	var ids []ecrtypes.ImageIdentifier
	for _, tag := range tags {
		ids = append(ids, ecrtypes.ImageIdentifier{ImageDigest: aws.String(string(dgst)), ImageTag: optional(tag)})
	}
	return ids
}

func digestStrings(set map[digest.Digest]struct{}) []string {
	var all []string
	for _, d := range slices.Sorted(maps.Keys(set)) {
		all = append(all, string(d))
	}
	return all
}

func (s *Server) updateImageStorageClass(c *call, in *ecr.UpdateImageStorageClassInput) (*ecr.UpdateImageStorageClassOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if in.ImageId == nil {
		return nil, errConstraint("imageId", "Member must not be null")
	}
	img := repo.find(aws.ToString(in.ImageId.ImageTag), digest.Digest(aws.ToString(in.ImageId.ImageDigest)))
	if img == nil {
		return nil, newError("ImageNotFoundException",
			"The image with imageId %s does not exist within the repository with name '%s' in the registry with id '%s'",
			imageIDString(*in.ImageId), repo.Name, repo.Key.Account)
	}
	switch in.TargetStorageClass {
	case ecrtypes.TargetStorageClassArchive:
		img.Archived, img.ArchivedAt = true, s.clock()
	case ecrtypes.TargetStorageClassStandard:
		img.Archived, img.ActivatedAt = false, s.clock()
	default:
		return nil, errConstraint("targetStorageClass", "Member must satisfy enum value set: [STANDARD, ARCHIVE]")
	}
	s.changed()
	return &ecr.UpdateImageStorageClassOutput{
		ImageId:        &ecrtypes.ImageIdentifier{ImageDigest: aws.String(string(img.Digest)), ImageTag: in.ImageId.ImageTag},
		ImageStatus:    ecrtypes.ImageStatus(img.status()),
		RegistryId:     &repo.Key.Account,
		RepositoryName: &repo.Name,
	}, nil
}

// referrers returns the images that refer to subject, by digest.
func (repo *repository) referrers(subject digest.Digest) []*image {
	var found []*image
	for _, dgst := range slices.Sorted(maps.Keys(repo.referrersOf[subject])) {
		found = append(found, repo.Images[dgst])
	}
	return found
}

func (s *Server) listImageReferrers(c *call, in *ecr.ListImageReferrersInput) (*ecr.ListImageReferrersOutput, error) {
	repo, err := s.repository(c, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if in.SubjectId == nil {
		return nil, errConstraint("subjectId", "Member must not be null")
	}
	keep, err := referrerFilter(in.Filter)
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(repo.referrers(digest.Digest(aws.ToString(in.SubjectId.ImageDigest))), func(img *image) bool { return !keep(img) })
	page, next, err := paginate(s, pageRequest{
		op: "ListImageReferrers", size: in.MaxResults, token: in.NextToken, byDefault: 20, most: 50,
	}, found, func(img *image) string { return string(img.Digest) })
	if err != nil {
		return nil, err
	}
	out := &ecr.ListImageReferrersOutput{Referrers: make([]ecrtypes.ImageReferrer, 0, len(page)), NextToken: next}
	for _, img := range page {
		out.Referrers = append(out.Referrers, ecrtypes.ImageReferrer{
			Annotations:    img.annotations,
			ArtifactStatus: ecrtypes.ArtifactStatus(img.status()),
			ArtifactType:   optional(img.artifactType),
			Digest:         aws.String(string(img.Digest)),
			MediaType:      aws.String(img.MediaType),
			Size:           aws.Int64(int64(len(img.raw))),
		})
	}
	return out, nil
}

// referrerFilter turns the request's filter into a test. Without one only active referrers pass.
func referrerFilter(f *ecrtypes.ListImageReferrersFilter) (func(*image) bool, error) {
	status := ecrtypes.ArtifactStatusFilterActive
	var kinds []string
	if f != nil {
		status, kinds = cmp.Or(f.ArtifactStatus, status), f.ArtifactTypes
	}
	if len(kinds) > 5 {
		return nil, errConstraint("filter.artifactTypes", "Member must have length less than or equal to 5")
	}
	return func(img *image) bool {
		return (status == ecrtypes.ArtifactStatusFilterAny || string(status) == img.status()) &&
			(len(kinds) == 0 || slices.Contains(kinds, img.artifactType))
	}, nil
}
