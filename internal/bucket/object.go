package bucket

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// digestKey is the user metadata that says what a manifest's digest is, so that a tag can
// be resolved without reading it. Clients see it as x-amz-meta-docker-content-digest.
const digestKey = "docker-content-digest"

// dockerSyncKey is what Altinity/docker-sync writes in its place.
const dockerSyncKey = "x-calculated-digest"

// info is what S3 says of an object.
type info struct {
	mediaType string
	digest    ref.Digest // "" where the object does not say
	size      int64
	modified  time.Time
	etag      string
}

// little does something within the bucket's limits that carries no blob.
func (b *bucket) little(ctx context.Context, do func(context.Context) error) error {
	return limited(ctx, b.small, func() error {
		ctx, cancel := context.WithTimeoutCause(ctx, smallTime, fmt.Errorf("no answer for %s", smallTime))
		defer cancel()
		err := do(ctx)
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	})
}

// head returns what S3 says of an object.
func (b *bucket) head(ctx context.Context, key string) (found info, err error) {
	err = b.little(ctx, func(ctx context.Context) error {
		out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &key})
		if err != nil {
			return translate("HeadObject", err)
		}
		found = info{
			mediaType: aws.ToString(out.ContentType), size: aws.ToInt64(out.ContentLength),
			digest: digestIn(out.Metadata), modified: aws.ToTime(out.LastModified), etag: aws.ToString(out.ETag),
		}
		return nil
	})
	return found, err
}

// digestIn returns the digest that an object's metadata says, "" where it says none.
func digestIn(metadata map[string]string) ref.Digest {
	d, err := ref.ParseDigest(cmp.Or(metadata[digestKey], metadata[dockerSyncKey]))
	if err != nil {
		return ""
	}
	return d
}

// get reads a small object whole.
func (b *bucket) get(ctx context.Context, key string, most int64) (raw []byte, found info, err error) {
	err = b.little(ctx, func(ctx context.Context) (err error) {
		out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: &key})
		if err != nil {
			return translate("GetObject", err)
		}
		defer out.Body.Close()
		found = info{mediaType: aws.ToString(out.ContentType), digest: digestIn(out.Metadata), etag: aws.ToString(out.ETag)}
		if raw, err = io.ReadAll(io.LimitReader(out.Body, most+1)); err != nil {
			return translate("GetObject", err)
		}
		if int64(len(raw)) > most {
			return fmt.Errorf("s3:GetObject: %s has more than %d bytes: %w", key, most, registry.ErrPermanent)
		}
		return nil
	})
	return raw, found, err
}

// object is a small object to be written.
type object struct {
	key       string
	raw       []byte
	mediaType string
	cache     string     // Cache-Control
	digest    ref.Digest // "" for what is no manifest

	// Where is is given, the object is written only over that version; where fresh is set,
	// only where there is none. A server that knows no conditions is written to without.
	is    string
	fresh bool
}

// put writes a small object. The error is of the kind errChanged where the condition does
// not hold.
func (b *bucket) put(ctx context.Context, o object) error {
	in := b.input(o.key, o.mediaType, o.cache)
	in.ContentLength = aws.Int64(int64(len(o.raw)))
	if o.digest != "" {
		in.Metadata = map[string]string{digestKey: string(o.digest)}
	}
	if o.is != "" {
		in.IfMatch = &o.is
	}
	if o.fresh {
		in.IfNoneMatch = aws.String("*")
	}
	err := b.send(ctx, in, o.raw)
	if errors.Is(err, registry.ErrUnsupported) && (o.fresh || o.is != "") {
		in.IfMatch, in.IfNoneMatch = nil, nil
		err = b.send(ctx, in, o.raw)
	}
	if errors.Is(err, registry.ErrNotFound) && o.is != "" {
		return errChanged // it was there, and was deleted since
	}
	return err
}

