package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

func TestBucketsAreDestinations(t *testing.T) {
	c := mustLoad(t, head+`
registries:
  s3://bucket:
    credentials: {username: AKIDEXAMPLE, password: secret}
    limits: {requests: 20}
    s3: {endpoint: "https://s3.example.com", region: eu-west-1, pathStyle: false, bucket: real, folder: a/b, tagsMaxAge: 30s, acl: private}
  r2://account/bucket: {}
mirrors:
- name: one
  from: docker.io/library/nginx
  to: [s3://bucket/mirror/nginx, 'r2://account/bucket/nginx:stable', {registry: s3://bucket, prefix: whole}]
  tags: latest
`)
	var targets []string
	for _, rule := range c.Rules {
		targets = append(targets, rule.Mirror.Target.Tagged(rule.Mirror.As).String())
	}
	want := []string{"s3://bucket/mirror/nginx", "r2://account/bucket/nginx:stable", "s3://bucket/whole/library/nginx"}
	if diff := cmp.Diff(want, targets); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	r := c.File.Registries["s3://bucket"]
	no := false
	if diff := cmp.Diff(config.Bucket{
		Endpoint: "https://s3.example.com", Region: "eu-west-1", PathStyle: &no, Bucket: "real", Folder: "a/b", TagsMaxAge: "30s", ACL: "private",
	}, r.S3); diff != "" {
		t.Errorf("s3 (-want +got):\n%s", diff)
	}
	if r.Limits.Requests != 20 || r.S3.MaxAge() != 30*time.Second || (config.Bucket{}).MaxAge() != time.Minute {
		t.Errorf("%+v", r)
	}
	if scheme := c.Rules[0].Mirror.Target.Scheme(); scheme != ref.SchemeS3 {
		t.Errorf("scheme %q", scheme)
	}
}

// Two mirrors to one tag in a bucket are as wrong as to one tag in a registry.
func TestBucketsClash(t *testing.T) {
	if _, err := load(head + `
mirrors:
- {name: one, from: docker.io/library/nginx, to: s3://bucket/nginx, tags: latest}
- {name: two, from: quay.io/org/nginx, to: s3://bucket/nginx, tags: latest}
`); err == nil {
		t.Error("no error")
	}
}
