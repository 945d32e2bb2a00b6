package mirror_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// kept is a mirror between two of distribution's registries, whose destination's files a
// test can harm.
type kept struct {
	t        *testing.T
	up, down *ecrlocaltest.Registry
	client   *transport.Client
	dir      string
	rule     discover.Mirror
	root     imagetest.Node
}

func newKept(t *testing.T) *kept {
	t.Helper()
	k := &kept{t: t, up: ecrlocaltest.StartRegistry(t), dir: t.TempDir(), client: transport.New(transport.Options{})}
	k.down = ecrlocaltest.StartRegistry(t, func(o *ecrlocal.UpstreamOptions) { o.Dir = k.dir })
	t.Cleanup(func() {
		if err := k.client.Close(); err != nil {
			t.Error(err)
		}
	})
	k.root = imagetest.Index(image("kept", amd64), image("kept", arm64))
	k.push(k.up, "1", k.root)
	k.rule = discover.Mirror{
		Name: "app", Upstream: ref.Repository{Host: k.up.Host, Path: "org/app"}, Target: ref.Repository{Host: k.down.Host, Path: "app"},
		Options: discover.DefaultOptions(), Rules: discover.Rules{Choose: []discover.Term{{Kind: discover.Literal, Text: "1", Pattern: "1"}}},
	}
	results, err := k.runner().Sync(t.Context(), k.plan())
	if err != nil || results[0].Status != plan.Copied {
		t.Fatalf("%v %+v", err, results)
	}
	return k
}

func (k *kept) Source(plan.Action) registry.Source { return k.client }
func (k *kept) Target(plan.Action) registry.Target { return k.client }

func (k *kept) push(to *ecrlocaltest.Registry, tag string, node imagetest.Node) {
	k.t.Helper()
	if _, err := imagetest.Push(k.t.Context(), nil, to.URL, "org/app", tag, node); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kept) runner() *mirror.Runner {
	return &mirror.Runner{Finder: findings{{Mirror: k.rule}}, Places: k, Recheck: true}
}