func (b *bucket) send(ctx context.Context, in *s3.PutObjectInput, raw []byte) error {
	return b.little(ctx, func(ctx context.Context) error {
		in.Body = bytes.NewReader(raw)
		_, err := b.client.PutObject(ctx, in, sums{b.client.checksums}.of(raw).forPut(in))
		return translate("PutObject", err)
	})
}

// input is what all that is written has in common.
func (b *bucket) input(key, mediaType, cache string) *s3.PutObjectInput {
	in := &s3.PutObjectInput{
		Bucket: &b.name, Key: &key, ContentType: &mediaType, CacheControl: &cache,
		ACL: types.ObjectCannedACL(b.settings.ACL),
	}
	if b.settings.KMSKey != "" {
		in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, &b.settings.KMSKey
	}
	return in
}

// putNew writes an object that is named by its digest, where it is not there yet. One that
// is there and is something else is replaced; only its bytes tell, since what was damaged
// keeps its name, and may keep its size.
func (b *bucket) putNew(ctx context.Context, o object) error {
	o.fresh = true
	err := b.put(ctx, o)
	if !errors.Is(err, errChanged) {
		return err
	}
	raw, held, err := b.get(ctx, o.key, maxManifest)
	if err == nil && bytes.Equal(raw, o.raw) && held.mediaType == o.mediaType && held.digest == o.digest {
		return nil
	}
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	o.fresh = false
	return b.put(ctx, o)
}

// remove deletes an object. One that is not there is removed as well.
func (b *bucket) remove(ctx context.Context, key string) error {
	return b.little(ctx, func(ctx context.Context) error {
		_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: &key})
		return translate("DeleteObject", err)
	})
}

// listed is an object in a listing.
type listed struct {
	key      string
	size     int64
	modified time.Time
}

// list calls each with every object below a prefix, in the order of their keys, until each
// returns false.
func (b *bucket) list(ctx context.Context, prefix string, each func(listed) bool) error {
	var token *string
	for {
		var out *s3.ListObjectsV2Output
		err := b.little(ctx, func(ctx context.Context) (err error) {
			out, err = b.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: &prefix, ContinuationToken: token})
			return translate("ListObjectsV2", err)
		})
		if err != nil {
			return err
		}
		for _, o := range out.Contents {
			if !each(listed{key: aws.ToString(o.Key), size: aws.ToInt64(o.Size), modified: aws.ToTime(o.LastModified)}) {
				return nil
			}
		}
		if token = out.NextContinuationToken; !aws.ToBool(out.IsTruncated) || token == nil {
			return nil
		}
	}
}

// copyOver lets S3 copy an object within the bucket, with all that is said of it.
func (b *bucket) copyOver(ctx context.Context, from, to string) error {
	source := (&url.URL{Path: b.name + "/" + from}).EscapedPath()
	in := &s3.CopyObjectInput{
		Bucket: &b.name, Key: &to, CopySource: aws.String(strings.ReplaceAll(source, "+", "%2B")), MetadataDirective: types.MetadataDirectiveCopy,
		ACL: types.ObjectCannedACL(b.settings.ACL), StorageClass: types.StorageClass(b.settings.StorageClass),
	}
	if b.settings.KMSKey != "" {
		in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, &b.settings.KMSKey
	}
	return limited(ctx, b.streams, func() error {
		ctx, cancel := context.WithTimeoutCause(ctx, partTime, fmt.Errorf("no answer for %s", partTime))
		defer cancel()
		_, err := b.client.CopyObject(ctx, in)
		return translate("CopyObject", err)
	})
}

// base sees to it that there is something at v2/, which clients ask for first.
func (b *bucket) base(ctx context.Context) error {
	return b.based.do(func() error {
		key := b.key(root)
		_, err := b.head(ctx, key)
		if !errors.Is(err, registry.ErrNotFound) {
			return err
		}
		return b.putNew(ctx, object{key: key, raw: []byte("{}"), mediaType: typeJSON, cache: b.briefly()})
	})
}
