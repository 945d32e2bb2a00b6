package copy_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A config is what its digest says, or an error; and it is never large.
func TestLibraryConfig(t *testing.T) {
	for _, flavour := range []string{"native", "library"} {
		for _, test := range []struct {
			name   string
			change func([]byte) []byte
			size   int64 // what the manifest says beyond the truth
			kind   error
			reads  int
		}{
			{name: "as it is", reads: 1},
			{name: "wrong bytes", change: flipLast, kind: failure.ErrCorrupt, reads: 3},
			{name: "too many bytes", change: func(b []byte) []byte { return append(bytes.Clone(b), 'x') }, kind: failure.ErrCorrupt, reads: 3},
			{name: "beyond the limit", size: 8 << 20, kind: failure.ErrUnsupported},
		} {
			t.Run(flavour+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				node := image("x", amd64)
				config := node.Blobs[0]
				up := distribution(t)
				w := newWorld(t, tampered(t, up, func(path string, body []byte) []byte {
					if test.change != nil && strings.HasSuffix(path, "/"+string(config.Digest())) {
						return test.change(body)
					}
					return body
				}), distribution(t), nil)
				if flavour == "library" {
					w.throughLibrary()
				}
				w.push(up, "team/app", "1", node)
				a := w.action("team/app", "1", node)

				l := copy.NewLibrary(4)
				if _, err := l.Manifest(t.Context(), w.Source(plan.Action{}), a.From); err != nil {
					t.Fatal(err)
				}
				want := ref.Descriptor{MediaType: config.Descriptor.MediaType, Digest: config.Digest(), Size: config.Descriptor.Size + test.size}
				raw, err := l.Config(t.Context(), w.Source(plan.Action{}), a.From.Repository, want)
				if !errors.Is(err, test.kind) || test.kind == nil && !bytes.Equal(raw, config.Content) {
					t.Errorf("config %q, error %v", raw, err)
				}
				if err != nil && (raw != nil || !strings.HasPrefix(err.Error(), "read ") || !strings.Contains(err.Error(), string(config.Digest()))) {
					t.Errorf("config %q, error %v", raw, err)
				}
				if got := count(up, "blob-get", string(config.Digest())); got != test.reads {
					t.Errorf("read %d times, want %d", got, test.reads)
				}
				if l.Read() != 1 {
					t.Errorf("%d manifests counted", l.Read())
				}
			})
		}
	}
}
