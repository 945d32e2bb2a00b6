package ecr_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecr "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

const missingPermission = "AccessDeniedException"

// denying makes the caller lack permissions.
func denying(actions ...string) ecrlocaltest.Option {
	return ecrlocaltest.WithCredentials(ecrlocal.Credentials{AccessKeys: map[string]ecrlocal.AccessKey{
		ecrlocaltest.AccessKey: {Account: account, Deny: actions},
	}})
}

// routes are the ways to find repositories. What is found is the same.
var routes = []ecr.Route{ecr.RouteAny, ecr.RouteTagging, ecr.RouteECR}

func TestFindsWhatTheTagsSay(t *testing.T) {
	server := ecrlocaltest.Start(t)
	create(t, server, "ext/nginx", ecrlocal.RepositoryOptions{
		Tags: map[string]string{
			"upstream-image": "nginx", "upstream-tags": "1.27.+", "upstream-tags-2": "latest", "ignore-tags": "+-perl",
			"upstream-platforms": "linux/amd64", "upstream-options": "replace=false", "team": "blue",
		},
		Mutability: "IMMUTABLE_WITH_EXCLUSION", Exclusions: []string{"latest"},
	})
	create(t, server, "unmarked", ecrlocal.RepositoryOptions{Tags: map[string]string{"team": "blue"}})
	for _, route := range routes {
		findings, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: route})
		if err != nil || len(findings) != 1 {
			t.Fatalf("route %q: %v, %v", route, findings, err)
		}
		f := findings[0]
		if f.Err != nil || len(f.Warnings) != 0 {
			t.Errorf("route %q: error %v, warnings %q", route, f.Err, f.Warnings)
		}
		m := f.Mirror
		want := discover.Mirror{
			Name:      "ext/nginx",
			Upstream:  ref.Repository{Host: "docker.io", Path: "library/nginx"},
			Target:    repositoryOn(server, "ext/nginx"),
			Platforms: discover.Platforms{Keep: []ref.Platform{{OS: "linux", Architecture: "amd64"}}},
			Options:   discover.Options{Replace: false, Referrers: true},
			Origin: discover.Origin{
				Kind: discover.FromResourceTags, Region: region,
				Place: "arn:aws:ecr:us-east-1:111122223333:repository/ext/nginx",
			},
			Tags: discover.Mutability{Immutable: true, Exceptions: []string{"latest"}},
		}
		if got := m.Rules.String(); got != "1.27.+/latest/-+-perl" {
			t.Errorf("route %q: rules %s", route, got)
		}
		want.Rules = m.Rules
		if diff := cmp.Diff(want, m); diff != "" {
			t.Errorf("route %q (-want +got):\n%s", route, diff)
		}
	}
}

// More repositories than fit on a page of any listing, and pages shorter than asked
// for, as AWS's are at times.
func TestFindsEveryPage(t *testing.T) {
	for _, most := range []int{0, 7} {
		server := ecrlocaltest.Start(t, func(o *ecrlocal.Options) { o.PageSizeCap = most })
		var want []string
		for i := range 250 {
			name := fmt.Sprintf("many/r%03d", i)
			create(t, server, name, ecrlocal.RepositoryOptions{})
			want = append(want, name)
		}
		for _, route := range routes {
			got := found(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: route})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("route %q, pages of %d (-want +got):\n%s", route, most, diff)
			}
		}
	}
}

// Requests of the cheap route: two queries of three pages, and three batches.
func TestFindingIsCheap(t *testing.T) {
	server := ecrlocaltest.Start(t)
	for i := range 250 {
		create(t, server, fmt.Sprintf("many/r%03d", i), ecrlocal.RepositoryOptions{})
	}
	found(t, server.URL, ecr.Options{}, ecr.FinderOptions{})
	wantRequests(t, server, "GetResources", 6)
	wantRequests(t, server, "DescribeRepositories", 3)
	if n := len(server.Journal()); n != 9 {
		t.Errorf("%d requests in all", n)
	}
}

