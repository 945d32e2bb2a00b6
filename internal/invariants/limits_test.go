package invariants_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faultreg"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// A process that may have few descriptors, and has work for many connections, goes on with
// few. One with hardly any says what is missing: it does not break, and leaves nothing that
// is not whole.
func TestFewDescriptors(t *testing.T) {
	w := registryWorld(t)
	many := content{tags: map[string]imagetest.Node{}}
	tags := []string{"index", "single"} // which the program is told to copy
	for i := range 40 {
		tags = append(tags, fmt.Sprintf("t%d", i))
	}
	for _, tag := range tags {
		many.tags[tag] = imagetest.Image(amd64, imagetest.Layer(tag+" one", 2000), imagetest.Layer(tag+" two", 3000))
	}
	if err := bring(w.upURL, "team/app", many); err != nil {
		t.Fatal(err)
	}
	const enough = 16 // the runtime and the standard streams have five to eight
	limits := []int{12, enough}
	if faults.Full() {
		limits = []int{10, 12, enough, 24, 32, 64, 128}
	}
	for _, descriptors := range limits {
		t.Run(fmt.Sprint(descriptors), func(t *testing.T) {
			repo := fmt.Sprintf("n%d/app", descriptors)
			var out bytes.Buffer
			cmd := w.program(t.Context(), t, &out, repo, "--tags", strings.Join(tags, "/"), "--retry-times", "1")
			inShell(cmd, `ulimit -n "$0" && exec "$@"`, fmt.Sprint(descriptors))
			failed := cmd.Run()
			said := out.String()
			if strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") {
				t.Errorf("it broke: %s", said)
			}
			if failed != nil && (descriptors >= enough || !strings.Contains(said, "too many open files")) {
				t.Errorf("%v\n%s", failed, said)
			}
			for tag, node := range many.tags {
				is, err := w.holds(repo, tag)
				if err != nil || is != "" && is != node.Digest() || is == "" && failed == nil {
					t.Errorf("%s is %q: %v", tag, is, err)
				}
			}
			out.Reset()
			if err := w.program(t.Context(), t, &out, repo, "--tags", strings.Join(tags, "/")).Run(); err != nil {
				t.Fatalf("%v: %s", err, out.String())
			}
			if err := w.complete(repo, many); err != nil {
				t.Error(err)
			}
		})
	}
	faults.Covers(t, "F83")
}

// Where the spool's disk is full, or may not be written to, upstream is read once more for
// each registry, and nothing else is lost.
func TestSmallDisk(t *testing.T) {
	try := exec.CommandContext(t.Context(), "true")
	inShell(try, `mount -t tmpfs none "$0" && exec "$@"`, t.TempDir(), "unshare", "-rm")
	if out, err := try.CombinedOutput(); err != nil {
		t.Skipf("nobody may mount a file system here: %v: %s", err, out)
	}
	w, now := registryWorld(t), rich("new")
	second := &world{up: w.up, upURL: w.upURL, downURL: ecrlocaltest.StartRegistry(t).URL}
	if err := bring(w.upURL, "team/app", now); err != nil {
		t.Fatal(err)
	}
	large := now.tags["single"].Blobs[2].Digest()
	for name, tt := range map[string]struct {
		mount string
		reads int // of the large layer
	}{
		"room":      {"size=16m", 1},
		"full":      {"size=16k", 2},
		"read-only": {"size=16m,ro", 2},
	} {
		t.Run(name, func(t *testing.T) {
			w.quiet()
			w.up.Forget()
			file := filepath.Join(t.TempDir(), "mirrors.yaml")
			mirrors := fmt.Sprintf("apiVersion: ecr-mirror-sync.io/v1alpha1\nmirrors:\n- name: app\n  from: %s/team/app\n  to: [%s/%s, %s/%[3]s]\n  tags: [index, single]\n",
				w.up.Host, w.down.Host, name, strings.TrimPrefix(second.downURL, "http://"))
			if err := os.WriteFile(file, []byte(mirrors), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			spool := t.TempDir()
			cmd := program(t.Context(), t, &out, "sync", "--config", file, "--spool-dir", spool, "--insecure-policy")
			inShell(cmd, `mount -t tmpfs -o `+tt.mount+` none "$0" && "$@" && test -z "$(ls -A "$0")"`, spool, "unshare", "-rm")
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %s", err, out.String())
			}
			reads := 0
			for _, e := range w.up.Journal() {
				if e.Kind == faultreg.BlobGet && e.Reference == string(large) {
					reads++
				}
			}
			if reads != tt.reads {
				t.Errorf("the large layer was read %d times\n%s", reads, out.String())
			}
			for _, at := range []*world{w, second} {
				if err := at.complete(name, now); err != nil {
					t.Error(err)
				}
			}
			faults.Covers(t, "F81")
		})
	}
}

