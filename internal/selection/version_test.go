package selection_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

func TestParseVersion(t *testing.T) {
	for _, test := range []struct {
		tag, sameAs  string // the plain spelling of the same version
		pre, variant string
	}{
		// lenient numbers
		{"1", "1.0.0", "", ""},
		{"1.2", "1.2.0", "", ""},
		{"1.2.3", "1.2.3", "", ""},
		{"v1.2.3", "1.2.3", "", ""},
		{"01.2.3", "1.2.3", "", ""},
		{"4.0.8.1874", "4.0.8.1874", "", ""},
		{"24.04", "24.4", "", ""},
		{"2024.8.1", "2024.8.1", "", ""},
		{"9999", "9999", "", ""},

		// variants, among them replicant's
		{"6-alpine", "6", "", "alpine"},
		{"6.2-alpine", "6.2", "", "alpine"},
		{"1.31.0-musl", "1.31.0", "", "musl"},
		{"1.27.3-alpine3.20-slim", "1.27.3", "", "alpine3.20-slim"},
		{"3.12.1-slim-bookworm", "3.12.1", "", "slim-bookworm"},
		{"v1.30.3-k3s1", "1.30.3", "", "k3s1"},
		{"1.2.3-windowsservercore-ltsc2022", "1.2.3", "", "windowsservercore-ltsc2022"},
		{"1.2.3_amd64", "1.2.3", "", "amd64"},
		{"1.2.3-4-gabcdef0", "1.2.3-4", "", "gabcdef0"},

		// pre-releases in every spelling
		{"1.0.0-rc.1", "1.0.0-rc.1", "rc.1", ""},
		{"1.0.0-rc1", "1.0.0-rc.1", "rc.1", ""},
		{"1.0.0-RC1", "1.0.0-rc.1", "rc.1", ""},
		{"1.0.0-rc-1", "1.0.0-rc.1", "rc.1", ""},
		{"1.0.0-rc01", "1.0.0-rc.1", "rc.1", ""},
		{"1.0.0-beta2", "1.0.0-beta.2", "beta.2", ""},
		{"1.0.0-alpha.3", "1.0.0-alpha.3", "alpha.3", ""},
		{"1.0.0-a3", "1.0.0-alpha.3", "alpha.3", ""},
		{"1.0.0-dev", "1.0.0-dev", "dev", ""},
		{"1.0.0-pre", "1.0.0-pre", "pre", ""},
		{"1.0.0-SNAPSHOT", "1.0.0-snapshot", "snapshot", ""},
		{"8.0-M02", "8.0-m2", "milestone.2", ""},
		{"17beta3", "17-beta.3", "beta.3", ""},
		{"3.13.0rc2", "3.13.0-rc.2", "rc.2", ""},
		{"3.14.0a1", "3.14.0-alpha.1", "alpha.1", ""},
		{"3.0.0.RC1", "3.0.0-rc.1", "rc.1", ""},
		{"26.1.3.Final", "26.1.3", "", ""},
		{"2024.9.0.dev202408280223", "2024.9.0-dev.202408280223", "dev.202408280223", ""},
		{"11.3.0-77531", "11.3.0-77531", "77531", ""},
		{"v0.0.0-20240101120000-abcdef123456", "0.0.0-20240101120000", "20240101120000", "abcdef123456"},

		// both
		{"1.2.3-rc.1-alpine", "1.2.3-rc.1", "rc.1", "alpine"},
		{"3.13.0rc2-slim-bookworm", "3.13.0-rc.2", "rc.2", "slim-bookworm"},
		{"24-ea-10-jdk", "24-ea.10", "ea.10", "jdk"},
		{"1.2.3-alpine-rc.1", "1.2.3-rc.1", "rc.1", "alpine"},
		{"1.0.0-rc.1-2", "1.0.0-rc.1", "rc.1", "2"},
		{"1.0.0-rc.1-dev", "1.0.0-rc.1", "rc.1", "dev"},
		{"v1.31.0-rc3-k3s1", "1.31.0-rc.3", "rc.3", "k3s1"},

		// revisions
		{"1.2.3-1", "1.2.3-1", "", ""},
		{"8.0.36-28.1-multi", "8.0.36-28.1", "", "multi"},
		{"21.0.4_7-jdk-alpine", "21.0.4_7", "", "jdk-alpine"},
		{"8u422-b05-jre", "8.0.422_05", "", "jre"},
		{"11.2.1-security-01-ubuntu", "11.2.1-1", "", "ubuntu"},
		{"16.4.0-debian-12-r10", "16.4.0-10", "", "debian-12"},
		{"1.2.3-r2-amd64", "1.2.3", "", "r2-amd64"},
		{"1.2.3-hotfix-alpine", "1.2.3-1", "", "alpine"},
		{"16.4.0-debian-12", "16.4.0", "", "debian-12"},
	} {
		v, ok := selection.ParseVersion(test.tag)
		if !ok {
			t.Errorf("%s is not a version", test.tag)
			continue
		}
		same, ok := selection.ParseVersion(test.sameAs)
		if !ok || v.Compare(same) != 0 {
			t.Errorf("%s is not the same version as %s", test.tag, test.sameAs)
		}
		if v.Prerelease() != test.pre || v.Variant != test.variant {
			t.Errorf("%s: pre-release %q, variant %q; want %q, %q", test.tag, v.Prerelease(), v.Variant, test.pre, test.variant)
		}
	}
}

