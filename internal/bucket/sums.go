package bucket

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// sums says how what is sent is proven. Its SHA-256 goes into the signature, so that no
// server stores anything else, and to AWS as a checksum, too, which it keeps. For a blob
// that is its digest: it is known before the first byte is read, and nothing has to be held
// in memory for it.
type sums struct{ checksums bool }

type sum struct {
	sums
	hash []byte // SHA-256; nil where only another digest is known
}

func (s sums) of(raw []byte) sum {
	hash := sha256.Sum256(raw)
	return sum{s, hash[:]}
}

// ofDigest is the sum of what has a digest, as far as that tells.
func (s sums) ofDigest(d ref.Digest) sum {
	hash, err := hex.DecodeString(d.Encoded())
	if err != nil || d.Algorithm() != digest.SHA256 {
		return sum{s, nil}
	}
	return sum{s, hash}
}

// checksum is the header's value, nil where none is sent.
func (s sum) checksum() *string {
	if s.hash == nil || !s.checksums {
		return nil
	}
	encoded := base64.StdEncoding.EncodeToString(s.hash)
	return &encoded
}

func (s sum) forPut(in *s3.PutObjectInput) func(*s3.Options) {
	in.ChecksumSHA256 = s.checksum()
	return s.signed
}

func (s sum) forPart(in *s3.UploadPartInput) func(*s3.Options) {
	in.ChecksumSHA256 = s.checksum()
	return s.signed
}

// signed puts the sum into the signature.
func (s sum) signed(o *s3.Options) {
	payload := "UNSIGNED-PAYLOAD"
	if s.hash != nil {
		payload = hex.EncodeToString(s.hash)
	}
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("PayloadIsKnown",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				return next.HandleInitialize(v4.SetPayloadHash(ctx, payload), in)
			}), middleware.Before)
	})
}
