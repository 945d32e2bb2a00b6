package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer returns size pseudo-random bytes that depend on nothing but seed. They are
// labelled as a layer and are not a tar archive: right for everything that moves
// layers, wrong for what unpacks them, which TarLayer is for.
func Layer(seed string, size int) Blob {
	content := make([]byte, size)
	// ChaCha8 is specified, so the bytes are the same in every Go release.
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(content) // never fails
	return NewBlob(v1.MediaTypeImageLayerGzip, content)
}

// ForeignLayer is a layer that only its vendor hands out, at urls. Push does not
// upload it; a test may serve its content itself.
func ForeignLayer(seed string, size int, urls ...string) Blob {
	blob := Layer(seed, size)
	blob.Descriptor.MediaType = v1.MediaTypeImageLayerNonDistributableGzip //nolint:staticcheck // deprecated, and still found in Windows images
	blob.Descriptor.URLs = urls
	return blob
}

// TarLayer is a real layer, a compressed tar archive, with files by path and content.
func TarLayer(files map[string]string) Blob {
	entries := make([]file, 0, len(files))
	for _, path := range slices.Sorted(maps.Keys(files)) {
		entries = append(entries, file{path: path, mode: 0o644, content: []byte(files[path])})
	}
	return tarLayer(entries)
}

type file struct {
	path    string
	mode    int64
	content []byte
}

// tarLayer archives files with all times zero, so that equal files give equal bytes.
// Writing to memory cannot fail; what can is a file that does not fit a tar header.
func tarLayer(files []file) Blob {
	var archive bytes.Buffer
	tw := tar.NewWriter(&archive)
	for _, f := range files {
		header := &tar.Header{Name: f.path, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if err := tw.WriteHeader(header); err != nil {
			panic(fmt.Sprintf("imagetest: %s does not fit a tar archive: %v", f.path, err))
		}
		_, _ = tw.Write(f.content)
	}
	_ = tw.Close()

	var compressed bytes.Buffer
	zw := gzip.NewWriter(&compressed)
	_, _ = zw.Write(archive.Bytes())
	_ = zw.Close()

	blob := NewBlob(v1.MediaTypeImageLayerGzip, compressed.Bytes())
	blob.DiffID = digest.FromBytes(archive.Bytes())
	return blob
}