func TestNoVersions(t *testing.T) {
	for _, tag := range []string{
		"", "latest", "v", "alpine", "mainline", "v1.x", "1.x", "release-1.2.3", "V1.2.3",
		"20240807", "v20230101-abcdef", "10000", "2024-08-07", "2024-08", "2024-08-07-nightly",
		"1.2.3.4.5", "1.2.3alpine", "8u", "8upgrade", "8u99999999999999999999", "1.2.3_-x", "1.2.", "1.2.3-", "1.2.3--rc1", "1..2", ".1",
		"1234567", "1234a56", "12ea456", "7e3a1b2", "1.2.3.Foo", "1.2.3final",
		"9999999999999999999999.1", "noble-20240827.1", "sha256-0123456789abcdef.sig", "RELEASE.2024-08-17T01-24-54Z",
	} {
		if v, ok := selection.ParseVersion(tag); ok {
			t.Errorf("%q was read as the version %+v", tag, v)
		}
	}
}

// TestOrderOfVersions lists tags from the lowest to the highest.
func TestOrderOfVersions(t *testing.T) {
	ascending := []string{
		"0.1", "0.9.9", "1.0.0-20240101120000", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.2", "1.0.0-alpha10",
		"1.0.0-beta", "1.0.0-beta2", "1.0.0-beta.11", "1.0.0-rc1", "1.0.0-rc.2", "1.0.0-rc10", "1.0.0-SNAPSHOT",
		"1.0.0", "1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-28.1", "1.0.0.1", "1.0.1", "1.2", "1.10", "1.10.1", "2",
		"16.4.0-debian-12-r9", "16.4.0-debian-12-r10", "17beta1", "17beta2", "17rc1", "17", "17.0.11_9", "17.0.12_7",
		"2023.12.4", "2024.8.0b1", "2024.8.0",
	}
	got := slices.Clone(ascending)
	slices.Reverse(got)
	slices.SortStableFunc(got, compareTags)
	if diff := gocmp.Diff(ascending, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func compareTags(a, b string) int {
	v, _ := selection.ParseVersion(a)
	w, _ := selection.ParseVersion(b)
	return v.Compare(w)
}

// Sorting needs an order: antisymmetric and transitive.
func TestCompareIsAnOrder(t *testing.T) {
	tags := rapid.StringMatching(`v?[0-2](\.[0-2]){0,3}((-rc|beta|-a)[.]?[0-2]{0,2})?([-_][0-9]{1,5})?(-[a-z0-9]{1,3}){0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := tags.Draw(t, "a"), tags.Draw(t, "b"), tags.Draw(t, "c")
		if compareTags(a, b) != -compareTags(b, a) {
			t.Fatalf("%s and %s: %d and %d", a, b, compareTags(a, b), compareTags(b, a))
		}
		if compareTags(a, b) <= 0 && compareTags(b, c) <= 0 && compareTags(a, c) > 0 {
			t.Fatalf("%s <= %s <= %s, and yet %s > %s", a, b, c, a, c)
		}
	})
}

// FuzzVersion: no tag makes the reader panic, and comparing with itself and with the
// other way round agrees.
func FuzzVersion(f *testing.F) {
	for _, tag := range []string{"v1.2.3-rc.1-alpine", "17beta3", "8u422-b05-jdk", "21.0.4_7", "2024-08-07", "1.2.3-security-01", "1_", "1-", "1.0.0-rc--1"} {
		f.Add(tag, "1.2.3")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		v, ok := selection.ParseVersion(a)
		w, also := selection.ParseVersion(b)
		if !ok || !also {
			return
		}
		if v.Compare(v) != 0 || v.Compare(w) != -w.Compare(v) {
			t.Fatalf("%q and %q: %d and %d", a, b, v.Compare(w), w.Compare(v))
		}
		if strings.ContainsAny(v.Prerelease(), "-_ ") && !strings.ContainsAny(a, " ") {
			t.Fatalf("%q has the pre-release %q", a, v.Prerelease())
		}
		if cmp.Compare(v.Major(), w.Major())*v.Compare(w) < 0 {
			t.Fatalf("%q and %q are ordered against their majors", a, b)
		}
	})
}