// Each key is asked for by itself, since the tagging API joins several with AND. What
// cannot be followed is a row, and the others go on.
func TestMistakesAreFindings(t *testing.T) {
	faults.Covers(t, "F66")
	server := ecrlocaltest.Start(t)
	for name, tags := range map[string]map[string]string{
		"a-good":     mirrored(),
		"b-no-tags":  {"upstream-image": "nginx"},
		"c-no-image": {"upstream-tags": "1"},
		"d-value":    {"upstream-image": "nginx", "upstream-tags": "a//b"},
		"e-image":    {"upstream-image": "nginx:1", "upstream-tags": "1"},
		"f-good":     mirrored(),
	} {
		create(t, server, name, ecrlocal.RepositoryOptions{Tags: tags})
	}
	for _, route := range routes {
		findings, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: route})
		if err != nil {
			t.Fatalf("route %q: %v", route, err)
		}
		wants := []struct{ name, err string }{
			{"a-good", ""},
			{"b-no-tags", "upstream-tags is missing"},
			{"c-no-image", "upstream-image is missing"},
			{"d-value", "upstream-tags"},
			{"e-image", "upstream-image"},
			{"f-good", ""},
		}
		if len(findings) != len(wants) {
			t.Fatalf("route %q: %q", route, described(findings))
		}
		for i, want := range wants {
			f := findings[i]
			if f.Mirror.Target.Path != want.name || (f.Err == nil) != (want.err == "") {
				t.Errorf("route %q: finding %d is %s with error %v, want %s", route, i, f.Mirror.Target, f.Err, want.name)
			}
			if f.Err != nil && !strings.Contains(f.Err.Error(), want.err) {
				t.Errorf("route %q: %s: error %v, want %q", route, want.name, f.Err, want.err)
			}
			if f.Mirror.Target.Host != server.Host || f.Mirror.Origin.Place == "" {
				t.Errorf("route %q: %s does not say which repository it is: %v", route, want.name, f.Mirror)
			}
		}
	}
}

func TestNearMissesAreWarnings(t *testing.T) {
	server := ecrlocaltest.Start(t)
	tags := mirrored()
	tags["upstream-tag"] = "2"
	create(t, server, "app", ecrlocal.RepositoryOptions{Tags: tags})
	for _, route := range routes {
		findings, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: route})
		if err != nil || len(findings) != 1 {
			t.Fatalf("route %q: %v, %v", route, findings, err)
		}
		if f := findings[0]; f.Err != nil || len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0], "upstream-tag") {
			t.Errorf("route %q: error %v, warnings %q", route, f.Err, f.Warnings)
		}
	}
}

func TestRenamedKeys(t *testing.T) {
	server := ecrlocaltest.Start(t)
	create(t, server, "theirs", ecrlocal.RepositoryOptions{})
	create(t, server, "ours", ecrlocal.RepositoryOptions{Tags: map[string]string{"acme-image": "nginx", "acme-versions": "1", "acme-platforms": "linux/amd64"}})
	for _, route := range routes {
		got := found(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: route, Keys: discover.NewKeys("acme-image", "acme-versions")})
		if diff := cmp.Diff([]string{"ours"}, got); diff != "" {
			t.Errorf("route %q (-want +got):\n%s", route, diff)
		}
	}
}

func TestPrefixTakesWholeSegments(t *testing.T) {
	server := ecrlocaltest.Start(t)
	for _, name := range []string{"ext", "ext/nginx", "ext/a/b", "ext-2/nginx", "external/nginx", "my/ext/nginx"} {
		create(t, server, name, ecrlocal.RepositoryOptions{})
	}
	all := []string{"ext", "ext-2/nginx", "ext/a/b", "ext/nginx", "external/nginx", "my/ext/nginx"}
	for _, test := range []struct{ prefixes, want []string }{
		{nil, all},
		{[]string{""}, all},
		{[]string{"/"}, all},
		{[]string{"nothing", ""}, all},
		{[]string{"ext"}, []string{"ext", "ext/a/b", "ext/nginx"}},
		{[]string{"/ext/"}, []string{"ext", "ext/a/b", "ext/nginx"}},
		{[]string{"ext/a"}, []string{"ext/a/b"}},
		{[]string{"ex"}, nil},
		{[]string{"ext-2/"}, []string{"ext-2/nginx"}},
		{[]string{"my", "ext-2"}, []string{"ext-2/nginx", "my/ext/nginx"}},
		{[]string{"ext/a", "ext", "ext/"}, []string{"ext", "ext/a/b", "ext/nginx"}},
	} {
		for _, route := range routes {
			given := slices.Clone(test.prefixes)
			got := found(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: route, Prefixes: test.prefixes})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("route %q, prefixes %q (-want +got):\n%s", route, given, diff)
			}
			if !slices.Equal(test.prefixes, given) {
				t.Errorf("the caller's prefixes %q became %q", given, test.prefixes)
			}
		}
	}
}

