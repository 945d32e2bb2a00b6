package ecr_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// third is an account whose role wants an external id.
const (
	third     = "777788889999"
	thirdRole = "arn:aws:iam::" + third + ":role/mirror"
)

// The principals of the accounts, as they are in the journal.
var principals = map[string]string{
	account: "arn:aws:iam::" + account + ":user/ecrlocal",
	other:   "arn:aws:sts::" + other + ":assumed-role/sync/ecr-mirror-sync",
	third:   "arn:aws:sts::" + third + ":assumed-role/mirror/blue",
}

func startAccounts(t *testing.T) *ecrlocaltest.Running {
	t.Helper()
	return ecrlocaltest.Start(t, ecrlocaltest.WithCredentials(ecrlocal.Credentials{
		AccessKeys: map[string]ecrlocal.AccessKey{ecrlocaltest.AccessKey: {Account: account}},
		Roles:      map[string]ecrlocal.Role{thirdRole: {ExternalID: "tenant-7"}},
	}))
}

// show asks a registry something with a password.
func show(t *testing.T, registries *ecr.Registries, host string) {
	t.Helper()
	cred := password(t, registries, host)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v2/app/tags/list", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(cred.Username, cred.Password.Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s answers %s", host, resp.Status)
	}
}

// Three accounts and two Regions in one run: each registry is asked, on both faces, by the
// session that found it and by no other.
func TestSeveralAccounts(t *testing.T) {
	server := startAccounts(t)
	session, registries := connect(t, server.URL, ecr.Options{})
	second := session.As(ecr.Role{ARN: role}, "")
	finders := ecr.Finders{
		ecr.NewFinder(session, registries, ecr.FinderOptions{Keys: defaultKeys}),
		ecr.NewFinder(second, registries, ecr.FinderOptions{Keys: defaultKeys, Regions: []string{"us-east-1", "eu-west-1"}}),
		ecr.NewFinder(session.As(ecr.Role{ARN: thirdRole, ExternalID: "tenant-7", SessionName: "blue"}, ""), registries, ecr.FinderOptions{Keys: defaultKeys}),
	}
	var want []ecr.Location
	hosts := map[ecr.Location]string{}
	for _, at := range []ecr.Location{
		{Account: account, Region: "us-east-1"}, {Account: other, Region: "eu-west-1"}, {Account: other, Region: "us-east-1"}, {Account: third, Region: "us-east-1"},
	} {
		want = append(want, at)
		hosts[at] = server.Separate(t, at.Account, at.Region)
		create(t, server, "app", ecrlocal.RepositoryOptions{Account: at.Account, Region: at.Region, Mutability: "IMMUTABLE"})
	}
	findings, err := finders.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []ecr.Location
	for _, f := range findings {
		at, _ := registries.Locate(f.Mirror.Target.Host)
		if f.Err != nil || f.Mirror.Target != (ref.Repository{Host: hosts[at], Path: "app"}) || f.Mirror.Origin.Region != at.Region {
			t.Errorf("%v, %v; want it at %s", f.Mirror, f.Err, hosts[at])
		}
		got = append(got, at)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("found (-want +got):\n%s", diff)
	}

	target := ecr.NewTarget(nil, registries)
	for _, f := range findings {
		repo := f.Mirror.Target
		if m, err := registries.Mutability(t.Context(), repo); err != nil || !m.Immutable {
			t.Errorf("Mutability of %s: %v, %v", repo, m, err)
		}
		if _, err := target.Snapshot(t.Context(), repo, nil); err != nil {
			t.Errorf("Snapshot of %s: %v", repo, err)
		}
		if _, err := target.ReadManifests(t.Context(), repo, []ref.Digest{ref.Digest("sha256:" + strings.Repeat("0", 64))}); err != nil {
			t.Errorf("ReadManifests of %s: %v", repo, err)
		}
		if err := target.DeleteTag(t.Context(), repo.Tagged("1.0")); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("DeleteTag of %s: %v", repo, err)
		}
		if all, err := collect(registries.Repositories(t.Context(), repo.Host)); err != nil || len(all) != 1 {
			t.Errorf("Repositories of %s: %v, %v", repo, all, err)
		}
		show(t, registries, repo.Host)
	}
	wantRequests(t, server, getToken, 4)
	wantRequests(t, server, "tags-list", 4)
	wantRequests(t, server, "AssumeRole", 2)
	wantOwnPrincipals(t, server)
}

