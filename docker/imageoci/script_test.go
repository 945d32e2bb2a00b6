package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ecr-mirror-sync": func() {
			os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
		"imageoci": main,
	})
}

// TestScripts builds an image as `make image-oci` does, around a few bytes in place of
// the program, and mirrors it with the program.
func TestScripts(t *testing.T) {
	local := ecrlocaltest.Start(t)
	repository := "tools/ecr-mirror-sync"
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			environment(env.Setenv, local, env.WorkDir)
			env.Setenv("STAGES", stages(t))
			root, err := filepath.Abs("../..")
			env.Setenv("ROOT", root)
			env.Setenv("REPOSITORY", repository)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"create": func(ts *testscript.TestScript, _ bool, _ []string) {
				_, err := ecr.NewFromConfig(local.AWSConfig("")).CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &repository})
				ts.Check(err)
			},
			"whole": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(whole(t.Context(), local, repository, args[0], strings.Fields(ts.ReadFile(args[1]))[1]))
			},
		},
	})
}

// environment is that of a machine with nothing on it but AWS keys.
func environment(set func(key, value string), local *ecrlocaltest.Running, home string) {
	for _, pair := range local.Env() {
		key, value, _ := strings.Cut(pair, "=")
		set(key, value)
	}
	set("HOME", home)
	set("XDG_RUNTIME_DIR", home)
	set("ECR", local.Host)
}

// whole insists that a tag at ECR leads to a complete image with this digest.
func whole(ctx context.Context, local *ecrlocaltest.Running, repository, tag, digest string) error {
	seen, err := walker.Check(ctx, walker.Options{
		Base: local.URL, Repository: repository, Reference: tag, Username: "AWS", Password: local.Password("", ""), Deep: true,
	})
	if err != nil {
		return err
	}
	if seen.Root.String() != digest {
		return fmt.Errorf("%s is %s, expected %s", tag, seen.Root, digest)
	}
	return seen.Err()
}