// A repository outside of the prefix costs no request for its tags.
func TestPrefixSavesRequests(t *testing.T) {
	server := ecrlocaltest.Start(t)
	create(t, server, "ext/nginx", ecrlocal.RepositoryOptions{})
	create(t, server, "other/nginx", ecrlocal.RepositoryOptions{})
	found(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: ecr.RouteECR, Prefixes: []string{"ext"}})
	wantRequests(t, server, "ListTagsForResource", 1)
}

func TestMutabilityOfFindings(t *testing.T) {
	server := ecrlocaltest.Start(t)
	for path, test := range mutabilities() {
		create(t, server, path, test.opts)
	}
	for _, route := range routes {
		findings, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: route})
		if err != nil || len(findings) != len(mutabilities()) {
			t.Fatalf("route %q: %v, %v", route, findings, err)
		}
		for _, f := range findings {
			if diff := cmp.Diff(mutabilities()[f.Mirror.Target.Path].want, f.Mirror.Tags); diff != "" {
				t.Errorf("route %q: %s (-want +got):\n%s", route, f.Mirror.Target.Path, diff)
			}
		}
	}
}

// The URI is ECR's word. Nothing of it is put together from account and Region.
func TestRepositoryURIIsECRs(t *testing.T) {
	const dualStack = "111122223333.dkr-ecr.eu-west-1.on.aws"
	url := scripted(t, nil, tagged(
		[]object{resource("arn:aws:ecr:eu-west-1:111122223333:repository/app", mirrored())},
		[]object{{"repositoryName": "app", "repositoryUri": dualStack + "/app", "registryId": account}},
	))
	findings, err := find(t, url, ecr.Options{}, ecr.FinderOptions{Regions: []string{"eu-west-1"}})
	if err != nil || len(findings) != 1 {
		t.Fatalf("%v, %v", findings, err)
	}
	if got, want := findings[0].Mirror.Target, (ref.Repository{Host: dualStack, Path: "app"}); got != want || findings[0].Err != nil {
		t.Errorf("target %s with error %v, want %s", got, findings[0].Err, want)
	}
}

func TestRepositoryURIThatIsNone(t *testing.T) {
	url := scripted(t, nil, tagged(
		[]object{resource("arn:aws:ecr:us-east-1:111122223333:repository/app", mirrored())},
		[]object{{"repositoryName": "app", "repositoryUri": "127.0.0.1/UPPER:tag", "registryId": account}},
	))
	findings, err := find(t, url, ecr.Options{}, ecr.FinderOptions{})
	if err != nil || len(findings) != 1 || findings[0].Err == nil || !strings.HasPrefix(findings[0].Err.Error(), "repository URI: ") {
		t.Errorf("%v, %v", findings, err)
	}
}

// resource is a repository as the tagging API shows it.
func resource(arn string, tags map[string]string) object {
	list := []object{}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, object{"Key": key, "Value": tags[key]})
	}
	return object{"ResourceARN": arn, "Tags": list}
}

// tagged is an AWS that knows these resources and repositories.
func tagged(resources, repositories []object) script {
	return func(w http.ResponseWriter, r request) bool {
		switch r.op {
		case "GetResources":
			say(w, object{"PaginationToken": "", "ResourceTagMappingList": resources})
		case "DescribeRepositories":
			say(w, object{"repositories": repositories})
		default:
			return false
		}
		return true
	}
}

// The tagging API also names what once had tags, and what is no private repository.
func TestWhatIsNoMirrorIsIgnored(t *testing.T) {
	log, logs := observed()
	url := scripted(t, nil, tagged([]object{
		resource("arn:aws:ecr:us-east-1:111122223333:repository/app", mirrored()),
		resource("arn:aws:ecr:us-east-1:111122223333:repository/once-tagged", nil),
		resource("arn:aws:ecr:us-east-1:111122223333:repository/other-tags", map[string]string{"team": "blue"}),
		resource("arn:aws:ecr-public::111122223333:repository/public", mirrored()),
		resource("arn:aws:ecr:us-east-1:111122223333:pull-through-cache-rule/x", mirrored()),
		resource("no-arn", mirrored()),
		{"ResourceARN": nil},
	}, []object{{"repositoryName": "app", "repositoryUri": "127.0.0.1:1/app", "registryId": account}}))
	if diff := cmp.Diff([]string{"app"}, found(t, url, ecr.Options{Log: log}, ecr.FinderOptions{})); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if got := warnings(logs); len(got) != 0 {
		t.Errorf("ECR was asked about what is ignored: %q", got)
	}
}

