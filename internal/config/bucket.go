package config

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A Bucket is how a bucket of S3, or of what speaks S3's API, is reached and written to.
type Bucket struct {
	Endpoint     string `yaml:"endpoint" is:"endpoint" doc:"Where the API is." default:"AWS's, or R2's"`
	Region       string `yaml:"region" is:"text" doc:"The Region of the bucket." default:"S3 is asked; auto for R2 and other endpoints"`
	PathStyle    *bool  `yaml:"pathStyle" doc:"Name the bucket in the path of URLs, and not in their host." default:"true where endpoint is given, else false"`
	Bucket       string `yaml:"bucket" is:"bucket" doc:"The name of the bucket, where s3://BUCKET calls it otherwise: two servers may have buckets of one name."`
	Folder       string `yaml:"folder" is:"pathPrefix" doc:"Put before every key, so that the registry begins at FOLDER/v2/. The server of the files has to add it: CloudFront's origin path does."`
	Profile      string `yaml:"profile" is:"text" doc:"The profile of the AWS configuration whose credentials are used."`
	Role         string `yaml:"role" aka:"roleArn,role-arn" is:"role" doc:"The IAM role to assume first."`
	ACL          string `yaml:"acl" is:"acl" doc:"The canned ACL of what is written. Buckets have ACLs switched off unless somebody switched them on." default:"none is sent"`
	StorageClass string `yaml:"storageClass" is:"storageClass" doc:"The storage class of blobs." default:"the bucket's"`
	KMSKey       string `yaml:"kmsKey" is:"text" doc:"The KMS key, by id or ARN, that what is written is encrypted with." default:"the bucket's own encryption"`
	TagsMaxAge   string `yaml:"tagsMaxAge" is:"duration" doc:"How long caches may keep what a tag means, and lists of tags and referrers. What has a digest in its name never changes, and is kept for a year." default:"1m"`
}

// MaxAge returns how long caches may keep what can change.
func (b Bucket) MaxAge() time.Duration {
	if d, err := time.ParseDuration(b.TagsMaxAge); err == nil {
		return d
	}
	return time.Minute
}

// isBucket reports whether a text means a bucket, well formed or not.
func isBucket(s string) bool { return strings.HasPrefix(s, "s3:") || strings.HasPrefix(s, "r2:") }

var (
	bucketName   = pattern(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$`)
	storageClass = pattern(`^[A-Z][A-Z0-9_]{0,63}$`)
)

// bucketGrammarOf is the part of grammarOf that is about buckets.
func bucketGrammarOf(is string) (grammar, bool) {
	switch is {
	case "endpoint":
		return grammar{noun: "an endpoint", expected: "a URL without a path, such as https://s3.example.com", check: checkEndpoint}, true
	case "bucket":
		return grammar{noun: "the name of a bucket", expected: "letters, digits, and . _ - inside", pattern: bucketName, loose: true}, true
	case "acl":
		return grammar{noun: "a canned ACL", expected: "private, public-read, authenticated-read, bucket-owner-read or bucket-owner-full-control", values: []string{
			"private", "public-read", "authenticated-read", "bucket-owner-read", "bucket-owner-full-control",
		}}, true
	case "storageClass":
		return grammar{noun: "a storage class", expected: "a name such as STANDARD_IA or INTELLIGENT_TIERING", pattern: storageClass}, true
	}
	return grammar{}, false
}

func checkEndpoint(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New(isNot(s, "an endpoint"))
	}
	return nil
}

func checkDestination(s string) error {
	parse := parseReference
	if isBucket(s) {
		parse = parseBucket
	}
	r, err := parse(s)
	if err == nil && r.Digest != "" {
		return errors.New(quoted(s) + " has a digest, which a destination cannot be given")
	}
	return err
}

// parseBucket reads a repository in a bucket.
func parseBucket(s string) (ref.Reference, error) {
	if means, _, ok, err := ref.ParseDockerSync(s); ok && err == nil {
		return ref.Reference{}, errors.New(quoted(s) + " is docker-sync's form of " + means.String())
	}
	r, err := ref.ParseTarget(s)
	if err != nil {
		return ref.Reference{}, errors.New(isNot(s, "a repository in a bucket"))
	}
	return r, nil
}

// buckets notes what is said of a registry that only a bucket can have, and the other way
// round.
func (c *compiler) buckets() {
	for _, host := range slices.Sorted(maps.Keys(c.file.Registries)) {
		r, path := c.file.Registries[host], "registries["+host+"]"
		switch (ref.Repository{Host: host}).Scheme() {
		case ref.SchemeS3:
			c.identity(r, path)
		case ref.SchemeR2:
			c.identity(r, path)
			if r.S3.Endpoint != "" || r.S3.Bucket != "" {
				c.reader.fail(path+".s3", quoted(host)+" says where it is", "s3://NAME for a bucket that is elsewhere")
			}
		case ref.SchemeLayout, ref.SchemeArchive:
			c.reader.fail("registries", quoted(host)+" is a directory, of which there is nothing to say", "a registry host or a bucket")
		default:
			if r.S3 != (Bucket{}) {
				c.reader.fail(path+".s3", quoted(host)+" is no bucket", "s3://BUCKET or r2://ACCOUNT/BUCKET in place of the host")
			}
		}
	}
}

// identity notes credentials, and ways to prove them, that a bucket cannot be asked with.
func (c *compiler) identity(r Registry, path string) {
	if r.TLS != (TLS{}) {
		c.reader.fail(path+".tls", "buckets are reached as the AWS SDK does it", "AWS_CA_BUNDLE in the environment for authorities of one's own, and http:// in s3.endpoint for none")
	}
	if len(r.Paths) > 0 {
		c.reader.fail(path+".paths", "one access key writes to the whole bucket", "credentials")
	}
	switch {
	case r.Credentials == nil:
	case r.Credentials.Username.empty():
		c.reader.fail(path+".credentials", "a bucket is written to with an access key", "username, the key's id, and password, its secret")
	case r.S3.Profile != "":
		c.reader.fail(path+".s3.profile", "credentials and s3.profile are given", "one of them")
	}
}
