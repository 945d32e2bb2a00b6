// Command imageoci builds the container image without Docker: it carries out the last
// stage of docker/Dockerfile itself and writes an OCI image layout. `make image-oci`
// builds the programs and calls it.
//
// There is one recipe, the Dockerfile, so that the two ways to build cannot drift
// apart: an instruction that imageoci does not know ends it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "imageoci:", err)
		os.Exit(1)
	}
}

// run builds what args ask for and prints what it built.
func run(args []string, stdout, stderr io.Writer) error {
	o, out, err := parse(args, stderr)
	if err != nil {
		return err
	}
	built, err := Build(o)
	if err != nil {
		return err
	}
	if err := built.Write(out); err != nil {
		return err
	}
	return built.Describe(stdout)
}

// parse reads the command line: how to build, and the directory to write to.
func parse(args []string, stderr io.Writer) (o Options, out string, err error) {
	flags := flag.NewFlagSet("imageoci", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dockerfile := flags.String("file", "docker/Dockerfile", "the Dockerfile whose last stage is built")
	flags.StringVar(&o.Context, "context", ".", "directory that COPY reads from")
	flags.StringVar(&o.Stages, "stages", "", "directory STAGE/OS-ARCHITECTURE of which is what COPY --from=STAGE reads from")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64", "platforms, joined with commas")
	flags.StringVar(&o.Tag, "tag", "dev", "name of the image in the layout")
	flags.StringVar(&out, "out", "", "directory to write; a layout that is there is replaced")
	o.Args = map[string]string{}
	flags.Func("build-arg", "NAME=VALUE for an ARG of the last stage; repeatable", func(pair string) error {
		name, value, found := strings.Cut(pair, "=")
		if !found {
			return errors.New("expected NAME=VALUE")
		}
		o.Args[name] = value
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, "", err
	}
	if out == "" || o.Stages == "" || flags.NArg() > 0 {
		return o, "", errors.New("--out and --stages are needed, and nothing beside flags")
	}
	o.Platforms = strings.Split(*platforms, ",")
	text, err := os.ReadFile(*dockerfile)
	if err != nil {
		return o, "", err
	}
	if o.Recipe, err = ParseDockerfile(string(text)); err != nil {
		return o, "", fmt.Errorf("%s: %w", *dockerfile, err)
	}
	o.Created, err = sourceDate()
	return o, out, err
}

// sourceDate is the one time that everything in the image has:
// https://reproducible-builds.org/docs/source-date-epoch/
func sourceDate() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q: expected seconds since 1970", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
