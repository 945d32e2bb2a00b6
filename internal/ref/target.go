package ref

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Schemes of places that are no registries.
const (
	SchemeS3 = "s3" // a bucket of S3, or of what speaks S3's API: s3://BUCKET
	SchemeR2 = "r2" // a bucket of Cloudflare R2: r2://ACCOUNT/BUCKET
)

// Scheme is the kind of place that Host is: "" for a registry, and else what stands
// before the first colon: "s3" of s3://bucket. What follows the colon of a registry is a
// port.
func (r Repository) Scheme() string {
	scheme, rest, colon := strings.Cut(r.Host, ":")
	if !colon || strings.HasPrefix(scheme, "[") || port.MatchString(rest) {
		return ""
	}
	return scheme
}

var port = regexp.MustCompile(`^[0-9]+$`)

// Names of buckets, those of S3's past and of other servers included, and of accounts of
// R2, which may have a jurisdiction such as ".eu". Compiled when it is asked: its repetitions
// are unrolled, which took 1.2 ms of every start.
var bucketPlace = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^s3://[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$` +
		`|^r2://[a-z0-9]{1,64}(\.[a-z]{1,16})?/[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)
})

// ParsePlace reads what Repository.Host may be of a target: a registry host as references
// write it, a bucket, or a directory: oci:DIR, oci-archive:DIR.
func ParsePlace(s string) (string, error) {
	if isLocal(s) {
		return parseDirectory(s)
	}
	target, err := ParseTarget(s + "/a/b")
	if err != nil || target.Repository.Path != "a/b" || target.Tag != "" {
		return "", fmt.Errorf("%q is neither a registry host nor a bucket nor a directory", s)
	}
	return target.Repository.Host, nil
}

// ParseTarget reads the reference of a target, as Parse does, or of a repository in a
// bucket: s3://BUCKET/PATH[:TAG], r2://ACCOUNT/BUCKET/PATH[:TAG]; or of a layout, as
// ParseUpstream does.
func ParseTarget(s string) (Reference, error) {
	segments := 0 // of the place
	switch {
	case isLocal(s):
		return parseLocal(s)
	case strings.HasPrefix(s, SchemeS3+"://"):
		segments = len([]string{"s3:", "", "BUCKET"})
	case strings.HasPrefix(s, SchemeR2+"://"):
		segments = len([]string{"r2:", "", "ACCOUNT", "BUCKET"})
	default:
		return Parse(s)
	}
	parts := strings.SplitAfterN(s, "/", segments+1)
	if len(parts) <= segments {
		return Reference{}, fmt.Errorf("%q names no repository in the bucket: expected s3://BUCKET/PATH[:TAG] or r2://ACCOUNT/BUCKET/PATH[:TAG]", s)
	}
	place := strings.TrimSuffix(strings.Join(parts[:segments], ""), "/")
	if !bucketPlace().MatchString(place) {
		return Reference{}, fmt.Errorf("%q names no bucket: expected s3://BUCKET/PATH[:TAG] or r2://ACCOUNT/BUCKET/PATH[:TAG]", s)
	}
	return within(place, parts[segments], s)
}

// within reads PATH[:TAG][@DIGEST] of a reference in a place that is no registry. The
// rules are those of registries: it is pulled from one.
func within(place, name, whole string) (Reference, error) {
	const registry = "registry.invalid"
	r, err := Parse(registry + "/" + name)
	if err != nil || r.Repository.Host != registry {
		return Reference{}, fmt.Errorf("%q is not an image reference: %w", whole, plainer(registry+"/"+name, err))
	}
	r.Repository.Host = place
	return r, nil
}

// ParseDockerSync reads a bucket in the form that Altinity/docker-sync has for it,
// s3:REGION:BUCKET:IMAGE or r2:ACCOUNT:BUCKET:IMAGE. Region is "" for R2, and ok is false
// for what does not look like that form.
func ParseDockerSync(s string) (r Reference, region string, ok bool, err error) {
	fields := strings.Split(s, ":")
	if len(fields) != len([]string{"s3", "REGION", "BUCKET", "IMAGE"}) {
		return Reference{}, "", false, nil
	}
	switch fields[0] {
	case SchemeS3:
		r, err = ParseTarget("s3://" + fields[2] + "/" + fields[3])
		return r, fields[1], true, err
	case SchemeR2:
		r, err = ParseTarget("r2://" + fields[1] + "/" + fields[2] + "/" + fields[3])
		return r, "", true, err
	}
	return Reference{}, "", false, nil
}
