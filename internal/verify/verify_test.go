package verify_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/verify"
)

// TestMain makes the property test shorter than usual, where nobody asked for a number.
func TestMain(m *testing.M) {
	flag.Parse()
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := flag.Set("rapid.checks", "40"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m, ecrlocaltest.IgnoreRegistryGoroutine())
}

// place is a distribution registry with its files, and an image in it with all that an
// image can have: platforms, a referrer that a fallback tag lists, and cosign's signature.
type place struct {
	dir      string
	registry *ecrlocaltest.Registry
	client   *transport.Client
	repo     ref.Repository
	root     imagetest.Node
	signer   imagetest.Node
	tags     map[string]string // by the hex digest of what they mean
}

var (
	amd64 = ref.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ref.Platform{OS: "linux", Architecture: "arm64"}
)

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{dir: scratch(t), tags: map[string]string{}}
	p.registry = ecrlocaltest.StartRegistry(t, func(o *ecrlocal.UpstreamOptions) { o.Dir = p.dir })
	p.client = transport.New(transport.Options{RetryTimes: 0})
	t.Cleanup(func() {
		if err := p.client.Close(); err != nil {
			t.Error(err)
		}
	})
	p.repo = ref.Repository{Host: p.registry.Host, Path: "org/app"}
	base := imagetest.Layer("base", 3000)
	p.root = imagetest.Index(
		imagetest.Image(amd64, base, imagetest.Layer("amd64", 500)),
		imagetest.Image(arm64, base, imagetest.Layer("arm64", 500)),
	)
	p.push(t, "1", p.root)
	p.signer = imagetest.Referrer(p.root, "application/spdx+json", imagetest.Layer("sbom", 200))
	p.push(t, tagOf(p.root.Digest()), imagetest.Index(p.signer))
	child := p.root.Children[0].Digest()
	p.push(t, tagOf(child)+".sig", imagetest.Image(amd64, imagetest.Layer("signature", 100)))
	return p
}

// scratch is a directory in memory, where that may be: a registry syncs each file.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ecr-mirror-sync-test-") //nolint:usetesting // its directories are on disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func tagOf(d ref.Digest) string { return strings.Replace(string(d), ":", "-", 1) }

func (p *place) push(t *testing.T, tag string, node imagetest.Node) {
	t.Helper()
	p.tags[node.Digest().Encoded()] = tag
	if _, err := imagetest.Push(t.Context(), nil, p.registry.URL, p.repo.Path, tag, node); err != nil {
		t.Fatal(err)
	}
}

// check looks at the image anew, remembering nothing.
func (p *place) check(t *testing.T, deep bool) plan.Inspection {
	t.Helper()
	r, err := verify.New(deep).Open(t.Context(), p.client, p.repo)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return r.Check(t.Context(), verify.Image{Tag: "1", Digest: p.root.Digest(), Referrers: true})
}

// data is the file with the bytes of a digest.
func (p *place) data(d ref.Digest) string {
	return filepath.Join(p.dir, "docker/registry/v2/blobs", d.Algorithm().String(), d.Encoded()[:2], d.Encoded(), "data")
}

// objects are the files of all content.
func (p *place) objects(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(p.dir, "docker/registry/v2/blobs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "data" {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 12 {
		t.Fatalf("%d objects: %v", len(files), err)
	}
	return files
}

func TestCompleteImageHasNoDamage(t *testing.T) {
	p := newPlace(t)
	for _, deep := range []bool{false, true} {
		found := p.check(t, deep)
		if found.Err != nil || len(found.Damage) > 0 || found.Deep != deep {
			t.Errorf("deep %v: %+v", deep, found)
		}
		if hashed := found.Hashed > 0; hashed != deep {
			t.Errorf("deep %v hashed %d bytes", deep, found.Hashed)
		}
	}
}