// The process stays as small as one whose container is given 128 MiB must be. It is built
// without the race detector, which makes every process large.
func TestLittleMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what a process has is read from /proc")
	}
	binary := filepath.Join(t.TempDir(), "ecr-mirror-sync")
	build := []string{"build", "-buildvcs=false", "-o", binary, "-tags", ""}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-tags" {
				build[len(build)-1] = s.Value
			}
		}
	}
	if out, err := exec.CommandContext(t.Context(), "go", append(build, "../../cmd/ecr-mirror-sync")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Run("large layers", func(t *testing.T) { largeLayers(t, binary) })
	t.Run("many tags", func(t *testing.T) { manyTags(t, binary) })
}

// Large layers that go side by side pass through.
func largeLayers(t *testing.T, binary string) {
	t.Helper()
	const limit = 128 << 20
	layers, size := 8, 40<<20
	if faults.Full() {
		layers, size = 20, 96<<20
	}
	w := registryWorld(t)
	var all []imagetest.Blob
	for i := range layers {
		all = append(all, imagetest.Layer(fmt.Sprint("large ", i), size))
	}
	large := content{tags: map[string]imagetest.Node{"index": imagetest.Image(amd64, all...)}}
	if err := bring(w.upURL, "team/app", large); err != nil {
		t.Fatal(err)
	}
	peak := peakOf(t, binary, "copy", "-s", w.up.Host+"/team/app", "-d", w.down.Host+"/large/app", "--tags", "index", "--insecure-policy")
	t.Logf("%d layers of %d MiB went through %d MiB", layers, size>>20, peak>>20)
	if peak > limit {
		t.Errorf("the process took %d bytes", peak)
	}
	if err := w.complete("large/app", large); err != nil {
		t.Error(err)
	}
	faults.Covers(t, "F84")
}

// Many tags in which nothing has changed cost one question on each side, and little memory.
func manyTags(t *testing.T, binary string) {
	t.Helper()
	const tags = 10
	repositories, limit := 100, int64(96<<20)
	if faults.Full() {
		repositories, limit = 1000, 128<<20
	}
	var mu sync.Mutex
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.Method+" "+r.URL.Path]++
		mu.Unlock()
		if r.URL.Path == "/v2/" {
			return
		}
		_, tag, _ := strings.Cut(r.URL.Path, "/manifests/") // the same for both sides
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Docker-Content-Digest", string(digest.FromString(tag)))
		w.Header().Set("Content-Length", "500")
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	mirrors := strings.Builder{}
	mirrors.WriteString("apiVersion: ecr-mirror-sync.io/v1alpha1\nmirrors:\n")
	for i := range repositories {
		fmt.Fprintf(&mirrors, "- name: m%d\n  from: %s/up/r%[1]d\n  to: %[2]s/down/r%[1]d\n  tags: [t0, t1, t2, t3, t4, t5, t6, t7, t8, t9]\n", i, host)
	}
	file := filepath.Join(t.TempDir(), "mirrors.yaml")
	if err := os.WriteFile(file, []byte(mirrors.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	peak := peakOf(t, binary, "sync", "--config", file, "--insecure-policy")
	t.Logf("%d tags in %d repositories took %d MiB", tags*repositories, repositories, peak>>20)
	if peak > limit {
		t.Errorf("the process took %d bytes", peak)
	}
	mu.Lock()
	defer mu.Unlock()
	delete(asked, "GET /v2/") // whether it speaks plain HTTP
	if len(asked) != 2*tags*repositories {
		t.Errorf("%d things were asked", len(asked))
	}
	for what, times := range asked {
		if times != 1 || !strings.HasPrefix(what, "HEAD ") {
			t.Errorf("%s was asked %d times", what, times)
		}
	}
	faults.Covers(t, "F52")
}

// peakOf runs the program, and returns the most memory that it had, in bytes.
func peakOf(t *testing.T, binary string, args ...string) (peak int64) {
	t.Helper()
	var out bytes.Buffer
	cmd := program(t.Context(), t, &out, args...)
	cmd.Path = binary
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil || peak == 0 {
				t.Fatalf("%v: %s", err, out.String())
			}
			return peak
		case <-time.After(10 * time.Millisecond):
			peak = max(peak, resident(cmd.Process.Pid))
		}
	}
}

// resident returns the most memory that a process has had, in bytes; 0 where it is gone. What
// Wait says of a child is at least what its parent had.
func resident(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0
	}
	return kib << 10
}