// wantOwnPrincipals insists that every registry was asked by its own account alone.
func wantOwnPrincipals(t *testing.T, server *ecrlocaltest.Running) {
	t.Helper()
	for _, e := range server.Journal() {
		if e.Op != "AssumeRole" && e.Principal != principals[e.Account] {
			t.Errorf("%s of %s in %s was asked for by %s", e.Op, e.Account, e.Region, e.Principal)
		}
	}
}

// One account's registry by its number, beside the caller's own: no role, and still two
// passwords, since an emulator's opens one registry.
func TestAnotherAccountBesideOnesOwn(t *testing.T) {
	server := ecrlocaltest.Start(t)
	session, registries := connect(t, server.URL, ecr.Options{})
	finders := ecr.Finders{
		ecr.NewFinder(session, registries, ecr.FinderOptions{Keys: defaultKeys}),
		ecr.NewFinder(session.As(ecr.Role{}, other), registries, ecr.FinderOptions{Keys: defaultKeys}),
	}
	for _, id := range []string{account, other} {
		host := server.Separate(t, id, "")
		create(t, server, "app", ecrlocal.RepositoryOptions{Account: id})
		defer show(t, registries, host)
	}
	findings, err := finders.Find(t.Context())
	if err != nil || len(findings) != 2 {
		t.Errorf("%q, %v", described(findings), err)
	}
}

// Of two roles that may see one registry, the one that is named first speaks to it, even if
// the other is faster.
func TestFirstFinderWins(t *testing.T) {
	const slowRole, fastRole = "arn:aws:iam::" + other + ":role/slow", "arn:aws:iam::" + other + ":role/fast"
	server := ecrlocaltest.Start(t)
	create(t, server, "app", ecrlocal.RepositoryOptions{Account: other})
	session, registries := connect(t, server.URL, ecr.Options{})
	described := make(chan struct{})
	server.FailNext("GetResources", 1, ecrlocal.Fault{Hold: described, Match: func(e ecrlocal.Entry) bool { return strings.Contains(e.Principal, "/slow/") }})
	server.FailNext("DescribeRepositories", 1, ecrlocal.Fault{Match: func(e ecrlocal.Entry) bool {
		if strings.Contains(e.Principal, "/fast/") {
			close(described)
		}
		return false
	}})
	var finders ecr.Finders
	for _, arn := range []string{slowRole, fastRole} {
		finders = append(finders, ecr.NewFinder(session.As(ecr.Role{ARN: arn}, ""), registries, ecr.FinderOptions{Keys: defaultKeys}))
	}
	findings, err := finders.Find(t.Context())
	if err != nil || len(findings) != 1 || findings[0].Err != nil {
		t.Fatalf("%v, %v", findings, err)
	}
	password(t, registries, server.Host)
	// What the registry is called otherwise does not matter.
	password(t, registries, other+".dkr.ecr.us-east-1.amazonaws.com")
	password(t, registries, other+".dkr-ecr.us-east-1.on.aws")
	wantTokensOf(t, server, "us-east-1 assumed-role/slow")
	// Nobody has found these.
	password(t, registries, other+".dkr.ecr.eu-west-1.amazonaws.com")
	password(t, registries, hostIn("us-east-1"))
	wantTokensOf(t, server, "us-east-1 assumed-role/slow", "eu-west-1 user/ecrlocal", "us-east-1 user/ecrlocal")
}

// Two sessions that say nothing of accounts, as those of two profiles: what each finds is
// its own.
func TestSessionsOfTwoKeys(t *testing.T) {
	const otherKey = "AKIAECRLOCALOTHER000"
	server := ecrlocaltest.Start(t, ecrlocaltest.WithCredentials(ecrlocal.Credentials{AccessKeys: map[string]ecrlocal.AccessKey{
		ecrlocaltest.AccessKey: {Account: account}, otherKey: {Account: other},
	}}))
	session, registries := connect(t, server.URL, ecr.Options{})
	t.Setenv("AWS_ACCESS_KEY_ID", otherKey)
	second := open(t, ecr.Options{})
	for _, id := range []string{account, other} {
		server.Separate(t, id, "")
		create(t, server, "app", ecrlocal.RepositoryOptions{Account: id})
	}
	findings, err := ecr.Finders{
		ecr.NewFinder(session, registries, ecr.FinderOptions{Keys: defaultKeys}), ecr.NewFinder(second, registries, ecr.FinderOptions{Keys: defaultKeys}),
	}.Find(t.Context())
	if err != nil || len(findings) != 2 {
		t.Fatalf("%q, %v", described(findings), err)
	}
	for _, f := range findings {
		show(t, registries, f.Mirror.Target.Host)
	}
	for _, e := range server.Journal() {
		if want := "arn:aws:iam::" + e.Account + ":user/ecrlocal"; e.Principal != want {
			t.Errorf("%s of %s was asked for by %s", e.Op, e.Account, e.Principal)
		}
	}
}

