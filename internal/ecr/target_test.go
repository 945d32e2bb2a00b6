package ecr_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	awsecr "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// ecrTarget starts an ECR with one repository, app, and a target that knows it.
func ecrTarget(t *testing.T) (*ecrlocaltest.Running, *ecr.Target) {
	t.Helper()
	server := ecrlocaltest.Start(t)
	create(t, server, "app", ecrlocal.RepositoryOptions{})
	_, registries := connect(t, server.URL, ecr.Options{})
	if _, err := registries.Host(t.Context(), region); err != nil {
		t.Fatal(err)
	}
	return server, ecr.NewTarget(nil, registries)
}

func TestSnapshotOfManyImages(t *testing.T) {
	server, target := ecrTarget(t)
	push := newPusher(t, server, "app")
	want := make(map[string]ref.Descriptor)
	const images = 2500
	digests := make([]ref.Digest, images)
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(4)
	for i := range images {
		g.Go(func() (err error) {
			tag := fmt.Sprintf("v%d", i)
			digests[i], err = push.put(ctx, ociImage, push.image(ociImage, tag), tag)
			return err
		})
	}
	for i := range 501 { // without tags, as the children of indexes are: one page more if they were listed
		g.Go(func() error {
			_, err := push.put(ctx, ociImage, push.image(ociImage, fmt.Sprintf("child-%d", i)), "")
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, digest := range digests {
		want[fmt.Sprintf("v%d", i)] = ref.Descriptor{Digest: digest, Size: -1}
	}
	server.ResetJournal()
	got, err := target.Snapshot(t.Context(), repositoryOn(server, "app"), []string{"v1"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	wantRequests(t, server, "ListImages", 3)
	if n := len(server.Journal()); n != 3 {
		t.Errorf("%d requests in all", n)
	}
}

// Images in the archive are not listed unless asked for. Pushing one again would bring
// it back, and cost for that.
func TestSnapshotOfEveryStatus(t *testing.T) {
	server, target := ecrTarget(t)
	push := newPusher(t, server, "app")
	active := push.mustPut(ociImage, push.image(ociImage, "active"), "active")
	archived := push.mustPut(ociImage, push.image(ociImage, "archived"), "archived")
	push.mustPut(ociImage, push.image(ociImage, "archived"), "archived-too")
	push.archive(archived)
	push.mustPut(ociImage, push.image(ociImage, "untagged"), "")
	got, err := target.Snapshot(t.Context(), repositoryOn(server, "app"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]ref.Descriptor{
		"active":       {Digest: active, Size: -1},
		"archived":     {Digest: archived, Size: -1},
		"archived-too": {Digest: archived, Size: -1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
}

func TestSnapshotOfAnEmptyRepository(t *testing.T) {
	server, target := ecrTarget(t)
	got, err := target.Snapshot(t.Context(), repositoryOn(server, "app"), []string{"a"})
	if err != nil || len(got) != 0 {
		t.Errorf("Snapshot = %v, %v", got, err)
	}
}

func TestSnapshotErrors(t *testing.T) {
	server, target := ecrTarget(t)
	if _, err := target.Snapshot(t.Context(), repositoryOn(server, "missing"), nil); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a missing repository: %v", err)
	}
	server.FailNext("ListImages", 1, refusal("AccessDeniedException", "no"))
	_, err := target.Snapshot(t.Context(), repositoryOn(server, "app"), nil)
	if want := "ecr:ListImages: AccessDeniedException: no"; !errors.Is(err, registry.ErrDenied) || err.Error() != want {
		t.Errorf("denied: %v, want %s", err, want)
	}
}

// A page that fails leaves no part of the listing: tags that are missing from it would
// be pushed again.
func TestSnapshotIsWholeOrAnError(t *testing.T) {
	calls := 0
	_, registries := connect(t, scripted(t, nil, func(w http.ResponseWriter, _ request) bool {
		if calls++; calls > 1 {
			refuse(w, "InvalidParameterException", "no such page")
			return true
		}
		say(w, object{"imageIds": []object{{"imageTag": "a", "imageDigest": zeroDigest}}, "nextToken": "2"})
		return true
	}), ecr.Options{})
	got, err := ecr.NewTarget(nil, registries).Snapshot(t.Context(), repositoryAtAWS, nil)
	if err == nil || got != nil {
		t.Errorf("Snapshot = %v, %v", got, err)
	}
}

// The SDK's paginator takes a page token that repeats for the end of the listing: what
// came after it was missing from the snapshot, without a word.
func TestSnapshotOfPagesThatRepeat(t *testing.T) {
	faults.Covers(t, "F67")
	for name, tokens := range map[string]func(given string) string{
		"the same for ever": func(string) string { return "a" },
		"in a circle":       func(given string) string { return map[string]string{"": "a", "a": "b", "b": "c", "c": "a"}[given] },
	} {
		calls := 0
		_, registries := connect(t, scripted(t, nil, func(w http.ResponseWriter, r request) bool {
			calls++
			say(w, object{"imageIds": []object{{"imageTag": "x", "imageDigest": zeroDigest}}, "nextToken": tokens(field(t, r, "nextToken"))})
			return true
		}), ecr.Options{})
		_, err := ecr.NewTarget(nil, registries).Snapshot(t.Context(), repositoryAtAWS, nil)
		if want := "ecr:ListImages: the pages of the listing repeat"; err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", name, err, want)
		}
		if calls > 8 {
			t.Errorf("%s: %d calls", name, calls)
		}
	}
}

// A listing that repeated itself once is whole at the second try, with nothing of the
// first in it.
func TestSnapshotBeginsAgain(t *testing.T) {
	faults.Covers(t, "F67")
	calls := 0
	_, registries := connect(t, scripted(t, nil, func(w http.ResponseWriter, _ request) bool {
		calls++
		image := []object{{"imageTag": fmt.Sprintf("call-%d", calls), "imageDigest": zeroDigest}}
		switch calls {
		case 1, 2:
			say(w, object{"imageIds": image, "nextToken": "again"})
		default:
			say(w, object{"imageIds": image})
		}
		return true
	}), ecr.Options{})
	got, err := ecr.NewTarget(nil, registries).Snapshot(t.Context(), repositoryAtAWS, nil)
	if _, ok := got["call-3"]; err != nil || !ok || len(got) != 1 {
		t.Errorf("Snapshot = %v, %v", got, err)
	}
}

const zeroDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// listing makes a target whose repository ECR describes with these images.
func listing(t *testing.T, images ...object) *ecr.Target {
	t.Helper()
	_, registries := connect(t, scripted(t, nil, func(w http.ResponseWriter, _ request) bool {
		say(w, object{"imageIds": images})
		return true
	}), ecr.Options{})
	return ecr.NewTarget(nil, registries)
}

// ECR's API allows in tags what no registry does. Such a tag is a key like others, and
// an entry without a tag is none.
func TestSnapshotOfHostileTags(t *testing.T) {
	hostile := []string{"../../etc/passwd", "\x1b[31mred", "a\nb", "sha256:" + strings.Repeat("0", 64), strings.Repeat("x", 300)}
	images := []object{{"imageDigest": zeroDigest}}
	for _, tag := range hostile {
		images = append(images, object{"imageTag": tag, "imageDigest": zeroDigest})
	}
	got, err := listing(t, images...).Snapshot(t.Context(), repositoryAtAWS, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]ref.Descriptor)
	for _, tag := range hostile {
		want[tag] = ref.Descriptor{Digest: zeroDigest, Size: -1}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
}

// A digest that is none was compared with upstream's all the same; none at all meant
// that the tag is free.
func TestSnapshotOfBadDigests(t *testing.T) {
	for _, image := range []object{{"imageTag": "x"}, {"imageTag": "x", "imageDigest": "sha256:short"}} {
		got, err := listing(t, image).Snapshot(t.Context(), repositoryAtAWS, nil)
		if err == nil || !strings.HasPrefix(err.Error(), `ecr:ListImages: tag "x": `) {
			t.Errorf("Snapshot = %v, %v", got, err)
		}
	}
}

func TestReadManifests(t *testing.T) {
	server, target := ecrTarget(t)
	push := newPusher(t, server, "app")
	want := make(map[ref.Digest]registry.Manifest)
	put := func(mediaType, raw string) ref.Digest {
		digest := push.mustPut(mediaType, raw, "")
		want[digest] = registry.Manifest{MediaType: mediaType, Raw: []byte(raw)}
		return digest
	}
	for i := range 210 {
		put(ociImage, push.image(ociImage, fmt.Sprint(i)))
	}
	child := push.image(ociImage, "child")
	digest := put(ociImage, child)
	put(ociIndex, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, ociIndex, ociImage, digest, len(child)))
	child = push.image(dockerImage, "docker")
	digest = put(dockerImage, child)
	put(dockerList, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":"linux","architecture":"amd64"}}]}`, dockerList, dockerImage, digest, len(child)))

	// One is missing, and one is asked for so often that it alone would be a batch.
	asked := append(slices.Repeat([]ref.Digest{digest}, 100), zeroDigest)
	for d := range want {
		asked = append(asked, d)
	}
	server.ResetJournal()
	got, err := target.ReadManifests(t.Context(), repositoryOn(server, "app"), asked)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("manifests (-want +got):\n%s", diff)
	}
	for d, m := range got {
		if d.Algorithm().FromBytes(m.Raw) != d {
			t.Errorf("%s has other bytes", d)
		}
	}
	wantRequests(t, server, "BatchGetImage", 3)
}

func TestReadNoManifests(t *testing.T) {
	server, target := ecrTarget(t)
	server.ResetJournal()
	got, err := target.ReadManifests(t.Context(), repositoryOn(server, "app"), nil)
	if err != nil || len(got) != 0 || len(server.Journal()) != 0 {
		t.Errorf("ReadManifests = %v, %v, with %d requests", got, err, len(server.Journal()))
	}
}

func TestReadManifestsErrors(t *testing.T) {
	server, target := ecrTarget(t)
	asked := []ref.Digest{zeroDigest}
	if _, err := target.ReadManifests(t.Context(), repositoryOn(server, "missing"), asked); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a missing repository: %v", err)
	}
	server.FailNext("BatchGetImage", 1, refusal("AccessDeniedException", "no"))
	if got, err := target.ReadManifests(t.Context(), repositoryOn(server, "app"), asked); !errors.Is(err, registry.ErrDenied) || got != nil {
		t.Errorf("denied: %v, %v", got, err)
	}
}

// What ECR could not give was left out as if it were absent, whatever the reason.
func TestReadManifestsThatECRHolds(t *testing.T) {
	for code, fails := range map[string]bool{"ImageNotFound": false, "KmsError": true, "ImageInaccessible": true, "UpstreamUnavailable": true} {
		_, registries := connect(t, scripted(t, nil, func(w http.ResponseWriter, _ request) bool {
			say(w, object{"images": []object{}, "failures": []object{{
				"imageId": object{"imageDigest": zeroDigest}, "failureCode": code, "failureReason": "a reason",
			}}})
			return true
		}), ecr.Options{})
		_, err := ecr.NewTarget(nil, registries).ReadManifests(t.Context(), repositoryAtAWS, []ref.Digest{zeroDigest})
		if want := fmt.Sprintf("ecr:BatchGetImage: %s: %s: a reason", zeroDigest, code); fails && (err == nil || err.Error() != want) {
			t.Errorf("%s: error %v, want %s", code, err, want)
		}
		if !fails && err != nil {
			t.Errorf("%s: error %v", code, err)
		}
	}
}

// plain is a registry that answers for one tag and one manifest at a time.
type plain struct {
	registry.Target
	asked []string
}

func (p *plain) Resolve(_ context.Context, r ref.Reference) (ref.Descriptor, error) {
	p.asked = append(p.asked, "resolve "+r.String())
	return ref.Descriptor{Digest: zeroDigest}, nil
}

func (p *plain) Manifest(_ context.Context, r ref.Reference) (registry.Manifest, error) {
	p.asked = append(p.asked, "manifest "+r.String())
	return registry.Manifest{MediaType: ociImage, Raw: []byte("{}")}, nil
}

// A target that is not ECR is asked in the way of registries, and ECR is not asked.
func TestOtherRegistriesAreAskedThemselves(t *testing.T) {
	server := ecrlocaltest.Start(t)
	_, registries := connect(t, server.URL, ecr.Options{})
	content := &plain{}
	target := ecr.NewTarget(content, registries)
	repo := ref.Repository{Host: "quay.io", Path: "org/app"}
	tags, err := target.Snapshot(t.Context(), repo, []string{"1"})
	if err != nil || tags["1"].Digest != zeroDigest {
		t.Errorf("Snapshot = %v, %v", tags, err)
	}
	manifests, err := target.ReadManifests(t.Context(), repo, []ref.Digest{zeroDigest})
	if err != nil || string(manifests[zeroDigest].Raw) != "{}" {
		t.Errorf("ReadManifests = %v, %v", manifests, err)
	}
	if diff := cmp.Diff([]string{"resolve quay.io/org/app:1", "manifest quay.io/org/app@" + zeroDigest}, content.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if n := len(server.Journal()); n != 0 {
		t.Errorf("ECR got %d requests", n)
	}
}

// The registry of another account is named in every call.
func TestTargetInAnotherAccount(t *testing.T) {
	server := ecrlocaltest.Start(t)
	create(t, server, "app", ecrlocal.RepositoryOptions{Account: other})
	_, registries := connect(t, server.URL, ecr.Options{RegistryID: other})
	if _, err := registries.Host(t.Context(), region); err != nil {
		t.Fatal(err)
	}
	target := ecr.NewTarget(nil, registries)
	if _, err := target.Snapshot(t.Context(), repositoryOn(server, "app"), nil); err != nil {
		t.Errorf("Snapshot: %v", err)
	}
	if _, err := target.ReadManifests(t.Context(), repositoryOn(server, "app"), []ref.Digest{zeroDigest}); err != nil {
		t.Errorf("ReadManifests: %v", err)
	}
	if _, err := registries.Mutability(t.Context(), repositoryOn(server, "app")); err != nil {
		t.Errorf("Mutability: %v", err)
	}
	if _, err := client(server).DescribeRepositories(t.Context(), &awsecr.DescribeRepositoriesInput{RepositoryNames: []string{"app"}}); err == nil {
		t.Error("the caller's own account has the repository too; the test shows nothing")
	}
}
