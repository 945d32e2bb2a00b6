// Package archtest holds the program to its map: which package may know which. The
// linter refuses direct imports; this looks at everything an import brings along.
package archtest_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ecr-mirror-sync/ecr-mirror-sync/"

// goList runs go list for packages of the module and returns its lines.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = "../.."
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, complaint.String())
	}
	return strings.Fields(string(out))
}

// closure is everything that a package imports, and what that imports.
func closure(t *testing.T, pkg string) []string {
	t.Helper()
	deps := goList(t, "-deps", module+pkg)
	if !slices.Contains(deps, module+pkg) || len(deps) < 2 {
		t.Fatalf("go list -deps of %s says %v", pkg, deps)
	}
	return slices.DeleteFunc(deps, func(d string) bool { return d == module+pkg })
}

// in reports whether dep is the package prefix or below it.
func in(dep, prefix string) bool { return dep == prefix || strings.HasPrefix(dep, prefix+"/") }

// Deciding does no I/O: nothing that decides can reach the network, AWS, or the copy
// engine, not even through somebody else. Package plan once knew the kinds of error from
// the package of the registries, and with them came the engine's types.
func TestDecidingReachesNothing(t *testing.T) {
	forbidden := []string{
		"net/http", "github.com/aws", "go.podman.io/image/v5/types", "go.podman.io/image/v5/manifest", "oras.land/oras-go/v2",
		module + "internal/registry", module + "internal/transport", module + "internal/copy", module + "internal/ecr", module + "internal/auth",
	}
	for _, pkg := range []string{"internal/failure", "internal/ref", "internal/provision", "internal/discover", "internal/selection", "internal/manifest", "internal/plan", "internal/prune", "internal/shard"} {
		for _, dep := range closure(t, pkg) {
			for _, f := range forbidden {
				if in(dep, f) {
					t.Errorf("%s reaches %s", pkg, dep)
				}
			}
		}
	}
}

// Each of these may know, of the module's own packages, only those named.
func TestDirectImports(t *testing.T) {
	tests := []struct {
		pkg string
		may []string
	}{
		{"failure", nil},
		{"ref", nil},
		{"nearest", nil},
		{"provision", nil},
		{"discover", []string{"ref", "nearest", "provision"}},
		{"selection", []string{"ref", "discover"}},
		{"manifest", []string{"ref", "failure"}},
		{"plan", []string{"ref", "failure", "discover", "selection", "provision"}},
		{"prune", []string{"ref", "discover", "plan"}},
		{"state", []string{"ref"}},
		{"shard", []string{"ref"}},
		{"retry", []string{"failure"}},
		{"registry", []string{"ref", "failure", "provision"}},
		{"copy", []string{"ref", "failure", "manifest", "plan", "provision", "registry", "retry"}},
		{"mirror", []string{"ref", "failure", "discover", "selection", "manifest", "plan", "prune", "provision", "state", "registry", "copy", "verify"}},
		{"verify", []string{"ref", "failure", "manifest", "plan", "registry"}},
		{"migrate", []string{"ref", "auth", "config", "discover", "selection"}},
		{"dockerhub", []string{"ref", "failure", "auth", "retry", "registry/egress", "registry/redact"}},
		{"listing", []string{"failure", "discover", "config", "registry"}},
		{"bucket", []string{"ref", "manifest", "registry", "registry/redact", "registry/stall", "sdkhttp"}},
		{"layout", []string{"ref", "registry"}},
		{"trust", []string{"ref", "failure", "layout", "manifest", "registry", "registry/library"}},
		{"notify", []string{"report", "report/human", "status", "registry/egress"}},
		{"tracing", []string{"copy", "discover", "plan", "report", "status", "registry/redact"}},
		{"metrics", []string{"report", "status", "registry/redact"}},
		{"auth", nil},
		{"auth/google", []string{"auth", "failure"}},
		{"auth/azure", []string{"auth", "failure"}},
		{"status", []string{"plan", "report", "report/human"}},
		{"daemon", []string{"config", "report", "status"}},
	}
	for _, test := range tests {
		for _, imported := range goList(t, "-f", `{{join .Imports "\n"}}`, module+"internal/"+test.pkg) {
			if own, ok := strings.CutPrefix(imported, module+"internal/"); ok && !slices.Contains(test.may, own) {
				t.Errorf("%s imports %s", test.pkg, own)
			}
		}
	}
}

// everyPackage lists the module's packages, without what only tests and the demo use.
func everyPackage(t *testing.T) []string {
	t.Helper()
	all := goList(t, "./cmd/ecr-mirror-sync/...", "./internal/...")
	kits := []string{
		module + "internal/ecrlocal", module + "internal/imagetest", module + "internal/testkit", module + "internal/demo",
		module + "internal/registry/registrytest", module + "internal/deps", module + "internal/archtest",
	}
	return slices.DeleteFunc(all, func(pkg string) bool {
		return slices.ContainsFunc(kits, func(kit string) bool { return in(pkg, kit) })
	})
}

// Knowledge flows one way: what is below never asks what is above.
func TestNothingBelowImportsTheTop(t *testing.T) {
	top := map[string][]string{
		module + "internal/cli":    {module + "cmd/ecr-mirror-sync"},
		module + "internal/mirror": {module + "internal/cli"},
		module + "internal/copy":   {module + "internal/mirror", module + "internal/tracing", module + "internal/cli"},
		module + "internal/verify": {module + "internal/mirror"},
	}
	for _, pkg := range everyPackage(t) {
		for _, imported := range goList(t, "-f", `{{join .Imports "\n"}}`, pkg) {
			if allowed, isTop := top[imported]; isTop && !slices.Contains(allowed, pkg) {
				t.Errorf("%s imports %s", pkg, imported)
			}
		}
	}
}

// Each cloud's SDK stays where that cloud is spoken: those packages translate its errors
// and its types.
func TestWhoKnowsTheSDKs(t *testing.T) {
	sdks := map[string][]string{
		"github.com/aws/aws-sdk-go-v2":         {"internal/ecr", "internal/bucket", "internal/s3store", "internal/sdkhttp"},
		"github.com/aws/smithy-go":             {"internal/ecr", "internal/bucket", "internal/s3store"},
		"github.com/Azure/azure-sdk-for-go":    {"internal/auth/azure"},
		"golang.org/x/oauth2":                  {"internal/auth/google"},
		"go.opentelemetry.io":                  {"internal/tracing"},
		"cloud.google.com/go/compute/metadata": {"internal/auth/google"},
	}
	knows := map[string]bool{}
	for _, pkg := range everyPackage(t) {
		for _, imported := range goList(t, "-f", `{{join .Imports "\n"}}`, pkg) {
			for sdk, may := range sdks {
				switch own := strings.TrimPrefix(pkg, module); {
				case !in(imported, sdk):
				case slices.Contains(may, own):
					knows[own] = true
				default:
					t.Errorf("%s imports %s", pkg, imported)
				}
			}
		}
	}
	for _, pkg := range []string{"internal/ecr", "internal/bucket", "internal/s3store", "internal/sdkhttp", "internal/auth/azure", "internal/auth/google", "internal/tracing"} {
		if !knows[pkg] {
			t.Errorf("%s imports no SDK: this test looks in the wrong place", pkg)
		}
	}
}

// Schedules name time zones, and neither the container image nor Windows has any.
func TestTimeZonesArePartOfTheProgram(t *testing.T) {
	if !slices.Contains(closure(t, "cmd/ecr-mirror-sync"), "time/tzdata") {
		t.Error("the program does not import time/tzdata")
	}
}