func TestOtherPartitions(t *testing.T) {
	server := ecrlocaltest.Start(t)
	for _, r := range []string{"cn-north-1", "us-gov-west-1"} {
		create(t, server, "app", ecrlocal.RepositoryOptions{Region: r})
		for _, route := range routes {
			findings, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: route, Regions: []string{r}})
			if err != nil || len(findings) != 1 || findings[0].Err != nil {
				t.Fatalf("%s, route %q: %v, %v", r, route, findings, err)
			}
			partition := map[string]string{"cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov"}[r]
			if want := "arn:" + partition + ":ecr:" + r + ":111122223333:repository/app"; findings[0].Mirror.Origin.Place != want {
				t.Errorf("route %q: place %s, want %s", route, findings[0].Mirror.Origin.Place, want)
			}
		}
	}
}

func TestSeveralRegions(t *testing.T) {
	server := ecrlocaltest.Start(t)
	for _, r := range []string{"us-east-1", "eu-west-1", "eu-west-2"} {
		create(t, server, "b-"+r, ecrlocal.RepositoryOptions{Region: r})
		create(t, server, "a-"+r, ecrlocal.RepositoryOptions{Region: r})
	}
	// A Region that is named twice is searched once: two rows for one tag would clash.
	regions := []string{"us-east-1", "eu-west-1", "us-east-1"}
	got := found(t, server.URL, ecr.Options{}, ecr.FinderOptions{Regions: regions})
	if diff := cmp.Diff([]string{"a-eu-west-1", "b-eu-west-1", "a-us-east-1", "b-us-east-1"}, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"us-east-1", "eu-west-1", "us-east-1"}, regions); diff != "" {
		t.Errorf("the caller's list of Regions was changed (-want +got):\n%s", diff)
	}
}

func TestARegionThatFailsIsAFinding(t *testing.T) {
	faults.Covers(t, "F68")
	server := ecrlocaltest.Start(t)
	create(t, server, "app", ecrlocal.RepositoryOptions{Region: "us-east-1"})
	server.FailNext("GetResources", 1, inRegion("af-south-1", refusal("UnrecognizedClientException", "The security token included in the request is invalid.")))
	findings, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{Regions: []string{"us-east-1", "af-south-1"}})
	if err != nil || len(findings) != 2 {
		t.Fatalf("%v, %v", findings, err)
	}
	failed := findings[0]
	want := "ECR in af-south-1: tag:GetResources: UnrecognizedClientException: The security token included in the request is invalid. " +
		"(the access key is not valid, or the Region is not enabled for the account)"
	if failed.Err == nil || failed.Err.Error() != want {
		t.Errorf("error %v, want %s", failed.Err, want)
	}
	if origin := failed.Mirror.Origin; origin.Place != "ECR in af-south-1" || origin.Region != "af-south-1" || origin.Kind != discover.FromResourceTags {
		t.Errorf("origin %v", origin)
	}
	if findings[1].Err != nil || findings[1].Mirror.Target.Path != "app" {
		t.Errorf("the other Region: %v", findings[1])
	}
	wantRequests(t, server, "DescribeRepositories", 1) // a key that is not valid is no missing permission
}

