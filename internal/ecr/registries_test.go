package ecr_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

const getToken = "GetAuthorizationToken"

// passwords starts an ECR and registries that share a clock.
func passwords(t *testing.T, opts ecr.Options) (*ecrlocaltest.Running, *ecr.Registries, *ecrlocaltest.Clock) {
	t.Helper()
	c := ecrlocaltest.NewClock()
	server := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c))
	keys(t, server.URL)
	return server, ecr.NewRegistries(open(t, opts), c.Now), c
}

// password asks for the password of a host and wants one.
func password(t *testing.T, r *ecr.Registries, host string) auth.Credential {
	t.Helper()
	cred, err := r.Credential(t.Context(), host)
	if err != nil {
		t.Fatalf("Credential(%s): %v", host, err)
	}
	if cred.Username != "AWS" || cred.Password == "" || !cred.Unasked {
		t.Fatalf("Credential(%s) = %s with a password of %d characters, unasked: %t", host, cred.Username, len(cred.Password), cred.Unasked)
	}
	return cred
}

// held is a fault that keeps requests waiting until release is called, and tells when
// the first has come.
func held(server *ecrlocaltest.Running, op string) (arrived <-chan struct{}, release func()) {
	first, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	server.FailNext(op, 1000, ecrlocal.Fault{Hold: gate, Match: func(ecrlocal.Entry) bool {
		once.Do(func() { close(first) })
		return true
	}})
	return first, sync.OnceFunc(func() { close(gate) })
}

func TestPasswordIsFetchedOnceForAllWhoAsk(t *testing.T) {
	server, registries, _ := passwords(t, ecr.Options{})
	arrived, release := held(server, getToken)
	defer release()
	const askers = 100
	creds, errs := make([]auth.Credential, askers), make([]error, askers)
	var started, done sync.WaitGroup
	for i := range askers {
		started.Add(1)
		done.Go(func() {
			started.Done()
			creds[i], errs[i] = registries.Credential(t.Context(), hostIn("us-east-1"))
		})
	}
	started.Wait()
	<-arrived
	release()
	done.Wait()
	for i := range askers {
		if errs[i] != nil || creds[i] != creds[0] || creds[i].Anonymous() {
			t.Fatalf("asker %d got %v and error %v", i, creds[i], errs[i])
		}
	}
	wantRequests(t, server, getToken, 1)
}

func TestPasswordThatArrivedMeanwhileServes(t *testing.T) {
	server, registries, _ := passwords(t, ecr.Options{})
	password(t, registries, hostIn("us-east-1"))
	if err := registries.RenewLate(t.Context(), "us-east-1"); err != nil {
		t.Fatal(err)
	}
	wantRequests(t, server, getToken, 1)
}

// A caller that waited for another's fetch did not notice that its own context had
// ended, as long as the fetch took.
func TestPasswordWaiterMayLeave(t *testing.T) {
	server, registries, _ := passwords(t, ecr.Options{})
	arrived, release := held(server, getToken)
	defer release()
	first := make(chan error, 1)
	go func() {
		_, err := registries.Credential(t.Context(), hostIn("us-east-1"))
		first <- err
	}()
	<-arrived
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	waiter := make(chan error, 1)
	go func() {
		_, err := registries.Credential(ctx, hostIn("us-east-1"))
		waiter <- err
	}()
	cancel(interrupted)
	if err := <-waiter; !errors.Is(err, interrupted) { // while the fetch is still held
		t.Errorf("the waiter got %v", err)
	}
	release()
	if err := <-first; err != nil {
		t.Errorf("the other got %v", err)
	}
	wantRequests(t, server, getToken, 1)
}

// The fetch is everybody's: it outlives the caller that happened to be the first.
func TestPasswordFetchOutlivesItsCaller(t *testing.T) {
	server, registries, _ := passwords(t, ecr.Options{})
	arrived, release := held(server, getToken)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := registries.Credential(ctx, hostIn("us-east-1"))
		first <- err
	}()
	<-arrived
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first caller got %v", err)
	}
	release()
	password(t, registries, hostIn("us-east-1"))
	wantRequests(t, server, getToken, 1)
}

