package release_test

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// compiler stands in for go: compiling for six platforms takes minutes. It writes a
// program that says what it was built with.
const compiler = `#!/bin/sh
while [ "$1" != -o ]; do shift; done
mkdir -p "$(dirname "$2")"
printf '#!/bin/sh\necho built for %s\n' "$GOOS/$GOARCH" >"$2"
chmod 755 "$2"
`

// snapshot runs the script with that compiler, and returns where it has written.
func snapshot(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"bash", "zip", "sha256sum"} {
		if _, err := exec.LookPath(program); err != nil || runtime.GOOS != "linux" {
			t.Skipf("%s is not here: the snapshot is not built", program)
		}
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go": compiler, "files/completions/ecr-mirror-sync.bash": "complete", "files/man/ecr-mirror-sync.1": ".TH",
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "snapshot.sh")
	cmd.Env = append(os.Environ(), "GO="+dir+"/go", "TAGS=some", "LDFLAGS=-s", "VERSION=1.2.3", "SOURCE_DATE_EPOCH=1767323045",
		"DIST="+dir+"/dist", "FILES="+dir+"/files")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Left out") {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "dist")
}

func TestSnapshot(t *testing.T) {
	dist := snapshot(t)
	checksums, err := os.ReadFile(filepath.Join(dist, "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var archives []string
	for line := range strings.Lines(string(checksums)) {
		archives = append(archives, strings.Fields(line)[1])
	}
	slices.Sort(archives)
	want := []string{
		"ecr-mirror-sync_1.2.3_darwin_amd64.tar.gz", "ecr-mirror-sync_1.2.3_darwin_arm64.tar.gz",
		"ecr-mirror-sync_1.2.3_linux_amd64.tar.gz", "ecr-mirror-sync_1.2.3_linux_arm64.tar.gz",
		"ecr-mirror-sync_1.2.3_windows_amd64.zip", "ecr-mirror-sync_1.2.3_windows_arm64.zip",
	}
	if diff := cmp.Diff(want, archives); diff != "" {
		t.Error(diff)
	}
	for _, archive := range want {
		program := "ecr-mirror-sync"
		if strings.Contains(archive, "windows") {
			program += ".exe"
		}
		held := []string{"CHANGELOG.md", "LICENSE", "README.md", "completions/ecr-mirror-sync.bash", program, "man/ecr-mirror-sync.1"}
		slices.Sort(held)
		if diff := cmp.Diff(held, files(t, filepath.Join(dist, archive))); diff != "" {
			t.Errorf("%s: %s", archive, diff)
		}
	}
	again, err := os.ReadFile(filepath.Join(snapshot(t), "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(checksums), string(again)); diff != "" {
		t.Errorf("built twice, and not the same: %s", diff)
	}
}

// files are the files in an archive, sorted.
func files(t *testing.T, name string) []string {
	t.Helper()
	var found []string
	if strings.HasSuffix(name, ".zip") {
		archive, err := zip.OpenReader(name)
		if err != nil {
			t.Fatal(err)
		}
		defer archive.Close()
		for _, file := range archive.File {
			found = append(found, file.Name)
		}
		slices.Sort(found)
		return found
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	content, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			found = append(found, header.Name)
		}
	}
	slices.Sort(found)
	return found
}
