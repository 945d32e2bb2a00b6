package copy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// stumbling is a registry whose client has a fault that some content brings out.
type stumbling struct {
	registry.Target
	over ref.Digest
}

func (s stumbling) Manifest(ctx context.Context, r ref.Reference) (registry.Manifest, error) {
	if r.Digest == s.over {
		panic("index out of range")
	}
	return s.Target.Manifest(ctx, r)
}

func (s stumbling) OpenSource(ctx context.Context, repo ref.Repository) (imagetypes.ImageSource, error) {
	src, err := s.Target.OpenSource(ctx, repo)
	return stumblingSource{src, s.over}, err
}

type stumblingSource struct {
	imagetypes.ImageSource
	over ref.Digest
}

func (s stumblingSource) GetBlob(ctx context.Context, info imagetypes.BlobInfo, cache imagetypes.BlobInfoCache) (io.ReadCloser, int64, error) {
	if info.Digest == s.over {
		panic("index out of range")
	}
	return s.ImageSource.GetBlob(ctx, info, cache)
}

// What one image does to the program is that image's failure, and nobody's who wants the
// same blob waits for ever.
func TestAPanicIsOneImagesFailure(t *testing.T) {
	t.Parallel()
	base, bad := imagetest.Layer("base", 2000), imagetest.Layer("bad", 500)
	for name, over := range map[string]func(node imagetest.Node) ref.Digest{
		"layer":    func(imagetest.Node) ref.Digest { return bad.Digest() },
		"manifest": func(node imagetest.Node) ref.Digest { return node.Digest() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution(t), distribution(t), nil)
			var nodes []imagetest.Node
			var actions []plan.Action
			for i := range 6 {
				layer := imagetest.Layer(fmt.Sprint(i), 100)
				if i == 2 {
					layer = bad
				}
				node := imagetest.Image(amd64, base, layer)
				w.push(w.up, "team/app", fmt.Sprint(i), node)
				nodes, actions = append(nodes, node), append(actions, w.action("team/app", fmt.Sprint(i), node))
			}
			w.endpoint = stumbling{w.endpoint, over(nodes[2])}
			for i, r := range w.run(t.Context(), copy.Options{RetryTimes: 3}, actions...) {
				if i != 2 {
					expect(t, r, plan.Copied)
					w.judge(fmt.Sprint(i), nodes[i])
					continue
				}
				expect(t, r, plan.HasFailed, "index out of range")
				if p, ok := errors.AsType[*failure.Panic](r.Err); !ok || len(p.Stack) == 0 {
					t.Errorf("error %v has no stack", r.Err)
				}
				w.absent(fmt.Sprint(i))
			}
			faults.Covers(t, "F85")
		})
	}
}