func TestEveryRegionFails(t *testing.T) {
	server := ecrlocaltest.Start(t)
	server.FailNext("GetResources", 2, refusal("UnrecognizedClientException", "invalid"))
	findings, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{Regions: []string{"us-east-1", "af-south-1"}})
	if err == nil || findings != nil || !errors.Is(err, registry.ErrDenied) {
		t.Fatalf("%v, %v", findings, err)
	}
	for _, want := range []string{"discovering repositories: ", "ECR in us-east-1: ", "ECR in af-south-1: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

// A run that was interrupted after its first Region went on with that one, and with a
// row that said that the other had failed.
func TestFindingEndsWithItsContext(t *testing.T) {
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	// A remark about what is missing is the last that happens in the first Region.
	play := tagged([]object{resource("arn:aws:ecr:us-east-1:111122223333:repository/gone", mirrored())}, nil)
	url := scripted(t, nil, func(w http.ResponseWriter, r request) bool {
		if strings.Contains(r.http.Header.Get("Authorization"), "/eu-west-1/") {
			<-r.http.Context().Done()
			return true
		}
		return play(w, r)
	})
	log := zap.NewNop().WithOptions(zap.WrapCore(func(zapcore.Core) zapcore.Core {
		core, _ := observer.New(zapcore.WarnLevel)
		return zapcore.RegisterHooks(core, func(zapcore.Entry) error {
			cancel(interrupted)
			return nil
		})
	}))
	session, registries := connect(t, url, ecr.Options{Log: log})
	findings, err := ecr.NewFinder(session, registries, ecr.FinderOptions{Keys: defaultKeys, Regions: []string{"us-east-1", "eu-west-1"}}).Find(ctx)
	if !errors.Is(err, interrupted) || findings != nil {
		t.Errorf("%v, %v", findings, err)
	}
}

func TestFallsBackWhereTaggingIsDenied(t *testing.T) {
	log, logs := observed()
	server := ecrlocaltest.Start(t, denying("tag:GetResources"))
	create(t, server, "ext/nginx", ecrlocal.RepositoryOptions{})
	create(t, server, "ext/unmarked", ecrlocal.RepositoryOptions{Tags: map[string]string{"team": "blue"}})
	got := found(t, server.URL, ecr.Options{Log: log}, ecr.FinderOptions{})
	if diff := cmp.Diff([]string{"ext/nginx"}, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if got := warnings(logs); len(got) != 1 || !strings.HasPrefix(got[0], "tag:GetResources is denied") {
		t.Errorf("warnings %q", got)
	}
	wantRequests(t, server, "GetResources", 1)
	wantRequests(t, server, "ListTagsForResource", 2)
}

func TestForcedRoutes(t *testing.T) {
	t.Run("tagging is not replaced", func(t *testing.T) {
		server := ecrlocaltest.Start(t, denying("tag:GetResources"))
		create(t, server, "app", ecrlocal.RepositoryOptions{})
		_, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: ecr.RouteTagging})
		if !errors.Is(err, registry.ErrDenied) || !strings.Contains(err.Error(), "tag:GetResources: AccessDeniedException: ") {
			t.Errorf("error %v", err)
		}
		wantRequests(t, server, "DescribeRepositories", 0)
	})
	t.Run("ecr needs no tagging", func(t *testing.T) {
		server := ecrlocaltest.Start(t, denying("tag:*"))
		create(t, server, "app", ecrlocal.RepositoryOptions{})
		if diff := cmp.Diff([]string{"app"}, found(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: ecr.RouteECR})); diff != "" {
			t.Errorf("found (-want +got):\n%s", diff)
		}
		wantRequests(t, server, "GetResources", 0)
	})
}

// A denied DescribeRepositories was taken for a denied tagging API, and led to a
// warning that was wrong and a second way to the same refusal.
func TestDescribingIsDenied(t *testing.T) {
	log, logs := observed()
	server := ecrlocaltest.Start(t, denying("ecr:DescribeRepositories"))
	for i := range 3 {
		create(t, server, fmt.Sprintf("app-%d", i), ecrlocal.RepositoryOptions{})
	}
	_, err := find(t, server.URL, ecr.Options{Log: log}, ecr.FinderOptions{})
	if !errors.Is(err, registry.ErrDenied) || !strings.HasPrefix(err.Error(), "discovering repositories: ECR in us-east-1: ecr:DescribeRepositories: AccessDeniedException: ") {
		t.Errorf("error %v", err)
	}
	if got := warnings(logs); len(got) != 0 {
		t.Errorf("warnings %q", got)
	}
}

func TestListingIsDenied(t *testing.T) {
	server := ecrlocaltest.Start(t, denying("ecr:DescribeRepositories"))
	_, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: ecr.RouteECR})
	if !errors.Is(err, registry.ErrDenied) || !strings.Contains(err.Error(), "ECR in us-east-1: ecr:DescribeRepositories: AccessDeniedException: ") {
		t.Errorf("error %v", err)
	}
}

// An error that is about no repository in particular is not looked for by halving.
func TestOutageWhileDescribing(t *testing.T) {
	server := ecrlocaltest.Start(t)
	for i := range 20 {
		create(t, server, fmt.Sprintf("app-%02d", i), ecrlocal.RepositoryOptions{})
	}
	server.FailNext("DescribeRepositories", 1000, ecrlocal.Fault{Status: http.StatusInternalServerError, Code: "ServerException", Message: "down"})
	_, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{})
	if err == nil || !strings.Contains(err.Error(), "ecr:DescribeRepositories: ServerException: down (tried 8 times)") {
		t.Errorf("error %v", err)
	}
	wantRequests(t, server, "DescribeRepositories", ecr.APIAttempts)
}