// TestAnyFlippedBitIsFound is the invariant: whatever one bit of whatever object is
// changed, a deep verification says so, and of the very object, or of the tag that means it.
func TestAnyFlippedBitIsFound(t *testing.T) {
	p := newPlace(t)
	files := p.objects(t)
	faults.Covers(t, "I18")
	rapid.Check(t, func(rt *rapid.T) {
		file := rapid.SampledFrom(files).Draw(rt, "object")
		raw, err := os.ReadFile(file)
		if err != nil {
			rt.Fatal(err)
		}
		at, bit := rapid.IntRange(0, len(raw)-1).Draw(rt, "byte"), rapid.IntRange(0, 7).Draw(rt, "bit")
		changed := slices.Clone(raw)
		changed[at] ^= 1 << bit
		write(rt, file, changed)
		defer write(rt, file, raw)
		found := p.check(t, true)
		name := filepath.Base(filepath.Dir(file))
		// Where its JSON is broken, distribution does not even say what a tag means.
		tag, isTagged := p.tags[name]
		if !slices.ContainsFunc(found.Damage, func(d plan.Damage) bool {
			return strings.Contains(d.String(), name) || isTagged && strings.Contains(d.String(), tag)
		}) {
			rt.Fatalf("bit %d of byte %d of %s is another, and the verification says %+v", bit, at, name, found)
		}
	})
	if found := p.check(t, true); len(found.Damage) > 0 || found.Err != nil {
		t.Errorf("with every bit as it was: %+v", found)
	}
}

type fataler interface{ Fatal(args ...any) }

func write(t fataler, file string, content []byte) {
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDamageIsNamed(t *testing.T) {
	type object struct {
		name   string
		digest func(*place) ref.Digest
		what   string
	}
	objects := []object{
		{"child manifest", func(p *place) ref.Digest { return p.root.Children[0].Digest() }, "manifest"},
		{"layer", func(p *place) ref.Digest { return p.root.Children[0].Blobs[1].Digest() }, "blob"},
		{"config", func(p *place) ref.Digest { return p.root.Children[1].Blobs[0].Digest() }, "blob"},
		{"referrer", func(p *place) ref.Digest { return p.signer.Digest() }, "manifest"},
		{"referrer's layer", func(p *place) ref.Digest { return p.signer.Blobs[1].Digest() }, "blob"},
	}
	harms := []struct {
		name    string
		do      func(t *testing.T, file string)
		shallow bool // found without reading blobs
		problem string
	}{
		{"removed", func(t *testing.T, file string) { remove(t, file) }, true, "missing"},
		{"cut short", func(t *testing.T, file string) { rewrite(t, file, func(b []byte) []byte { return b[:len(b)-1] }) }, true, ""},
		{"longer", func(t *testing.T, file string) { rewrite(t, file, func(b []byte) []byte { return append(b, ' ') }) }, true, ""},
		{"other bytes", func(t *testing.T, file string) {
			rewrite(t, file, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, false, "its bytes are sha256:"},
	}
	p := newPlace(t)
	for _, o := range objects {
		for _, h := range harms {
			t.Run(o.name+" "+h.name, func(t *testing.T) {
				d := o.digest(p)
				before, err := os.ReadFile(p.data(d))
				if err != nil {
					t.Fatal(err)
				}
				defer write(t, p.data(d), before)
				h.do(t, p.data(d))
				for _, deep := range []bool{false, true} {
					found := p.check(t, deep)
					if !deep && !h.shallow && o.what == "blob" {
						if len(found.Damage) > 0 {
							t.Errorf("without --deep no blob is read, and yet: %+v", found)
						}
						continue
					}
					if len(found.Damage) != 1 || found.Damage[0].Digest != d || found.Damage[0].What != o.what || found.Err != nil {
						t.Fatalf("deep %v: %+v", deep, found)
					}
					if problem := found.Damage[0].Problem; o.what == "blob" && !strings.Contains(problem, h.problem) {
						t.Errorf("deep %v: the problem is %q", deep, problem)
					}
				}
			})
		}
	}
}

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

func rewrite(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, change(raw))
}
