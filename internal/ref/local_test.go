package ref_test

import (
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

func TestPlacesOnDisk(t *testing.T) {
	for written, want := range map[string]ref.Reference{
		"oci:/srv/air/nginx:1.27":       {Repository: ref.Repository{Host: "oci:/srv/air", Path: "nginx"}, Tag: "1.27"},
		"oci:/srv/air/nginx":            {Repository: ref.Repository{Host: "oci:/srv/air", Path: "nginx"}},
		"oci:/srv//Air/../air/nginx":    {Repository: ref.Repository{Host: "oci:/srv/air", Path: "nginx"}},
		"oci:nginx":                     {Repository: ref.Repository{Host: "oci:.", Path: "nginx"}},
		"oci:../air/nginx":              {Repository: ref.Repository{Host: "oci:../air", Path: "nginx"}},
		"oci-archive:dir/nginx.tar:1.0": {Repository: ref.Repository{Host: "oci-archive:dir", Path: "nginx.tar"}, Tag: "1.0"},
	} {
		for name, parse := range map[string]func(string) (ref.Reference, error){"upstream": ref.ParseUpstream, "target": ref.ParseTarget} {
			got, err := parse(written)
			if err != nil || got != want {
				t.Errorf("%s %s: %+v, %v", name, written, got, err)
			}
			if !got.Repository.Local() {
				t.Errorf("%s is not on disk", written)
			}
			if again, err := parse(got.String()); err != nil || again != got {
				t.Errorf("%s does not read back: %+v, %v", got, again, err)
			}
		}
	}
	for _, written := range []string{"oci:", "oci:/srv/", "oci:/srv/Nginx", "oci:/srv:2/nginx", "oci:/s\nv/nginx", "oci-archive:", "oci:/srv/a b", "oci:/srv/.."} {
		if got, err := ref.ParseUpstream(written); err == nil {
			t.Errorf("%q is read as %+v", written, got)
		}
	}
}

// A registry may be called oci. What comes from resource tags is never on disk.
func TestWhatIsNotOnDisk(t *testing.T) {
	r, err := ref.ParseUpstream("oci:443/app:1.0")
	if err != nil || r.Repository.Local() || r.Repository.Host != "oci:443" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, written := range []string{"oci:/srv/nginx", "oci:nginx", "oci:air/nginx", "oci-archive:a.tar", "oci-archive:/srv/a.tar"} {
		if r, err := ref.Parse(written); err == nil && r.Repository.Local() {
			t.Errorf("%s names a file: %+v", written, r)
		}
	}
}

func TestUnder(t *testing.T) {
	for _, host := range []string{"docker.io", "quay.io:443", "s3://bucket", "r2://account/bucket", "oci:/srv/air", "oci:."} {
		got, err := ref.Under(host, "library/nginx")
		if want := (ref.Repository{Host: host, Path: "library/nginx"}); err != nil || got != want {
			t.Errorf("%s: %+v, %v", host, got, err)
		}
		for _, path := range []string{"", "nginx:1.0", "Nginx", "../nginx", "nginx@sha256:x", "a//b"} {
			if got, err := ref.Under(host, path); err == nil {
				t.Errorf("%q under %s is read as %+v", path, host, got)
			}
		}
	}
	if got, err := ref.Under("library", "nginx"); err == nil {
		t.Errorf("a part of a path is taken for a host: %+v", got)
	}
}