func TestPasswordForACallerThatIsGone(t *testing.T) {
	_, registries, _ := passwords(t, ecr.Options{})
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(interrupted)
	if cred, err := registries.Credential(ctx, hostIn("us-east-1")); !errors.Is(err, interrupted) || !cred.Anonymous() {
		t.Errorf("Credential = %v, %v", cred, err)
	}
}

func TestPasswordIsRenewedAtHalfItsLife(t *testing.T) {
	faults.Covers(t, "F59")
	server, registries, clock := passwords(t, ecr.Options{})
	first := password(t, registries, hostIn("us-east-1"))
	clock.Advance(6*time.Hour - time.Second)
	if again := password(t, registries, hostIn("us-east-1")); again != first {
		t.Error("a password in the first half of its life was replaced")
	}
	wantRequests(t, server, getToken, 1)
	clock.Advance(time.Second)
	if renewed := password(t, registries, hostIn("us-east-1")); renewed == first {
		t.Error("a password in the second half of its life was not replaced")
	}
	wantRequests(t, server, getToken, 2)
}

// Once a renewal had failed, every request to the registry began with another attempt
// and another warning.
func TestPasswordThatCannotBeRenewed(t *testing.T) {
	faults.Covers(t, "F59")
	log, logs := observed()
	server, registries, clock := passwords(t, ecr.Options{Log: log})
	first := password(t, registries, hostIn("us-east-1"))
	clock.Advance(7 * time.Hour)
	server.FailNext(getToken, 1, refusal("AccessDeniedException", "no"))
	for range 10 {
		if old := password(t, registries, hostIn("us-east-1")); old != first {
			t.Fatal("not the old password")
		}
	}
	wantRequests(t, server, getToken, 2)
	if got, want := warnings(logs), []string{"the ECR password could not be renewed; the old one is still good"}; !cmp.Equal(got, want) {
		t.Errorf("warnings %q, want %q", got, want)
	}
	clock.Advance(ecr.RenewalPause)
	if renewed := password(t, registries, hostIn("us-east-1")); renewed == first {
		t.Error("the password was not renewed when that was possible again")
	}
	wantRequests(t, server, getToken, 3)
}

func TestPasswordExpiresAndCannotBeRenewed(t *testing.T) {
	server, registries, clock := passwords(t, ecr.Options{})
	password(t, registries, hostIn("us-east-1"))
	clock.Advance(12 * time.Hour)
	server.FailNext(getToken, 1, refusal("AccessDeniedException", "no"))
	cred, err := registries.Credential(t.Context(), hostIn("us-east-1"))
	if !errors.Is(err, registry.ErrDenied) || !cred.Anonymous() {
		t.Errorf("Credential = %v, %v", cred, err)
	}
	if want := "ecr:GetAuthorizationToken: AccessDeniedException: no"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	password(t, registries, hostIn("us-east-1")) // the failure is not remembered
}

func TestRefusedPasswordIsReplacedOnce(t *testing.T) {
	faults.Covers(t, "F59")
	server, registries, clock := passwords(t, ecr.Options{})
	stale := password(t, registries, hostIn("us-east-1"))
	clock.Advance(time.Second) // so that the next differs
	creds := make([]auth.Credential, 50)
	var done sync.WaitGroup
	for i := range creds {
		done.Go(func() {
			registries.Refused(hostIn("us-east-1"), stale)
			creds[i], _ = registries.Credential(t.Context(), hostIn("us-east-1"))
		})
	}
	done.Wait()
	for i, cred := range creds {
		if cred == stale || cred != creds[0] || cred.Anonymous() {
			t.Fatalf("asker %d got %v, the first %v", i, cred, creds[0])
		}
	}
	wantRequests(t, server, getToken, 2)
}

func TestRefusedPasswordOfAnotherTimeIsNotDropped(t *testing.T) {
	server, registries, _ := passwords(t, ecr.Options{})
	current := password(t, registries, hostIn("us-east-1"))
	registries.Refused(hostIn("us-east-1"), auth.Credential{Username: "AWS", Password: "older"})
	registries.Refused(hostIn("eu-west-1"), current)
	registries.Refused("docker.io", current)
	if again := password(t, registries, hostIn("us-east-1")); again != current {
		t.Error("the password was replaced")
	}
	wantRequests(t, server, getToken, 1)
}

