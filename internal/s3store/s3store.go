// Package s3store keeps a state in an object of an S3 bucket, so that runs in a cluster,
// which have no disk of their own, can share it.
package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/state"
)

// Location is an object in a bucket.
type Location struct{ Bucket, Key string }

// ParseLocation reads s3://BUCKET/KEY.
func ParseLocation(s string) (Location, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Location{}, fmt.Errorf("%q is no object: expected s3://BUCKET/KEY", s)
	}
	key := strings.TrimPrefix(u.Path, "/")
	if key == "" || strings.HasSuffix(key, "/") {
		return Location{}, fmt.Errorf("%q names no object in the bucket: expected s3://BUCKET/KEY", s)
	}
	return Location{Bucket: u.Host, Key: key}, nil
}

// String writes the location as ParseLocation reads it.
func (l Location) String() string { return "s3://" + l.Bucket + "/" + l.Key }

// Store is a state.Store in an object. It is not safe for concurrent use.
type Store struct {
	at     Location
	config aws.Config
	client *s3.Client
}

var _ state.Store = (*Store)(nil)

// New returns a Store. It does no I/O. The bucket may be in another Region than config's.
func New(config aws.Config, at Location) *Store {
	s := &Store{at: at, config: config.Copy()}
	s.client = s.in(config.Region)
	return s
}

// in returns a client for a Region. Servers other than AWS's have the bucket in the path.
func (s *Store) in(region string) *s3.Client {
	s.config.Region = region
	return s3.NewFromConfig(s.config, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil })
}

// Read reads the object. Its version is the ETag.
func (s *Store) Read(ctx context.Context) (data []byte, version string, err error) {
	err = s.wherever(func() error {
		out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.at.Bucket, Key: &s.at.Key})
		if err != nil {
			return err
		}
		defer out.Body.Close()
		version = aws.ToString(out.ETag)
		data, err = io.ReadAll(io.LimitReader(out.Body, state.MaxSize+1))
		return err
	})
	if code(err) == "NoSuchKey" {
		return nil, "", nil
	}
	return data, version, explained("GetObject", err)
}

// Write replaces the object, if it still has that version. A server that knows no
// conditions is written to without.
func (s *Store) Write(ctx context.Context, data []byte, version string) error {
	err := s.put(ctx, data, func(in *s3.PutObjectInput) {
		if version == "" {
			in.IfNoneMatch = aws.String("*")
			return
		}
		in.IfMatch = &version
	})
	if code(err) == "NotImplemented" {
		err = s.put(ctx, data, func(*s3.PutObjectInput) {})
	}
	switch code(err) {
	case "PreconditionFailed", "ConditionalRequestConflict",
		"NoSuchKey": // it was there, and was deleted since
		return state.ErrChanged
	}
	return explained("PutObject", err)
}

func (s *Store) put(ctx context.Context, data []byte, condition func(*s3.PutObjectInput)) error {
	return s.wherever(func() error {
		in := &s3.PutObjectInput{
			Bucket: &s.at.Bucket, Key: &s.at.Key,
			Body: bytes.NewReader(data), ContentType: aws.String("application/json"),
		}
		condition(in)
		_, err := s.client.PutObject(ctx, in)
		return err
	})
}

// wherever asks again in the Region that S3 says the bucket is in.
func (s *Store) wherever(ask func() error) error {
	err := ask()
	answer, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok || answer.Response == nil {
		return err
	}
	region := answer.Response.Header.Get("X-Amz-Bucket-Region")
	if region == "" || region == s.config.Region {
		return err
	}
	s.client = s.in(region)
	return ask()
}

// code is what S3 calls an error, "" where it said nothing.
func code(err error) string {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return ""
	}
	return api.ErrorCode()
}

// explained words an error of a call in one line, without the SDK's account of its
// attempts.
func explained(call string, err error) error {
	if err == nil {
		return nil
	}
	said := err.Error()
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		said = strings.TrimSuffix(api.ErrorCode()+": "+api.ErrorMessage(), ": ")
	}
	if answer, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && code(err) == "" {
		said = http.StatusText(answer.HTTPStatusCode())
	}
	return fmt.Errorf("s3:%s: %s", call, strings.Join(strings.Fields(said), " "))
}