// The caller's own tags would command repositories of the same names in the other
// account.
func TestAnotherAccountsRegistry(t *testing.T) {
	start := func(t *testing.T) *ecrlocaltest.Running {
		t.Helper()
		server := ecrlocaltest.Start(t)
		create(t, server, "app", ecrlocal.RepositoryOptions{Account: other})
		create(t, server, "app", ecrlocal.RepositoryOptions{Tags: map[string]string{"upstream-image": "evil.example/app", "upstream-tags": "1"}})
		create(t, server, "own", ecrlocal.RepositoryOptions{})
		return server
	}
	for _, route := range []ecr.Route{ecr.RouteAny, ecr.RouteECR} {
		server := start(t)
		findings, err := find(t, server.URL, ecr.Options{RegistryID: other}, ecr.FinderOptions{Route: route})
		if err != nil || len(findings) != 1 || findings[0].Mirror.Upstream.Host != "docker.io" || findings[0].Err != nil {
			t.Errorf("route %q: %v, %v", route, findings, err)
		}
		wantRequests(t, server, "GetResources", 0)
	}
	t.Run("tagging cannot serve", func(t *testing.T) {
		server := start(t)
		findings, err := find(t, server.URL, ecr.Options{RegistryID: other}, ecr.FinderOptions{Route: ecr.RouteTagging})
		if !errors.Is(err, registry.ErrUnsupported) || !strings.Contains(err.Error(), "account "+account) || !strings.Contains(err.Error(), other) {
			t.Errorf("%q, %v", described(findings), err)
		}
		wantRequests(t, server, "GetResources", 0)
	})
	t.Run("the caller's own by its number", func(t *testing.T) {
		server := start(t)
		for _, route := range []ecr.Route{ecr.RouteAny, ecr.RouteTagging} {
			got := found(t, server.URL, ecr.Options{RegistryID: account}, ecr.FinderOptions{Route: route})
			if diff := cmp.Diff([]string{"app", "own"}, got); diff != "" {
				t.Errorf("route %q (-want +got):\n%s", route, diff)
			}
		}
		wantRequests(t, server, "ListTagsForResource", 0)
	})
	t.Run("nobody says whose account it is", func(t *testing.T) {
		server := start(t)
		server.FailNext("GetCallerIdentity", 1, ecrlocal.Fault{Status: http.StatusForbidden, Code: "AccessDenied"})
		if diff := cmp.Diff([]string{"app"}, found(t, server.URL, ecr.Options{RegistryID: other}, ecr.FinderOptions{})); diff != "" {
			t.Errorf("found (-want +got):\n%s", diff)
		}
		server.FailNext("GetCallerIdentity", 1, ecrlocal.Fault{Status: http.StatusForbidden, Code: "AccessDenied"})
		if _, err := find(t, server.URL, ecr.Options{RegistryID: other}, ecr.FinderOptions{Route: ecr.RouteTagging}); !errors.Is(err, registry.ErrDenied) {
			t.Errorf("forced: %v", err)
		}
	})
}

// The tagging API goes on naming repositories after they are deleted. One such name
// makes ECR refuse the other 99 of its batch.
func TestDeletedRepositoryIsLeftOut(t *testing.T) {
	log, logs := observed()
	c := ecrlocaltest.NewClock()
	server := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c), func(o *ecrlocal.Options) { o.TaggingDelay = time.Minute })
	var want []string
	for i := range 150 {
		name := fmt.Sprintf("many/r%03d", i)
		create(t, server, name, ecrlocal.RepositoryOptions{})
		want = append(want, name)
	}
	c.Advance(2 * time.Minute)
	if _, err := client(server).DeleteRepository(t.Context(), &awsecr.DeleteRepositoryInput{RepositoryName: aws.String("many/r042")}); err != nil {
		t.Fatal(err)
	}
	got := found(t, server.URL, ecr.Options{Log: log}, ecr.FinderOptions{})
	if diff := cmp.Diff(slices.DeleteFunc(want, func(s string) bool { return s == "many/r042" }), got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	lines := logs.FilterMessageSnippet("does not exist").All()
	if len(lines) != 1 || !strings.HasSuffix(lines[0].ContextMap()["arn"].(string), "many/r042") {
		t.Errorf("logged %v", lines)
	}
	if n := requests(server, "DescribeRepositories"); n > 17 { // two batches, and two halves for each of seven halvings
		t.Errorf("%d requests to find one name among 150", n)
	}
}

