package auth_test

import (
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
)

// asks returns who asks for a repository.
func asks(t *testing.T, p auth.Provider, host, path string) string {
	t.Helper()
	cred, err := auth.At(p, host, path).Credential(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	return cred.Username
}

func TestTheLongestPathHolds(t *testing.T) {
	as := func(name string) auth.Provider {
		return auth.Named{Provider: auth.Static{"quay.io": {Username: name}}, Source: name}
	}
	by := auth.Chain{auth.ByHost{
		Hosts: map[string]auth.Provider{
			"quay.io": as("host"), "quay.io/team": as("team"), "quay.io/team/app": as("app"),
			"quay.io/open": auth.Anonymous{}, "other.test/team": as("wrong host"),
		},
		Rest: as("rest"),
	}}
	for path, want := range map[string]string{
		"":                   "host",
		"tool":               "host",
		"team":               "team",
		"team/other":         "team",
		"team/app":           "app",
		"team/app/deep/down": "app",
		"team/application":   "team", // a path ends where a segment does
		"teams/app":          "host",
		"open/app":           "", // and anonymity holds, too
	} {
		if got := asks(t, by, "quay.io", path); got != want {
			t.Errorf("%q is asked for by %q, want %q", path, got, want)
		}
	}
	if got := asks(t, by, "another.test", "team/app"); got != "" {
		t.Errorf("another host got the credential of %s", got)
	}
}

func TestFilesKnowPaths(t *testing.T) {
	file, err := auth.OpenFile(write(t, `{"auths":{
		"quay.io":          {"auth":"`+entry("host:pw")+`"},
		"quay.io/team":     {"auth":"`+entry("team:pw")+`"},
		"quay.io/team/app": {"auth":"`+entry("app:pw")+`"}
	}}`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"": "host", "tool": "host", "team/other": "team", "team/app": "app", "team/application": "team"} {
		if got := asks(t, auth.Named{Provider: file, Source: "x"}, "quay.io", path); got != want {
			t.Errorf("%q is asked for by %q, want %q", path, got, want)
		}
	}
	origin, err := auth.Describe(t.Context(), auth.At(file, "quay.io", "team/app"), "quay.io")
	if err != nil || origin.Source == "" {
		t.Errorf("%+v, %v", origin, err)
	}
}

// What was refused is told to the provider that gave it.
func TestARefusalReachesThePathsProvider(t *testing.T) {
	host, team := &listening{}, &listening{}
	by := auth.ByHost{Hosts: map[string]auth.Provider{"quay.io": host, "quay.io/team": team}, Rest: auth.Anonymous{}}
	auth.At(by, "quay.io", "team/app").Refused("quay.io", auth.Credential{Username: "someone"})
	if len(host.heard) != 0 || len(team.heard) != 1 {
		t.Errorf("the host's heard %v, the path's %v", host.heard, team.heard)
	}
}
