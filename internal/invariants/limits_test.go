package invariants_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
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
			cmd.Args = append([]string{"sh", "-c", `ulimit -n "$0" && exec "$@"`, fmt.Sprint(descriptors), cmd.Path}, cmd.Args[1:]...)
			cmd.Path, cmd.Err = exec.LookPath("sh")
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