// ECR's answer may lack a repository without an error, too.
func TestRepositoryThatECRDoesNotMention(t *testing.T) {
	log, logs := observed()
	url := scripted(t, nil, tagged([]object{
		resource("arn:aws:ecr:us-east-1:111122223333:repository/app", mirrored()),
		resource("arn:aws:ecr:us-east-1:111122223333:repository/gone", mirrored()),
	}, []object{{"repositoryName": "app", "repositoryUri": "127.0.0.1:1/app", "registryId": account}}))
	if diff := cmp.Diff([]string{"app"}, found(t, url, ecr.Options{Log: log}, ecr.FinderOptions{})); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if got := warnings(logs); len(got) != 1 {
		t.Errorf("warnings %q", got)
	}
}

func TestRepositoryDeletedWhileListing(t *testing.T) {
	server := ecrlocaltest.Start(t)
	create(t, server, "app", ecrlocal.RepositoryOptions{})
	create(t, server, "gone", ecrlocal.RepositoryOptions{})
	fault := refusal("RepositoryNotFoundException", "gone")
	fault.Repository = "gone"
	server.FailNext("ListTagsForResource", 1, fault)
	if diff := cmp.Diff([]string{"app"}, found(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: ecr.RouteECR})); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

// One repository whose tags may not be read hid all others of its Region.
func TestOneDeniedRepositoryIsARow(t *testing.T) {
	faults.Covers(t, "F65")
	for _, code := range []string{missingPermission, "InvalidParameterException"} {
		server := ecrlocaltest.Start(t)
		for _, name := range []string{"app-1", "app-2", "app-3"} {
			create(t, server, name, ecrlocal.RepositoryOptions{})
		}
		fault := refusal(code, "no")
		fault.Repository = "app-2"
		server.FailNext("ListTagsForResource", 1, fault)
		findings, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: ecr.RouteECR})
		if err != nil {
			t.Fatalf("%s: %v", code, err)
		}
		if diff := cmp.Diff([]string{"app-1", "app-2: ecr:ListTagsForResource: " + code + ": no", "app-3"}, described(findings)); diff != "" {
			t.Errorf("%s: found (-want +got):\n%s", code, diff)
		}
	}
}

// One repository that may not be described makes ECR refuse its whole batch.
func TestOneRepositoryMayNotBeDescribed(t *testing.T) {
	server := ecrlocaltest.Start(t)
	for _, name := range []string{"app-1", "app-2", "app-3", "app-4"} {
		create(t, server, name, ecrlocal.RepositoryOptions{})
	}
	url := scripted(t, server, func(w http.ResponseWriter, r request) bool {
		if r.op != "DescribeRepositories" || !strings.Contains(string(r.body), `"app-3"`) {
			return false
		}
		refuse(w, missingPermission, "no")
		return true
	})
	findings, err := find(t, url, ecr.Options{}, ecr.FinderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"app-1", "app-2",
		"arn:aws:ecr:us-east-1:111122223333:repository/app-3: repository app-3: ecr:DescribeRepositories: AccessDeniedException: no",
		"app-4",
	}
	if diff := cmp.Diff(want, described(findings)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

// Where the permission is missing altogether, a row for each repository, most of which
// are no mirrors, would bury that.
func TestEveryRepositoryIsDenied(t *testing.T) {
	server := ecrlocaltest.Start(t, denying("ecr:ListTagsForResource"))
	for i := range 30 {
		create(t, server, fmt.Sprintf("app-%02d", i), ecrlocal.RepositoryOptions{})
	}
	findings, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: ecr.RouteECR})
	if !errors.Is(err, registry.ErrDenied) || strings.Count(err.Error(), missingPermission) != 1 {
		t.Errorf("%d findings, %v", len(findings), err)
	}
}

// An AWS that cannot be reached fails the Region at once, not each repository after
// all its attempts.
func TestOutageWhileReadingTags(t *testing.T) {
	server := ecrlocaltest.Start(t)
	for i := range 100 {
		create(t, server, fmt.Sprintf("app-%02d", i), ecrlocal.RepositoryOptions{})
	}
	server.FailNext("ListTagsForResource", 1_000_000, ecrlocal.Fault{Status: http.StatusInternalServerError, Code: "ServerException", Message: "down"})
	_, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: ecr.RouteECR})
	if err == nil || !strings.Contains(err.Error(), "ecr:ListTagsForResource: ServerException: down (tried 8 times)") {
		t.Errorf("error %v", err)
	}
	if n := requests(server, "ListTagsForResource"); n > 20*ecr.APIAttempts {
		t.Errorf("%d requests to an API that is down", n)
	}
}

