// Program faultmatrix reads the output of `go test -json` and prints the figures that a
// release is judged by. With -doc it writes the matrix of what is proven into a document.
// It fails where a test has failed.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

func main() {
	doc := flag.String("doc", "", "write the matrix into this `FILE`")
	flag.Parse()
	if err := run(*doc); err != nil {
		fmt.Fprintln(os.Stderr, "faultmatrix:", err)
		os.Exit(1)
	}
}

func run(doc string) error {
	said, err := faults.Read(os.Stdin)
	if err != nil {
		return err
	}
	for _, f := range said.Failures {
		fmt.Printf("FAILED %s\n%s\n", f.Name, f.Output)
	}
	fmt.Printf("%d tests passed, %d failed\n\n", said.Passed, len(said.Failures))
	said.WriteFigures(os.Stdout)
	if len(said.Failures) > 0 {
		return fmt.Errorf("%d tests failed", len(said.Failures))
	}
	if doc == "" {
		return nil
	}
	return rewrite(doc, said)
}

// rewrite puts the matrix into a document.
func rewrite(path string, said faults.Run) error {
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	after, err := said.Into(string(before))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(after), 0o644) //nolint:gosec // a document of the repository
}
