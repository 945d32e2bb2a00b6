package ref_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

const (
	sha256Digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	sha512Digest = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
)

// What a name without a host means depends on the name alone: no configuration of the
// machine's is asked which registries to search. A first part without a dot, a port or the
// name localhost is no host, as in Docker: every table shows the name in full.
func TestParse(t *testing.T) {
	faults.Covers(t, "F105")
	t.Setenv("CONTAINERS_REGISTRIES_CONF", registriesThat(t, `unqualified-search-registries = ["evil.example"]`, `[aliases]`, `"nginx" = "evil.example/nginx"`))
	tests := []struct {
		in               string
		host, path       string
		tag, digest, out string
	}{
		{in: "nginx", host: "docker.io", path: "library/nginx", out: "docker.io/library/nginx"},
		{in: "nginx:1.27", host: "docker.io", path: "library/nginx", tag: "1.27", out: "docker.io/library/nginx:1.27"},
		{in: "bitnami/nginx", host: "docker.io", path: "bitnami/nginx", out: "docker.io/bitnami/nginx"},
		{in: "registry/nginx", host: "docker.io", path: "registry/nginx", out: "docker.io/registry/nginx"},
		{in: "index.docker.io/nginx", host: "docker.io", path: "library/nginx", out: "docker.io/library/nginx"},
		{in: "quay.io:443/org/app:1", host: "quay.io:443", path: "org/app", tag: "1", out: "quay.io:443/org/app:1"},
		{in: "localhost/app", host: "localhost", path: "app", out: "localhost/app"},
		{in: "127.0.0.1:5000/a/b/c", host: "127.0.0.1:5000", path: "a/b/c", out: "127.0.0.1:5000/a/b/c"},
		{in: "quay.io/app@" + sha256Digest, host: "quay.io", path: "app", digest: sha256Digest, out: "quay.io/app@" + sha256Digest},
		{in: "quay.io/app:1@" + sha256Digest, host: "quay.io", path: "app", tag: "1", digest: sha256Digest, out: "quay.io/app:1@" + sha256Digest},
		{
			in:   "111122223333.dkr.ecr.eu-central-1.amazonaws.com/team/app:v1",
			host: "111122223333.dkr.ecr.eu-central-1.amazonaws.com", path: "team/app", tag: "v1",
			out: "111122223333.dkr.ecr.eu-central-1.amazonaws.com/team/app:v1",
		},
	}
	for _, test := range tests {
		t.Run(test.in, func(t *testing.T) {
			got, err := ref.Parse(test.in)
			if err != nil {
				t.Fatal(err)
			}
			want := ref.Reference{Repository: ref.Repository{Host: test.host, Path: test.path}, Tag: test.tag, Digest: ref.Digest(test.digest)}
			if got != want {
				t.Errorf("got %#v, want %#v", got, want)
			}
			if got.String() != test.out {
				t.Errorf("String() = %q, want %q", got, test.out)
			}
		})
	}
}

// registriesThat returns the path of a registries.conf with those lines.
func registriesThat(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "registries.conf")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// An upper-case name used to be answered with the library's words, since its own error
// for that is not the one it exports.
func TestParseRefuses(t *testing.T) {
	faults.Covers(t, "F98")
	tests := []struct{ in, want string }{
		{"", "expected [HOST"},
		{" nginx", "expected [HOST"},
		{"Nginx", "lower case"},
		{"quay.io/Org/app", "lower case"},
		{"quay.io/org/app:", "expected [HOST"},
		{"quay.io/org/app:a b", "expected [HOST"},
		{"quay.io/org//app", "expected [HOST"},
		{"quay.io/../app", "expected [HOST"},
		{"https://quay.io/org/app", "expected [HOST"},
		{"quay.io/app@sha256:abc", "expected [HOST"},
		{"quay.io/app@md5:d41d8cd98f00b204e9800998ecf8427e", "unsupported digest"},
		{"quay.io/app@sha256:../../../../etc/passwd", "expected [HOST"},
	}
	for _, test := range tests {
		_, err := ref.Parse(test.in)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Parse(%q) = %v, want an error with %q", test.in, err, test.want)
		}
	}
}

