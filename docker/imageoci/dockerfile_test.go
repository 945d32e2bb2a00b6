package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func shipped(t *testing.T) (string, Recipe) {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	recipe, err := ParseDockerfile(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return string(text), recipe
}

// What the image promises its users stands here as well as in the Dockerfile: a chart
// says runAsUser 65532, a policy file is named by its path, a scanner reads the labels.
func TestShippedRecipe(t *testing.T) {
	_, recipe := shipped(t)
	want := Recipe{
		Base:       "scratch",
		User:       "65532:65532",
		Entrypoint: []string{"/ecr-mirror-sync"},
		Args:       map[string]string{"VERSION": "0.0.0-dev", "COMMIT": "unknown"},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "ecr-mirror-sync",
			"org.opencontainers.image.description": "Mirrors container images into the ECR repositories whose resource tags ask for it",
			"org.opencontainers.image.source":      "https://github.com/ecr-mirror-sync/ecr-mirror-sync",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     "$VERSION",
			"org.opencontainers.image.revision":    "$COMMIT",
		},
		Copies: []Copy{
			{Stage: "build", Source: "/etc/ssl/certs/ca-certificates.crt", Target: "/etc/ssl/certs/ca-certificates.crt"},
			{Stage: "build", Source: "/out/", Target: "/"},
			{Source: "docker/default-policy.json", Target: "/etc/ecr-mirror-sync/default-policy.json"},
			{Source: "docker/registries.d/default.yaml", Target: "/etc/containers/registries.d/default.yaml"},
		},
	}
	if diff := cmp.Diff(want, recipe); diff != "" {
		t.Error(diff)
	}
}

// The build stage is not carried out by imageoci, so what it says is held here: bases by
// version, the Go version of go.mod, and the flags that `make build` has.
func TestShippedBuildStage(t *testing.T) {
	text, _ := shipped(t)
	lines := instructions(text)
	read := func(name string) string {
		content, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	language := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read("go.mod"))
	for _, line := range lines {
		base, found := strings.CutPrefix(line, "FROM ")
		if found && base != "scratch" && !strings.Contains(base, " golang:"+language[1]+"-") {
			t.Errorf("FROM %s: expected golang:%s, as in go.mod", base, language[1])
		}
		if strings.Contains(line, ":latest") || strings.Contains(line, "ADD ") {
			t.Errorf("%s: not what was looked at yesterday", line)
		}
	}
	i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "go build") })
	for tag := range strings.SplitSeq(regexp.MustCompile(`(?m)^TAGS\s*:= (.*)$`).FindStringSubmatch(read("Makefile"))[1], ",") {
		if !strings.Contains(lines[i], tag) {
			t.Errorf("the Dockerfile builds without the tag %s, which make build has", tag)
		}
	}
	for _, flag := range []string{"CGO_ENABLED=0", "GOARCH=$TARGETARCH", "-trimpath", "internal/cli.version=$VERSION", "internal/cli.commit=$COMMIT"} {
		if !strings.Contains(lines[i], flag) {
			t.Errorf("the Dockerfile builds without %s", flag)
		}
	}
	if !slices.Contains(lines, "RUN mkdir -m 1777 /out/tmp") {
		t.Error("the build stage makes no /out/tmp that everybody may write to")
	}
}

func TestParseDockerfileRefuses(t *testing.T) {
	tests := []struct{ name, stage, problem string }{
		{"another base", "FROM alpine", `"alpine"`},
		{"nothing", "", "expected is scratch"},
		{"RUN", "FROM scratch\nRUN rm -rf /", "does not know RUN"},
		{"ENV", "FROM scratch\nENV A=1", "does not know ENV"},
		{"an ARG without default", "FROM scratch\nARG VERSION", "needs a default"},
		{"a label without quotes", "FROM scratch\nLABEL a=b", "pairs"},
		{"a label with an escape", `FROM scratch` + "\n" + `LABEL a="b\"c"`, "pairs"},
		{"a shell's entrypoint", "FROM scratch\nENTRYPOINT /program", "ENTRYPOINT /program"},
		{"COPY with a mode", "FROM scratch\nCOPY --chmod=777 a /a", "expected [--from=STAGE]"},
		{"COPY of two files", "FROM scratch\nCOPY a b /c/", "expected [--from=STAGE]"},
		{"COPY into a directory", "FROM scratch\nCOPY a /b/", "two directories"},
		{"COPY to where it stands", "FROM scratch\nCOPY a b", "from the root"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseDockerfile(test.stage)
			if err == nil || !strings.Contains(err.Error(), test.problem) {
				t.Errorf("error %v, expected one with %q", err, test.problem)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	r := Recipe{Args: map[string]string{"VERSION": "dev"}, Labels: map[string]string{"version": "v$VERSION", "title": "program"}}
	given, err := r.Expand(map[string]string{"VERSION": "1.2"})
	if diff := cmp.Diff(map[string]string{"version": "v1.2", "title": "program"}, given); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if byDefault, err := r.Expand(nil); byDefault["version"] != "vdev" || err != nil {
		t.Errorf("by default %q, %v", byDefault["version"], err)
	}
	if _, err := r.Expand(map[string]string{"VERSIO": "1.2"}); err == nil {
		t.Error("an ARG that is not there was taken")
	}
	r.Labels["revision"] = "$COMMIT"
	if _, err := r.Expand(nil); err == nil {
		t.Error("a variable that is not there was taken")
	}
}
