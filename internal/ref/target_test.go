package ref_test

import (
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

func TestScheme(t *testing.T) {
	for host, want := range map[string]string{
		"": "", "docker.io": "", "quay.io:443": "", "localhost:5000": "", "[::1]:5000": "", "127.0.0.1:5000": "",
		"s3://bucket": "s3", "r2://account/bucket": "r2", "oci:/dir": "oci", "docker-daemon:": "docker-daemon",
	} {
		if got := (ref.Repository{Host: host, Path: "a"}).Scheme(); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

func TestParseTarget(t *testing.T) {
	of := func(host, path, tag string) ref.Reference {
		return ref.Reference{Repository: ref.Repository{Host: host, Path: path}, Tag: tag}
	}
	tests := []struct {
		in   string
		want ref.Reference
	}{
		{"nginx", of("docker.io", "library/nginx", "")},
		{"quay.io:443/org/app:1", of("quay.io:443", "org/app", "1")},
		{"s3://bucket/nginx", of("s3://bucket", "nginx", "")},
		{"s3://my.bucket/prefix/library/nginx:1.27", of("s3://my.bucket", "prefix/library/nginx", "1.27")},
		{"r2://f6934f56ce237241104dbe9302cee786/bucket/nginx", of("r2://f6934f56ce237241104dbe9302cee786/bucket", "nginx", "")},
		{"r2://f6934f56.eu/bucket/team/nginx:1", of("r2://f6934f56.eu/bucket", "team/nginx", "1")},
	}
	for _, test := range tests {
		got, err := ref.ParseTarget(test.in)
		if err != nil || got != test.want {
			t.Errorf("ParseTarget(%q) = %+v, %v", test.in, got, err)
		}
		again, err := ref.ParseTarget(got.String())
		if err != nil || again != got {
			t.Errorf("%q is written %q, which is read as %+v, %v", test.in, got, again, err)
		}
	}
}

func TestParseTargetRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"s3://":                    "names no repository",
		"s3://bucket":              "names no repository",
		"s3://bucket/":             "expected [HOST",
		"s3:///nginx":              "names no bucket",
		"s3://b/nginx":             "names no bucket",
		"s3://-bucket/nginx":       "names no bucket",
		"s3://user@bucket/nginx":   "names no bucket",
		"s3://bucket/Nginx":        "lower case",
		"s3://bucket//nginx":       "expected [HOST",
		"s3://bucket/../nginx":     "expected [HOST",
		"s3://bucket/nginx:a b":    "expected [HOST",
		"s3://bucket/nginx?x=y":    "expected [HOST",
		"r2://bucket/nginx":        "names no repository",
		"r2://ACCOUNT/bucket/name": "names no bucket",
		"gs://bucket/nginx":        "expected [HOST",
		"s3:us-east-1:bucket:name": "expected [HOST",
	} {
		got, err := ref.ParseTarget(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseTarget(%q) = %+v, %v, want an error with %q", in, got, err, want)
		}
	}
}

func TestParsePlace(t *testing.T) {
	for _, in := range []string{"docker.io", "quay.io:443", "s3://bucket", "r2://account/bucket"} {
		if got, err := ref.ParsePlace(in); err != nil || got != in {
			t.Errorf("ParsePlace(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "nginx", "s3://", "s3://bucket/", "s3://bucket/prefix", "r2://account", "docker.io/library"} {
		if got, err := ref.ParsePlace(in); err == nil {
			t.Errorf("ParsePlace(%q) = %q, want an error", in, got)
		}
	}
}

func TestParseDockerSync(t *testing.T) {
	for in, want := range map[string]struct{ target, region string }{
		"s3:us-east-1:docker-sync-test:ubuntu":                          {"s3://docker-sync-test/ubuntu", "us-east-1"},
		"r2:f6934f56ce237241104dbe9302cee786:docker-sync-test:a/ubuntu": {"r2://f6934f56ce237241104dbe9302cee786/docker-sync-test/a/ubuntu", ""},
	} {
		got, region, ok, err := ref.ParseDockerSync(in)
		if !ok || err != nil || got.String() != want.target || region != want.region {
			t.Errorf("%s: %s, %q, %t, %v", in, got, region, ok, err)
		}
	}
	for _, in := range []string{"nginx", "quay.io:443/app:1", "s3://bucket/nginx:1", "r3:us-east-1:bucket:image", "localhost:5000/a:1@sha256:x"} {
		if got, _, ok, err := ref.ParseDockerSync(in); ok || err != nil {
			t.Errorf("%s: taken for %s, %v", in, got, err)
		}
	}
	if _, _, ok, err := ref.ParseDockerSync("s3:us-east-1:b:image"); !ok || err == nil {
		t.Errorf("a bucket without a name: %t, %v", ok, err)
	}
}

// What is read is written so that it is read again, and no part of it leaves its place.
func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{"nginx", "s3://bucket/a/b:1", "r2://account/bucket/a@" + sha256Digest, "s3://b/../x", "s3:r:b:i", "oci:/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := ref.ParseTarget(in)
		if err != nil {
			return
		}
		again, err := ref.ParseTarget(got.String())
		if err != nil || again != got {
			t.Errorf("%q is %+v, written %q, which is read as %+v, %v", in, got, got, again, err)
		}
		place, err := ref.ParsePlace(got.Repository.Host)
		if err != nil || place != got.Repository.Host {
			t.Errorf("%q has the place %q, which is read as %q, %v", in, got.Repository.Host, place, err)
		}
		if strings.Contains(got.Repository.Path, "..") || strings.HasPrefix(got.Repository.Path, "/") {
			t.Errorf("%q has the path %q", in, got.Repository.Path)
		}
	})
}
