package bucket

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/stall"
)

// hasBlob asks with one HEAD whether repo holds a blob. It is claimed first: what was there
// a moment ago may be gone, once its mark is.
func (d *destination) hasBlob(ctx context.Context, want ref.Descriptor) (bool, error) {
	if err := checkDigest(want.Digest); err != nil {
		return false, err
	}
	key := d.bucket.blobKey(d.repo, want.Digest)
	if err := d.bucket.claim(ctx, d.repo, key); err != nil {
		return false, err
	}
	held, err := d.bucket.head(ctx, key)
	if errors.Is(err, registry.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if want.Size >= 0 && held.size != want.Size {
		d.bucket.replace.Store(key, true)
		return false, nil
	}
	return true, nil
}

// UploadBlob stores a blob under its digest: as a whole, or in parts where it is large.
// It becomes visible in one step, when its digest and size are right.
func (d *destination) UploadBlob(ctx context.Context, want ref.Descriptor, open registry.Opener) error {
	if err := checkDigest(want.Digest); err != nil {
		return err
	}
	if want.Size < 0 {
		return fmt.Errorf("blob %s without a size: %w", want.Digest, registry.ErrUnsupported)
	}
	if err := d.bucket.base(ctx); err != nil {
		return err
	}
	key := d.bucket.blobKey(d.repo, want.Digest)
	if err := d.bucket.claim(ctx, d.repo, key); err != nil {
		return err
	}
	return limited(ctx, d.bucket.streams, func() error {
		if want.Size <= d.bucket.opts.tuning.single {
			return d.bucket.uploadWhole(ctx, key, want, open)
		}
		return limited(ctx, d.bucket.inParts, func() error { return d.bucket.uploadInParts(ctx, key, want, open) })
	})
}

// ReplaceBlob is UploadBlob where there is an object under the digest that is not what the
// digest says.
func (d *destination) ReplaceBlob(ctx context.Context, want ref.Descriptor, open registry.Opener) error {
	d.bucket.replace.Store(d.bucket.blobKey(d.repo, want.Digest), true)
	return d.UploadBlob(ctx, want, open)
}

// uploadWhole streams a blob with one PUT, once. Its digest is in the signature, and its
// last bytes are sent only when it is right.
func (b *bucket) uploadWhole(ctx context.Context, key string, want ref.Descriptor, open registry.Opener) (err error) {
	ctx, watch := stall.New(ctx)
	defer watch.Stop()
	body, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	content := check(body, want)
	in := b.blobInput(key)
	in.ContentLength = &want.Size
	in.Body = watch.Upload(content, want.Size, stall.Patience{Stall: stallTime, Answer: answerTime})
	if want.Size == 0 { // which has no last byte that could be held back
		if _, err := content.Read(nil); !errors.Is(err, io.EOF) {
			return err
		}
		in.Body = bytes.NewReader(nil)
	}
	_, err = b.client.PutObject(ctx, in, sums{b.client.checksums}.ofDigest(want.Digest).forPut(in), onceOnly)
	if content.err != nil && !errors.Is(content.err, io.EOF) {
		return content.err // and not what came of it
	}
	return b.landed(ctx, key, want, watch.Cause(translate("PutObject", err)))
}

// onceOnly is for streams: what has been read cannot be sent again.
func onceOnly(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

func (b *bucket) blobInput(key string) *s3.PutObjectInput {
	in := b.input(key, typeBlob, forever)
	in.StorageClass = types.StorageClass(b.settings.StorageClass)
	if _, replaces := b.replace.Load(key); !replaces {
		in.IfNoneMatch = aws.String("*")
	}
	return in
}

// landed judges the answer to an upload. That another run has brought the blob meanwhile is
// as good. Where something else is in its place, or the server knows no conditions, the
// next attempt asks for none.
func (b *bucket) landed(ctx context.Context, key string, want ref.Descriptor, err error) error {
	switch {
	case errors.Is(err, errChanged):
		held, headErr := b.head(ctx, key)
		if headErr == nil && held.size == want.Size {
			return nil
		}
		b.replace.Store(key, true)
		return err
	case errors.Is(err, registry.ErrUnsupported):
		if _, replaces := b.replace.Swap(key, true); !replaces {
			return errors.New("the server knows no conditional writes: " + err.Error())
		}
	case err == nil:
		b.replace.Delete(key)
	}
	return err
}

// uploadInParts sends a blob in parts, once. What was sent is aborted unless all of it is
// right.
func (b *bucket) uploadInParts(ctx context.Context, key string, want ref.Descriptor, open registry.Opener) (err error) {
	body, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	u := upload{bucket: b, key: key, like: b.blobInput(key), size: max(b.opts.tuning.part, (want.Size+mostParts-1)/mostParts)}
	if err := u.begin(ctx); err != nil {
		return err
	}
	err = u.send(ctx, check(body, want), want.Size)
	if err == nil {
		err = u.complete(ctx)
	}
	if err != nil {
		u.abort(ctx)
	}
	return b.landed(ctx, key, want, err)
}

// upload is a blob on its way in parts.
type upload struct {
	bucket *bucket
	key    string
	like   *s3.PutObjectInput // what the object will be
	size   int64              // of a part
	id     *string
	parts  []types.CompletedPart
}

func (u *upload) begin(ctx context.Context) error {
	in := &s3.CreateMultipartUploadInput{
		Bucket: u.like.Bucket, Key: &u.key, ContentType: u.like.ContentType, CacheControl: u.like.CacheControl, ACL: u.like.ACL,
		StorageClass: u.like.StorageClass, ServerSideEncryption: u.like.ServerSideEncryption, SSEKMSKeyId: u.like.SSEKMSKeyId,
	}
	if u.bucket.client.checksums {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmSha256
	}
	return u.bucket.little(ctx, func(ctx context.Context) error {
		out, err := u.bucket.client.CreateMultipartUpload(ctx, in)
		if err != nil {
			return translate("CreateMultipartUpload", err)
		}
		u.id = out.UploadId
		return nil
	})
}

// send reads the content to its end, and sends the parts beside one another. Each is held
// in memory until the server has it.
func (u *upload) send(ctx context.Context, content io.Reader, left int64) error {
	u.parts = make([]types.CompletedPart, (left+u.size-1)/u.size)
	free := make(chan []byte, partsAtOnce)
	for range partsAtOnce {
		free <- nil
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range u.parts {
		var part []byte
		select {
		case part = <-free:
		case <-ctx.Done():
			return g.Wait()
		}
		if part == nil {
			part = make([]byte, u.size)
		}
		part = part[:min(left, u.size)]
		if _, err := io.ReadFull(content, part); err != nil {
			return cmp.Or(g.Wait(), err)
		}
		left -= int64(len(part))
		g.Go(func() error {
			err := u.sendPart(ctx, i, part)
			free <- part[:cap(part)]
			return err
		})
	}
	return g.Wait()
}

func (u *upload) sendPart(ctx context.Context, i int, raw []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, partTime, fmt.Errorf("no answer to a part of %d bytes for %s: %w", len(raw), partTime, registry.ErrStalled))
	defer cancel()
	in := &s3.UploadPartInput{
		Bucket: u.like.Bucket, Key: &u.key, UploadId: u.id, PartNumber: aws.Int32(int32(i + 1)), //nolint:gosec // there are at most 10,000
		ContentLength: aws.Int64(int64(len(raw))), Body: bytes.NewReader(raw),
	}
	out, err := u.bucket.client.UploadPart(ctx, in, sums{u.bucket.client.checksums}.of(raw).forPart(in))
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return translate("UploadPart", err)
	}
	u.parts[i] = types.CompletedPart{ETag: out.ETag, PartNumber: in.PartNumber, ChecksumSHA256: in.ChecksumSHA256}
	return nil
}

// complete makes the parts an object. It is not limited in time as small requests are: the
// server may take minutes.
func (u *upload) complete(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("no answer for %s: %w", answerTime, registry.ErrStalled))
	defer cancel()
	_, err := u.bucket.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: u.like.Bucket, Key: &u.key, UploadId: u.id, IfNoneMatch: u.like.IfNoneMatch,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
	})
	return translate("CompleteMultipartUpload", err)
}

// abortTime is how long a broken upload is cleaned up after, also when the run has ended.
const abortTime = 10 * time.Second

// abort lets the server forget the parts, which would be paid for.
func (u *upload) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	_, err := u.bucket.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: u.like.Bucket, Key: &u.key, UploadId: u.id})
	if err = translate("AbortMultipartUpload", err); err != nil && !errors.Is(err, registry.ErrNotFound) {
		u.bucket.log.Warn("parts of a broken upload stay in the bucket", zap.String("object", u.key), zap.Error(err))
	}
}