func TestParseRepository(t *testing.T) {
	got, err := ref.ParseRepository("nginx")
	if err != nil || got != (ref.Repository{Host: "docker.io", Path: "library/nginx"}) {
		t.Errorf("ParseRepository(nginx) = %v, %v", got, err)
	}
	for _, in := range []string{"nginx:1.27", "nginx@" + sha256Digest, "NGINX", ""} {
		if got, err := ref.ParseRepository(in); err == nil {
			t.Errorf("ParseRepository(%q) = %v, want an error", in, got)
		}
	}
	_, err = ref.ParseRepository("nginx:1.27")
	if want := `such as "docker.io/library/nginx"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not suggest %s", err, want)
	}
}

// Which algorithms are known used to depend on what else was linked into the program:
// this package's own tests refused sha512, and the whole program took it.
func TestParseDigest(t *testing.T) {
	for _, in := range []string{sha256Digest, sha512Digest} {
		if got, err := ref.ParseDigest(in); err != nil || string(got) != in {
			t.Errorf("ParseDigest(%q) = %q, %v", in, got, err)
		}
	}
	// A digest becomes part of URLs and of file names, so nothing else may pass for one.
	for _, in := range []string{
		"", "sha256", "sha256:", "sha256:abc", strings.ToUpper(sha256Digest), "sha256:../../x",
		sha256Digest + "/..", sha256Digest + "\n", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:" + strings.Repeat("G", 64),
	} {
		if got, err := ref.ParseDigest(in); err == nil || got != "" {
			t.Errorf("ParseDigest(%q) = %q, %v, want an error", in, got, err)
		}
	}
}

func TestReference(t *testing.T) {
	repo := ref.Repository{Host: "quay.io", Path: "app"}
	tests := []struct {
		r          ref.Reference
		identifier string
		text       string
	}{
		{ref.Reference{}, "", ""},
		{ref.Reference{Repository: repo}, "", "quay.io/app"},
		{ref.Reference{Repository: ref.Repository{Path: "app"}}, "", "app"},
		{repo.Tagged("1"), "1", "quay.io/app:1"},
		{repo.Digested(sha256Digest), sha256Digest, "quay.io/app@" + sha256Digest},
		{ref.Reference{Repository: repo, Tag: "1", Digest: sha256Digest}, sha256Digest, "quay.io/app:1@" + sha256Digest},
	}
	for _, test := range tests {
		if got := test.r.Identifier(); got != test.identifier {
			t.Errorf("%v: Identifier() = %q, want %q", test.r, got, test.identifier)
		}
		if got := test.r.String(); got != test.text {
			t.Errorf("String() = %q, want %q", got, test.text)
		}
	}
}

func TestMustParse(t *testing.T) {
	if got := ref.MustParse("nginx:1").String(); got != "docker.io/library/nginx:1" {
		t.Errorf("got %s", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("MustParse of nonsense did not panic")
		}
	}()
	ref.MustParse("No Reference")
}

func TestValidTag(t *testing.T) {
	for tag, want := range map[string]bool{
		"latest": true, "1.27.3": true, "_x": true, "a-b_c.D": true, strings.Repeat("a", 128): true,
		"": false, "-x": false, ".x": false, "a b": false, "a/b": false, "a+b": false, "ä": false, "a\n": false, "a:b": false,
		"a@b": false, "..": false, strings.Repeat("a", 129): false,
	} {
		if got := ref.ValidTag(tag); got != want {
			t.Errorf("ValidTag(%q) = %t", tag, got)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	tests := []struct {
		in   string
		want ref.Platform
		out  string
	}{
		{"linux/amd64", ref.Platform{OS: "linux", Architecture: "amd64"}, "linux/amd64"},
		{"linux/amd64/v1", ref.Platform{OS: "linux", Architecture: "amd64"}, "linux/amd64"},
		{"linux/amd64/v3", ref.Platform{OS: "linux", Architecture: "amd64", Variant: "v3"}, "linux/amd64/v3"},
		{"linux/x86_64", ref.Platform{OS: "linux", Architecture: "amd64"}, "linux/amd64"},
		{"linux/aarch64", ref.Platform{OS: "linux", Architecture: "arm64"}, "linux/arm64"},
		{"linux/arm64/v8", ref.Platform{OS: "linux", Architecture: "arm64"}, "linux/arm64"},
		{"linux/arm/v7", ref.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, "linux/arm/v7"},
		{"windows/amd64", ref.Platform{OS: "windows", Architecture: "amd64"}, "windows/amd64"},
	}
	for _, test := range tests {
		got, err := ref.ParsePlatform(test.in)
		if err != nil || got != test.want {
			t.Errorf("ParsePlatform(%q) = %#v, %v", test.in, got, err)
		}
		if got.String() != test.out {
			t.Errorf("%q: String() = %q, want %q", test.in, got, test.out)
		}
	}
	for _, in := range []string{"", "linux", "linux/", "/amd64", "linux/amd64/", "linux/amd64/v1/x", "Linux/amd64", "linux amd64", "linux/amd64\n", "linux,amd64"} {
		if got, err := ref.ParsePlatform(in); err == nil {
			t.Errorf("ParsePlatform(%q) = %v, want an error", in, got)
		}
	}
}

func TestMatches(t *testing.T) {
	tests := []struct {
		asked, image string
		want         bool
	}{
		{"linux/amd64", "linux/amd64", true},
		{"linux/amd64", "linux/amd64/v3", true},
		{"linux/amd64/v3", "linux/amd64", false},
		{"linux/amd64/v3", "linux/amd64/v3", true},
		{"linux/arm64", "linux/arm64/v8", true},
		{"linux/arm64/v8", "linux/arm64", true},
		{"linux/arm64/v9", "linux/arm64", false},
		{"linux/arm", "linux/arm/v6", true},
		{"linux/arm/v7", "linux/arm/v6", false},
		{"linux/arm", "linux/arm64", false},
		{"windows/amd64", "linux/amd64", false},
	}
	for _, test := range tests {
		asked, err := ref.ParsePlatform(test.asked)
		if err != nil {
			t.Fatal(err)
		}
		// What an index says is not normalized.
		os, rest, _ := strings.Cut(test.image, "/")
		architecture, variant, _ := strings.Cut(rest, "/")
		if got := asked.Matches(ref.Platform{OS: os, Architecture: architecture, Variant: variant}); got != test.want {
			t.Errorf("%s matches %s: %t", test.asked, test.image, got)
		}
	}
}

func TestFormatPlatforms(t *testing.T) {
	amd, arm := ref.Platform{OS: "linux", Architecture: "amd64"}, ref.Platform{OS: "linux", Architecture: "arm64"}
	spelt := ref.Platform{OS: "linux", Architecture: "aarch64", Variant: "v8"}
	tests := []struct {
		in   []ref.Platform
		want string
	}{
		{nil, ""},
		{[]ref.Platform{amd}, "linux/amd64"},
		{[]ref.Platform{amd, arm}, "linux/amd64,linux/arm64"},
		{[]ref.Platform{arm, amd}, "linux/amd64,linux/arm64"},
		{[]ref.Platform{spelt, amd, arm, amd}, "linux/amd64,linux/arm64"},
	}
	for _, test := range tests {
		before := append([]ref.Platform(nil), test.in...)
		if got := ref.FormatPlatforms(test.in); got != test.want {
			t.Errorf("FormatPlatforms(%v) = %q, want %q", test.in, got, test.want)
		}
		if diff := cmp.Diff(before, test.in); diff != "" {
			t.Errorf("the argument was changed (-before +after):\n%s", diff)
		}
	}
}

// What Parse accepts it writes in a form that means the same, and that is safe to put
// into a URL's path.
func FuzzParse(f *testing.F) {
	faults.Covers(f, "I16")
	for _, seed := range []string{
		"nginx", "nginx:1.27", "quay.io:443/org/app@" + sha256Digest, "localhost/a", "[::1]:5000/a:b", "a//b", "https://x/y",
		"X/y", "a:b@" + sha512Digest, "docker.io/library/nginx:latest", "library/../nginx",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ref.Parse(s)
		if err != nil {
			if r != (ref.Reference{}) {
				t.Fatalf("Parse(%q) = %#v beside the error %v", s, r, err)
			}
			return
		}
		again, err := ref.Parse(r.String())
		if err != nil || again != r {
			t.Fatalf("%q is read as %#v, written as %q, and that is read as %#v, %v", s, r, r, again, err)
		}
		for segment := range strings.SplitSeq(r.Repository.Path, "/") {
			if segment == "" || segment == "." || segment == ".." {
				t.Fatalf("%q has the path %q", s, r.Repository.Path)
			}
		}
		if r.Tag != "" && !ref.ValidTag(r.Tag) {
			t.Fatalf("%q has the tag %q, which is none", s, r.Tag)
		}
		if r.Digest != "" && r.Digest.Validate() != nil {
			t.Fatalf("%q has the digest %q, which is none", s, r.Digest)
		}
	})
}