func TestLearningThroughSeveralSessions(t *testing.T) {
	named, own := ecr.Location{Account: other, Region: "us-east-1"}, ecr.Location{Region: "us-east-1"}
	server := ecrlocaltest.Start(t)
	session, registries := connect(t, server.URL, ecr.Options{})
	first, second := session.As(ecr.Role{ARN: role}, ""), session.As(ecr.Role{ARN: role + "-2"}, "")

	// What the first has found is not the second's under any name.
	registries.Learn("127.0.0.1:1", named, first)
	registries.Learn("127.0.0.1:2", named, second)
	registries.Learn("127.0.0.1:1", named, second)
	password(t, registries, "127.0.0.1:1")
	password(t, registries, "127.0.0.1:2")
	wantTokensOf(t, server, "us-east-1 assumed-role/sync")

	// Where nobody says whose account it is, two sessions' are not the same.
	registries.Learn("127.0.0.1:3", own, first)
	registries.Learn("127.0.0.1:3", own, second)
	if cred, err := registries.Credential(t.Context(), "127.0.0.1:3"); !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("Credential = %v, %v", cred, err)
	}
}

// wantTokensOf insists on who has asked for passwords, and where.
func wantTokensOf(t *testing.T, server *ecrlocaltest.Running, want ...string) {
	t.Helper()
	var got []string
	for _, e := range server.Journal() {
		if e.Op == getToken {
			_, name, _ := strings.Cut(strings.TrimSuffix(e.Principal, "/ecr-mirror-sync"), "::")
			_, name, _ = strings.Cut(name, ":")
			got = append(got, e.Region+" "+name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("passwords (-want +got):\n%s", diff)
	}
}

// A password that is refused says nothing about another session's.
func TestRefusedPasswordIsOneSessions(t *testing.T) {
	server := ecrlocaltest.Start(t)
	session, registries := connect(t, server.URL, ecr.Options{})
	theirs := other + ".dkr.ecr.us-east-1.amazonaws.com"
	registries.Learn(theirs, ecr.Location{Account: other, Region: "us-east-1"}, session.As(ecr.Role{ARN: role}, ""))
	own, refused := password(t, registries, hostIn("us-east-1")), password(t, registries, theirs)
	if own == refused {
		t.Fatal("two sessions share a password")
	}
	registries.Refused(hostIn("us-east-1"), refused)
	registries.Refused(theirs, own)
	wantRequests(t, server, getToken, 2)
	registries.Refused(theirs, refused)
	if password(t, registries, hostIn("us-east-1")) != own {
		t.Error("the other password was dropped")
	}
	password(t, registries, theirs)
	wantTokensOf(t, server, "us-east-1 user/ecrlocal", "us-east-1 assumed-role/sync", "us-east-1 assumed-role/sync")
}

// One repository is found once with the same keys, and once more with others: then its two
// rules are to be told of.
func TestOverlappingFinders(t *testing.T) {
	server := ecrlocaltest.Start(t)
	create(t, server, "ext/nginx", ecrlocal.RepositoryOptions{Tags: map[string]string{
		"upstream-image": "nginx", "upstream-tags": "1", "acme-image": "redis", "acme-tags": "7",
	}})
	create(t, server, "app", ecrlocal.RepositoryOptions{})
	session, registries := connect(t, server.URL, ecr.Options{})
	var finders ecr.Finders
	for _, opts := range []ecr.FinderOptions{
		{Keys: defaultKeys, Prefixes: []string{"ext"}},
		{Keys: discover.NewKeys("acme-image", "acme-tags")},
		{Keys: defaultKeys},
	} {
		finders = append(finders, ecr.NewFinder(session, registries, opts))
	}
	findings, err := finders.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range findings {
		got = append(got, f.Mirror.Target.Path+" from "+f.Mirror.Upstream.Path)
	}
	if diff := cmp.Diff([]string{"ext/nginx from library/nginx", "ext/nginx from library/redis", "app from library/nginx"}, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

// A role that may not be assumed fails its own part, and the row says which that is.
func TestOneRoleIsDenied(t *testing.T) {
	server := startAccounts(t)
	create(t, server, "app", ecrlocal.RepositoryOptions{})
	session, registries := connect(t, server.URL, ecr.Options{})
	stranger := session.As(ecr.Role{ARN: thirdRole, ExternalID: "tenant-8"}, "")
	denied := ecr.NewFinder(stranger, registries, ecr.FinderOptions{Keys: defaultKeys, Regions: []string{"us-east-1", "eu-west-1"}})
	again := ecr.NewFinder(stranger, registries, ecr.FinderOptions{Keys: defaultKeys, Prefixes: []string{"ext"}, Regions: []string{"eu-west-1"}})
	findings, err := ecr.Finders{denied, again, ecr.NewFinder(session, registries, ecr.FinderOptions{Keys: defaultKeys})}.Find(t.Context())
	if err != nil || len(findings) != 3 || findings[2].Mirror.Target.Path != "app" {
		t.Fatalf("%q, %v", described(findings), err)
	}
	for i, region := range []string{"eu-west-1", "us-east-1"} {
		f := findings[i]
		place := "ECR of account " + third + " in " + region
		if f.Mirror.Origin.Place != place || f.Mirror.Origin.Region != region || f.Err == nil ||
			!strings.HasPrefix(f.Err.Error(), place+": no AWS credentials: assuming role "+thirdRole+": AccessDenied: ") {
			t.Errorf("%s: %v", f.Mirror.Origin.Place, f.Err)
		}
	}

	// Where nothing else is searched it is no matter of Regions.
	_, err = denied.Find(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "no AWS credentials: assuming role "+thirdRole) {
		t.Errorf("alone: %v", err)
	}
	server.FailNext("GetResources", 1, refusal("UnrecognizedClientException", "invalid"))
	_, err = ecr.Finders{denied, ecr.NewFinder(session, registries, ecr.FinderOptions{Keys: defaultKeys})}.Find(t.Context())
	if !errors.Is(err, registry.ErrDenied) || !strings.HasPrefix(err.Error(), "discovering repositories: ") ||
		!strings.Contains(err.Error(), thirdRole) || !strings.Contains(err.Error(), "UnrecognizedClientException") {
		t.Errorf("with another that fails: %v", err)
	}
}

func TestNoFinders(t *testing.T) {
	if findings, err := (ecr.Finders{}).Find(t.Context()); err != nil || len(findings) != 0 {
		t.Errorf("%v, %v", findings, err)
	}
}

// Scopes that mean the same share one session, its credentials and its passwords.
func TestAsIsTheSameSession(t *testing.T) {
	server := startAccounts(t)
	session, _ := connect(t, server.URL, ecr.Options{})
	if session.As(ecr.Role{}, "") != session {
		t.Error("the session's own part of ECR has another session")
	}
	one := session.As(ecr.Role{ARN: role}, other)
	if again := session.As(ecr.Role{ARN: role}, other); again != one {
		t.Error("asked again it is another session")
	}
	seen := map[*ecr.Session]bool{session: true, one: true}
	for _, different := range []*ecr.Session{
		session.As(ecr.Role{ARN: role}, ""), session.As(ecr.Role{}, other), session.As(ecr.Role{ARN: thirdRole}, other),
		session.As(ecr.Role{ARN: role, ExternalID: "x"}, other), session.As(ecr.Role{ARN: role, SessionName: "x"}, other),
	} {
		if seen[different] {
			t.Error("sessions that differ are one")
		}
		seen[different] = true
	}
}

// A role takes the place of another: it is assumed with the credentials that the first was
// assumed with.
func TestAsReplacesTheRole(t *testing.T) {
	server := startAccounts(t)
	create(t, server, "app", ecrlocal.RepositoryOptions{Account: third})
	create(t, server, "own", ecrlocal.RepositoryOptions{})
	session, registries := connect(t, server.URL, ecr.Options{Role: ecr.Role{ARN: role}})
	second, none := session.As(ecr.Role{ARN: thirdRole, ExternalID: "tenant-7"}, ""), session.As(ecr.Role{}, "")
	findings, err := ecr.Finders{
		ecr.NewFinder(second, registries, ecr.FinderOptions{Keys: defaultKeys}), ecr.NewFinder(none, registries, ecr.FinderOptions{Keys: defaultKeys}),
	}.Find(t.Context())
	if diff := cmp.Diff([]string{"app", "own"}, described(findings)); diff != "" || err != nil {
		t.Errorf("error %v, found (-want +got):\n%s", err, diff)
	}
	var by []string
	for _, e := range server.Journal() {
		if e.Op == "AssumeRole" {
			by = append(by, e.Principal+" "+e.Reference)
		}
	}
	if diff := cmp.Diff([]string{principals[account] + " " + thirdRole}, by); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}

// A registry that is searched is spoken to through who searches it, also before anything
// was found there: a file may name it as a destination.
func TestSearchedRegistriesAreClaimed(t *testing.T) {
	server := ecrlocaltest.Start(t)
	session, registries := connect(t, server.URL, ecr.Options{})
	elsewhere := ecr.FinderOptions{Keys: defaultKeys, Regions: []string{"eu-west-1"}}
	ecr.NewFinder(session.As(ecr.Role{ARN: role}, ""), registries, elsewhere)
	ecr.NewFinder(session.As(ecr.Role{ARN: role + "-2"}, ""), registries, elsewhere)
	ecr.NewFinder(session.As(ecr.Role{ARN: role}, third), registries, elsewhere)
	password(t, registries, other+".dkr.ecr.eu-west-1.amazonaws.com")
	password(t, registries, other+".dkr.ecr.us-east-1.amazonaws.com")
	password(t, registries, third+".dkr.ecr.eu-west-1.amazonaws.com")
	wantTokensOf(t, server, "eu-west-1 assumed-role/sync", "us-east-1 user/ecrlocal", "eu-west-1 assumed-role/sync")
}

// A role was asked for at the STS of the configured Region, which may be the default and in
// another partition.
func TestRoleOfAnotherPartition(t *testing.T) {
	for _, test := range []struct{ role, configured, want string }{
		{"arn:aws:iam::111122223333:role/r", "", "us-east-1"},
		{"arn:aws:iam::111122223333:role/r", "ap-southeast-7", "ap-southeast-7"},
		{"arn:aws:iam::111122223333:role/r", "cn-north-1", "us-east-1"},
		{"arn:aws-cn:iam::111122223333:role/r", "", "cn-north-1"},
		{"arn:aws-cn:iam::111122223333:role/r", "cn-northwest-1", "cn-northwest-1"},
		{"arn:aws-us-gov:iam::111122223333:role/r", "us-east-1", "us-gov-west-1"},
		{"arn:aws-us-gov:iam::111122223333:role/r", "us-gov-east-1", "us-gov-east-1"},
		{"arn:aws-eusc:iam::111122223333:role/r", "eu-central-1", "eusc-de-east-1"},
		{"arn:aws-iso:iam::111122223333:role/r", "us-isob-east-1", "us-iso-east-1"},
		{"arn:aws-iso-b:iam::111122223333:role/r", "us-iso-east-1", "us-isob-east-1"},
		{"arn:aws-iso-e:iam::111122223333:role/r", "", "eu-isoe-west-1"},
		{"arn:aws-iso-f:iam::111122223333:role/r", "", "us-isof-south-1"},
		{"arn:aws-moon:iam::111122223333:role/r", "eu-west-1", "eu-west-1"},
		{"role/r", "eu-west-1", "eu-west-1"}, // STS says what is wrong with it
	} {
		server := ecrlocaltest.Start(t)
		keys(t, server.URL)
		t.Setenv("AWS_REGION", test.configured)
		_, _ = ecr.NewRegistries(open(t, ecr.Options{Role: ecr.Role{ARN: test.role}}), nil).Host(t.Context(), "eu-west-1")
		var asked []string
		for _, e := range server.Journal() {
			if e.Op == "AssumeRole" {
				asked = append(asked, e.Region)
			}
		}
		if diff := cmp.Diff([]string{test.want}, asked); diff != "" {
			t.Errorf("%s with %q configured: asked in (-want +got):\n%s", test.role, test.configured, diff)
		}
	}
}
