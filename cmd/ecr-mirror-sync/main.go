// Command ecr-mirror-sync keeps copies of container images in sync with their
// upstreams, driven by resource tags on ECR repositories.
package main

import (
	"os"
	_ "time/tzdata" // the container image and Windows have no time zones of their own

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
