// Package archtest holds the program to its map: which package may know which. The
// linter refuses direct imports; this looks at everything an import brings along.
package archtest_test

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ecr-mirror-sync/ecr-mirror-sync/"

// graph is what each package imports: the module's, and all that they bring along.
type graph map[string][]string

// load asks the go command, once for all packages: asked for each of them it took longer
// than all else here.
func load(t *testing.T) graph {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./cmd/ecr-mirror-sync/...", "./internal/...")
	cmd.Dir = "../.."
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, complaint.String())
	}
	g := graph{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		g[words[0]] = words[1:]
	}
	return g
}

// imports is what a package of the module imports itself.
func (g graph) imports(t *testing.T, pkg string) []string {
	t.Helper()
	imported, ok := g[module+pkg]
	if !ok {
		t.Fatalf("there is no package %s", pkg)
	}
	return imported
}

// closure is everything that a package of the module imports, and what that imports.
func (g graph) closure(t *testing.T, pkg string) []string {
	t.Helper()
	seen := map[string]bool{}
	next := g.imports(t, pkg)
	for len(next) > 0 {
		dep := next[0]
		next = next[1:]
		if seen[dep] {
			continue
		}
		seen[dep] = true
		imported, ok := g[dep]
		if !ok && dep != "C" {
			t.Fatalf("go list does not say what %s imports", dep)
		}
		next = append(slices.Clip(next), imported...)
	}
	return slices.Sorted(maps.Keys(seen))
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
	g := load(t)
	for _, pkg := range []string{"internal/failure", "internal/ref", "internal/provision", "internal/discover", "internal/selection", "internal/manifest", "internal/plan", "internal/prune", "internal/shard"} {
		for _, dep := range g.closure(t, pkg) {
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
	g := load(t)
	for _, test := range tests {
		for _, imported := range g.imports(t, "internal/"+test.pkg) {
			if own, ok := strings.CutPrefix(imported, module+"internal/"); ok && !slices.Contains(test.may, own) {
				t.Errorf("%s imports %s", test.pkg, own)
			}
		}
	}
}

// program is the module's packages, without what only tests and the demo use.
func (g graph) program() []string {
	kits := []string{
		module + "internal/ecrlocal", module + "internal/imagetest", module + "internal/testkit", module + "internal/demo",
		module + "internal/registry/registrytest", module + "internal/deps", module + "internal/archtest",
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(g)), func(pkg string) bool {
		return !strings.HasPrefix(pkg, module) || slices.ContainsFunc(kits, func(kit string) bool { return in(pkg, kit) })
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
	g := load(t)
	for _, pkg := range g.program() {
		for _, imported := range g[pkg] {
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
	g := load(t)
	for _, pkg := range g.program() {
		for _, imported := range g[pkg] {
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
	if !slices.Contains(load(t).closure(t, "cmd/ecr-mirror-sync"), "time/tzdata") {
		t.Error("the program does not import time/tzdata")
	}
}