func (k *kept) plan() plan.Plan {
	k.t.Helper()
	p, err := k.runner().Plan(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	return p
}

// verify returns the one row, and with repair what came of that.
func (k *kept) verify(r *mirror.Runner, v mirror.Verification, repair bool) plan.Result {
	k.t.Helper()
	p, err := r.Differences(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	results := r.Verify(k.t.Context(), p, v)
	if repair {
		if results, err = r.Repair(k.t.Context(), results, v); err != nil {
			k.t.Fatal(err)
		}
	}
	if len(results) != 1 {
		k.t.Fatalf("%d rows", len(results))
	}
	return results[0]
}

func (k *kept) data(d ref.Digest) string {
	return filepath.Join(k.dir, "docker/registry/v2/blobs/sha256", d.Encoded()[:2], d.Encoded(), "data")
}

// whole is the independent judgement.
func (k *kept) whole() error {
	k.t.Helper()
	report, err := walker.Check(k.t.Context(), walker.Options{Base: k.down.URL, Repository: "app", Reference: "1", Deep: true})
	if err != nil {
		return err
	}
	return report.Err()
}

func expectRow(t *testing.T, r plan.Result, want plan.Status, reasons ...string) {
	t.Helper()
	if r.Status != want {
		t.Errorf("%s: %s, and %s was expected", r.Status, r.Reason, want)
	}
	for _, reason := range reasons {
		if !strings.Contains(r.Reason, reason) {
			t.Errorf("the reason %q lacks %q", r.Reason, reason)
		}
	}
}

// What a registry has lost is brought again through the ordinary engine, and the oracle
// agrees that it is whole before and after, and that it was not in between.
func TestRepairBringsWhatIsMissing(t *testing.T) {
	parts := map[string]func(imagetest.Node) ref.Digest{
		"layer":          func(n imagetest.Node) ref.Digest { return n.Children[0].Blobs[1].Digest() },
		"config":         func(n imagetest.Node) ref.Digest { return n.Children[1].Blobs[0].Digest() },
		"child manifest": func(n imagetest.Node) ref.Digest { return n.Children[1].Digest() },
		"root manifest":  func(n imagetest.Node) ref.Digest { return n.Digest() },
	}
	k := newKept(t)
	for name, part := range parts {
		t.Run(name, func(t *testing.T) {
			k.t = t
			expectRow(t, k.verify(k.runner(), mirror.Verification{}, false), plan.Verified, "complete; same digest")
			if err := k.whole(); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(k.data(part(k.root))); err != nil {
				t.Fatal(err)
			}
			k.down.ResetJournal()
			expectRow(t, k.verify(k.runner(), mirror.Verification{}, false), plan.Damaged)
			if w := writes(k.down.Journal()); len(w) > 0 {
				t.Errorf("verifying wrote: %v", w)
			}
			if k.whole() == nil {
				t.Fatal("the oracle finds nothing missing: this test harms nothing")
			}
			expectRow(t, k.verify(k.runner(), mirror.Verification{}, true), plan.Repaired, "was damaged: ")
			if err := k.whole(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A registry that keeps each digest once takes the upload and leaves what it has: the row
// does not claim otherwise.
func TestRepairThatARegistryIgnores(t *testing.T) {
	k := newKept(t)
	file := k.data(k.root.Children[0].Blobs[1].Digest())
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	expectRow(t, k.verify(k.runner(), mirror.Verification{}, false), plan.Verified)
	r := k.verify(k.runner(), mirror.Verification{Deep: true}, true)
	expectRow(t, r, plan.Damaged, "its bytes are sha256:", "the registry keeps the bytes that it has")
	if k.whole() == nil {
		t.Error("the oracle finds nothing wrong: the row is")
	}
	if ops(k.down.Journal())["upload-put"] == 0 {
		t.Error("it was not even tried")
	}
}

// Upstream moved, the rule says to leave the tag, and the image that it means is damaged:
// it is made whole, and still differs.
func TestRepairLeavesTheTagThatTheRuleKeeps(t *testing.T) {
	k := newKept(t)
	k.rule.Options.Replace = false
	k.push(k.up, "1", image("moved", amd64))
	expectRow(t, k.verify(k.runner(), mirror.Verification{}, true), plan.StaysDrifted, "upstream moved; replace is off")
	if err := os.Remove(k.data(k.root.Children[0].Blobs[1].Digest())); err != nil {
		t.Fatal(err)
	}
	expectRow(t, k.verify(k.runner(), mirror.Verification{}, false), plan.Damaged, "missing", "upstream moved")
	expectRow(t, k.verify(k.runner(), mirror.Verification{}, true), plan.StaysDrifted, "its damage is repaired")
	if err := k.whole(); err != nil {
		t.Error(err)
	}
	if now := k.plan().Actions[0].Have; now != k.root.Digest() {
		t.Errorf("the tag means %s now", now)
	}
}

// A destination that grants a mount, or says that it has a blob, and has not: reading it
// tells.
func TestDestinationThatLiesAboutABlob(t *testing.T) {
	k := newKept(t)
	lost := k.root.Children[0].Blobs[1].Digest()
	k.down.FailNext("blob-get", 100, ecrlocal.Fault{Status: 404, Code: "BLOB_UNKNOWN", Match: func(e ecrlocal.Entry) bool { return e.Reference == string(lost) }})
	expectRow(t, k.verify(k.runner(), mirror.Verification{Deep: true}, false), plan.Damaged, "blob "+string(lost)+": missing")
}

func TestVerifyThatIsEnded(t *testing.T) {
	k := newKept(t)
	r := k.runner()
	p, err := r.Differences(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, result := range r.Verify(ctx, p, mirror.Verification{}) {
		expectRow(t, result, plan.Pending, "not verified")
	}
}

// The policy is asked about what is mirrored, by its digest, and not about what upstream's
// tag means by now.
func TestPolicyJudgesWhatIsMirrored(t *testing.T) {
	k := newKept(t)
	k.push(k.up, "1", image("moved", amd64))
	var asked []ref.Reference
	r := k.runner()
	r.Judge = judgeFunc(func(_ context.Context, r ref.Reference) error {
		asked = append(asked, r)
		return plan.ErrForbidden
	})
	expectRow(t, k.verify(r, mirror.Verification{Judge: true}, false), plan.StaysBlocked)
	if len(asked) != 1 || asked[0].Digest != k.root.Digest() || asked[0].Repository != k.rule.Upstream {
		t.Errorf("it was asked about %v", asked)
	}
	asked = nil
	expectRow(t, k.verify(r, mirror.Verification{}, false), plan.StaysDrifted)
	if len(asked) > 0 {
		t.Errorf("without --policy it was asked about %v", asked)
	}
}
