package copy_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/layout"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// toArchives are places whose destinations are archives.
type toArchives struct {
	*world
	archives *layout.Archives
}

func (p toArchives) Target(plan.Action) registry.Target { return p.archives }

// An archive is written when everything is in it. That was once after the rows had said
// "copied": a disk that was full then made an exit code of 0 a lie.
func TestWhatIsNotCommittedIsNotCopied(t *testing.T) {
	image := imagetest.Image(amd64, imagetest.Layer("layer", 1000))
	for name, test := range map[string]struct {
		meanwhile func(file string)
		want      plan.Status
	}{
		"committed": {func(string) {}, plan.Copied},
		"not committed": {func(file string) {
			// What was unpacked is gone, as it is when a disk is.
			unpacked, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*"))
			for _, dir := range unpacked {
				_ = os.RemoveAll(dir)
			}
		}, plan.HasFailed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, distribution(t), distribution(t), nil)
			w.push(w.up, "team/app", "1.0", image)
			archives := &layout.Archives{}
			defer archives.Close()
			file := filepath.Join(t.TempDir(), "app.tar")
			action := w.action("team/app", "1.0", image)
			action.To.Repository = ref.Repository{Host: "oci-archive:" + filepath.Dir(file), Path: filepath.Base(file)}

			copier := copy.New(toArchives{w, archives}, copy.NewLibrary(4), copy.Options{
				Events: copy.Events{Finished: func(plan.Result) { test.meanwhile(file) }},
			})
			defer copier.Close()
			results := copier.Run(context.Background(), plan.Plan{Actions: []plan.Action{action}})
			expect(t, results[0], test.want)
			if _, err := os.Stat(file); (err == nil) != (test.want == plan.Copied) {
				t.Errorf("the archive: %v", err)
			}
		})
	}
}