func TestPasswordsAreTheRegions(t *testing.T) {
	server, registries, _ := passwords(t, ecr.Options{})
	east := password(t, registries, hostIn("us-east-1"))
	west := password(t, registries, hostIn("eu-west-1"))
	if east == west {
		t.Error("two Regions share a password")
	}
	// One password opens the registries of all accounts in the Region, under all names.
	for _, host := range []string{other + ".dkr.ecr.us-east-1.amazonaws.com", account + ".dkr-ecr.us-east-1.on.aws", hostIn("us-east-1") + ":443"} {
		if got := password(t, registries, host); got != east {
			t.Errorf("%s has another password", host)
		}
	}
	var regions []string
	for _, e := range server.Journal() {
		regions = append(regions, e.Op+" "+e.Region)
	}
	if diff := cmp.Diff([]string{getToken + " us-east-1", getToken + " eu-west-1"}, regions); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestOtherHostsGetNothing(t *testing.T) {
	server, registries, _ := passwords(t, ecr.Options{})
	for _, host := range []string{"docker.io", "", hostIn("us-east-1") + ".evil.example", server.Host} {
		if cred, err := registries.Credential(t.Context(), host); err != nil || !cred.Anonymous() {
			t.Errorf("Credential(%q) = %v, %v", host, cred, err)
		}
	}
	wantRequests(t, server, getToken, 0)
}

// tokenAnswer makes an API that answers GetAuthorizationToken with data alone.
func tokenAnswer(t *testing.T, data ...object) *ecr.Registries {
	t.Helper()
	_, registries := connect(t, scripted(t, nil, func(w http.ResponseWriter, _ request) bool {
		say(w, object{"authorizationData": data})
		return true
	}), ecr.Options{})
	return registries
}

func TestOddTokens(t *testing.T) {
	const good, noColon, noPassword = "QVdTOnNlY3JldA==", "QVdTc2VjcmV0", "QVdTOg=="
	later := time.Now().Add(time.Hour).Unix()
	for _, test := range []struct {
		name string
		data []object
		want string
	}{
		{"no token at all", nil, "the answer holds no token"},
		{"no base64", []object{{"authorizationToken": "%secret%", "expiresAt": later}}, "the token is not base64"},
		{"no colon", []object{{"authorizationToken": noColon, "expiresAt": later}}, "the token is not user:password"},
		{"no password", []object{{"authorizationToken": noPassword, "expiresAt": later}}, "the token is not user:password"},
		{"no field", []object{{"expiresAt": later}}, "the token is not user:password"},
		{"endpoint no URL", []object{{"authorizationToken": good, "expiresAt": later, "proxyEndpoint": "://"}}, "registry endpoint: "},
	} {
		_, err := tokenAnswer(t, test.data...).Credential(t.Context(), hostIn("us-east-1"))
		if err == nil || !strings.HasPrefix(err.Error(), "ecr:GetAuthorizationToken: "+test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
}

// A password that was fetched seemed to have expired already to a clock that is fast by
// more than its life, and where ECR does not say when it ends. It was fetched again for
// every request.
func TestPasswordThatSeemsExpired(t *testing.T) {
	const good = "QVdTOnNlY3JldA=="
	for name, data := range map[string]object{
		"fast clock": {"authorizationToken": good, "expiresAt": ecrlocaltest.NewClock().Now().Add(-time.Hour).Unix()},
		"no end":     {"authorizationToken": good},
	} {
		play, calls := counting(getToken, 1000, func(w http.ResponseWriter) { say(w, object{"authorizationData": []object{data}}) })
		keys(t, scripted(t, nil, play))
		registries := ecr.NewRegistries(open(t, ecr.Options{}), ecrlocaltest.NewClock().Now)
		for range 3 {
			password(t, registries, hostIn("us-east-1"))
		}
		if calls() != 1 {
			t.Errorf("%s: fetched %d times", name, calls())
		}
	}
}

func TestHostLearnsTheEmulator(t *testing.T) {
	for _, test := range []struct {
		name string
		opts ecr.Options
		want ecr.Location
	}{
		{"the caller's account", ecr.Options{}, ecr.Location{Account: account, Region: "eu-west-1"}},
		{"another account", ecr.Options{RegistryID: other}, ecr.Location{Account: other, Region: "eu-west-1"}},
	} {
		server, registries, _ := passwords(t, test.opts)
		if at, known := registries.Locate(server.Host); known {
			t.Errorf("%s: the host is known beforehand, as %s", test.name, at)
		}
		host, err := registries.Host(t.Context(), "eu-west-1")
		if err != nil || host != server.Host {
			t.Fatalf("%s: Host = %q, %v, want %q", test.name, host, err, server.Host)
		}
		if at, known := registries.Locate(host); !known || at != test.want {
			t.Errorf("%s: Locate = %v, %t, want %v", test.name, at, known, test.want)
		}
		password(t, registries, host)
		wantRequests(t, server, getToken, 1)
	}
}

// Where only ECR is emulated, STS cannot say whose the registry is. The calls then mean
// the caller's own.
func TestHostWithoutSTS(t *testing.T) {
	server, registries, _ := passwords(t, ecr.Options{})
	server.FailNext("GetCallerIdentity", 1, ecrlocal.Fault{Status: http.StatusNotFound, Code: "UnknownOperation"})
	host, err := registries.Host(t.Context(), region)
	if err != nil {
		t.Fatal(err)
	}
	if at, known := registries.Locate(host); !known || at != (ecr.Location{Region: region}) {
		t.Errorf("Locate = %v, %t", at, known)
	}
	create(t, server, "app", ecrlocal.RepositoryOptions{Mutability: "IMMUTABLE"})
	m, err := registries.Mutability(t.Context(), repositoryOn(server, "app"))
	if err != nil || !m.Immutable {
		t.Errorf("Mutability = %v, %v", m, err)
	}
}

// An emulator issues a password for one account, and has to be told for which.
func TestPasswordForAnotherAccount(t *testing.T) {
	for id, want := range map[string]string{"": "{}", other: `{"registryIds":["` + other + `"]}`} {
		var got string
		_, registries := connect(t, scripted(t, nil, func(w http.ResponseWriter, r request) bool {
			got = string(r.body)
			refuse(w, "AccessDeniedException", "no")
			return true
		}), ecr.Options{RegistryID: id})
		if _, err := registries.Credential(t.Context(), hostIn("us-east-1")); err == nil || got != want {
			t.Errorf("registry %q: asked %s with error %v, want %s", id, got, err, want)
		}
	}
}

func TestHostAtAWS(t *testing.T) {
	registries := tokenAnswer(t, object{"authorizationToken": "QVdTOnNlY3JldA==", "expiresAt": time.Now().Add(time.Hour).Unix(), "proxyEndpoint": "https://" + hostIn("us-east-1")})
	host, err := registries.Host(t.Context(), "us-east-1")
	if err != nil || host != hostIn("us-east-1") {
		t.Errorf("Host = %q, %v", host, err)
	}
}

// An answer without an endpoint was taken for a registry whose host is "".
func TestHostIsNotNamed(t *testing.T) {
	registries := tokenAnswer(t, object{"authorizationToken": "QVdTOnNlY3JldA==", "expiresAt": time.Now().Add(time.Hour).Unix()})
	if host, err := registries.Host(t.Context(), "us-east-1"); err == nil {
		t.Errorf("Host = %q", host)
	}
	password(t, registries, hostIn("us-east-1"))
}

func TestHostIsDenied(t *testing.T) {
	server, registries, _ := passwords(t, ecr.Options{})
	server.FailNext(getToken, 1, refusal("AccessDeniedException", "no"))
	if host, err := registries.Host(t.Context(), region); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("Host = %q, %v", host, err)
	}
}

// The Regions of an emulator share its one host. Whatever was learned last decided
// where everything went: what was meant for one Region was written to another.
func TestSharedHostIsNotGuessed(t *testing.T) {
	server := ecrlocaltest.Start(t)
	session, registries := connect(t, server.URL, ecr.Options{})
	registries.Learn(server.Host, ecr.Location{Account: account, Region: "us-east-1"}, session)
	registries.Learn(server.Host, ecr.Location{Account: account, Region: "eu-west-1"}, session)
	if _, private := registries.Locate(server.Host); !private {
		t.Error("the host is not known as ECR's")
	}
	repo := repositoryOn(server, "app")
	target := ecr.NewTarget(nil, registries)
	for name, ask := range map[string]func() error{
		"Credential":    func() error { _, err := registries.Credential(t.Context(), server.Host); return err },
		"Mutability":    func() error { _, err := registries.Mutability(t.Context(), repo); return err },
		"Snapshot":      func() error { _, err := target.Snapshot(t.Context(), repo, nil); return err },
		"ReadManifests": func() error { _, err := target.ReadManifests(t.Context(), repo, nil); return err },
		"Repositories":  func() error { _, err := collect(registries.Repositories(t.Context(), server.Host)); return err },
		"DeleteTag":     func() error { return target.DeleteTag(t.Context(), repo.Tagged("1")) },
	} {
		want := fmt.Sprintf("%s is the registry of account %s in us-east-1 and also of account %s in eu-west-1", server.Host, account, account)
		if err := ask(); err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, registry.ErrUnsupported) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
}

func TestLearningTheSameAgain(t *testing.T) {
	own, named := ecr.Location{Region: "us-east-1"}, ecr.Location{Account: account, Region: "us-east-1"}
	for name, learned := range map[string][]ecr.Location{
		"twice":            {named, named},
		"the account late": {own, named},
		"the account once": {named, own},
	} {
		session, registries := connect(t, ecrlocaltest.Start(t).URL, ecr.Options{})
		for _, at := range learned {
			registries.Learn("127.0.0.1:5100", at, session)
		}
		if at, _ := registries.Locate("127.0.0.1:5100"); at != named {
			t.Errorf("%s: Locate = %v", name, at)
		}
		password(t, registries, "127.0.0.1:5100")
	}
}

func TestMutability(t *testing.T) {
	server, registries, _ := passwords(t, ecr.Options{})
	if _, err := registries.Host(t.Context(), region); err != nil {
		t.Fatal(err)
	}
	for path, test := range mutabilities() {
		create(t, server, path, test.opts)
		got, err := registries.Mutability(t.Context(), repositoryOn(server, path))
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

// mutabilities are the four modes.
func mutabilities() map[string]struct {
	opts ecrlocal.RepositoryOptions
	want discover.Mutability
} {
	return map[string]struct {
		opts ecrlocal.RepositoryOptions
		want discover.Mutability
	}{
		"mutable":   {ecrlocal.RepositoryOptions{}, discover.Mutability{}},
		"immutable": {ecrlocal.RepositoryOptions{Mutability: "IMMUTABLE"}, discover.Mutability{Immutable: true}},
		"mutable-except": {
			ecrlocal.RepositoryOptions{Mutability: "MUTABLE_WITH_EXCLUSION", Exclusions: []string{"v*", "*-prod"}},
			discover.Mutability{Exceptions: []string{"v*", "*-prod"}},
		},
		"immutable-except": {
			ecrlocal.RepositoryOptions{Mutability: "IMMUTABLE_WITH_EXCLUSION", Exclusions: []string{"latest"}},
			discover.Mutability{Immutable: true, Exceptions: []string{"latest"}},
		},
	}
}

func TestMutabilityErrors(t *testing.T) {
	server, registries, _ := passwords(t, ecr.Options{})
	if _, err := registries.Host(t.Context(), region); err != nil {
		t.Fatal(err)
	}
	if _, err := registries.Mutability(t.Context(), repositoryOn(server, "missing")); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a missing repository: %v", err)
	}
	if _, err := registries.Mutability(t.Context(), ref.Repository{Host: "docker.io", Path: "library/nginx"}); !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("another registry: %v", err)
	}
	server.FailNext("DescribeRepositories", 1, refusal("AccessDeniedException", "no"))
	if _, err := registries.Mutability(t.Context(), repositoryOn(server, "missing")); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("denied: %v", err)
	}
	_, registries = connect(t, scripted(t, nil, tagged(nil, []object{{"repositoryName": "another", "imageTagMutability": "IMMUTABLE"}})), ecr.Options{})
	if m, err := registries.Mutability(t.Context(), repositoryAtAWS); err == nil {
		t.Errorf("an answer about another repository: %v", m)
	}
}