func TestThrottledCallsAreTriedAgain(t *testing.T) {
	faults.Covers(t, "F57")
	for _, test := range []struct {
		op    string
		route ecr.Route
	}{
		{"GetResources", ecr.RouteTagging},
		{"DescribeRepositories", ecr.RouteTagging},
		{"DescribeRepositories", ecr.RouteECR},
		{"ListTagsForResource", ecr.RouteECR},
	} {
		server := ecrlocaltest.Start(t)
		create(t, server, "app", ecrlocal.RepositoryOptions{})
		server.FailNext(test.op, ecr.APIAttempts-1, refusal("ThrottlingException", "Rate exceeded"))
		if diff := cmp.Diff([]string{"app"}, found(t, server.URL, ecr.Options{}, ecr.FinderOptions{Route: test.route})); diff != "" {
			t.Errorf("%s: found (-want +got):\n%s", test.op, diff)
		}
		if n := requests(server, test.op); n < ecr.APIAttempts {
			t.Errorf("%s was called %d times", test.op, n)
		}
	}
}

func TestThrottledForGood(t *testing.T) {
	server := ecrlocaltest.Start(t)
	server.FailNext("GetResources", 1000, refusal("ThrottledException", "Rate exceeded"))
	_, err := find(t, server.URL, ecr.Options{}, ecr.FinderOptions{})
	if !errors.Is(err, registry.ErrThrottled) {
		t.Errorf("error %v", err)
	}
	wantRequests(t, server, "GetResources", ecr.APIAttempts)
	wantRequests(t, server, "ListTagsForResource", 0) // throttling is no refusal: there is nothing to fall back from
}

// A page token of the tagging API lives for 15 minutes, which a throttled listing may
// outlast. The listing is begun again.
func TestPageTokenExpires(t *testing.T) {
	faults.Covers(t, "F67")
	c := ecrlocaltest.NewClock()
	server := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c))
	var want []string
	for i := range 150 {
		name := fmt.Sprintf("many/r%03d", i)
		create(t, server, name, ecrlocal.RepositoryOptions{})
		want = append(want, name)
	}
	var mu sync.Mutex
	calls := 0
	server.FailNext("GetResources", 1, ecrlocal.Fault{Match: func(ecrlocal.Entry) bool {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls == 2 {
			c.Advance(16 * time.Minute)
		}
		return false
	}})
	if diff := cmp.Diff(want, found(t, server.URL, ecr.Options{}, ecr.FinderOptions{})); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	wantRequests(t, server, "GetResources", 6) // a page and a refusal, then two queries of two pages
}

// The tags are as the tagging API has them by now.
func TestTagsThatHaveNotArrived(t *testing.T) {
	c := ecrlocaltest.NewClock()
	server := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c), func(o *ecrlocal.Options) { o.TaggingDelay = time.Minute })
	create(t, server, "app", ecrlocal.RepositoryOptions{})
	if got := found(t, server.URL, ecr.Options{}, ecr.FinderOptions{}); len(got) != 0 {
		t.Errorf("found %q at once", got)
	}
	c.Advance(time.Minute)
	if got := found(t, server.URL, ecr.Options{}, ecr.FinderOptions{}); len(got) != 1 {
		t.Errorf("found %q later", got)
	}
}

// What was found is known to the registries, under the host that ECR gave.
func TestFoundHostsAreLearned(t *testing.T) {
	for _, route := range routes {
		server := ecrlocaltest.Start(t)
		create(t, server, "app", ecrlocal.RepositoryOptions{Region: "eu-west-1"})
		session, registries := connect(t, server.URL, ecr.Options{})
		if _, err := ecr.NewFinder(session, registries, ecr.FinderOptions{Keys: defaultKeys, Regions: []string{"eu-west-1"}, Route: route}).Find(t.Context()); err != nil {
			t.Fatal(err)
		}
		if at, known := registries.Locate(server.Host); !known || at != (ecr.Location{Account: account, Region: "eu-west-1"}) {
			t.Errorf("route %q: Locate = %v, %t", route, at, known)
		}
	}
}
