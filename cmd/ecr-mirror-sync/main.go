// Command ecr-mirror-sync keeps copies of container images in sync with their
// upstreams, driven by resource tags on ECR repositories.
package main

import (
	"os"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
