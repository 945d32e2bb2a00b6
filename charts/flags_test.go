package charts_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
)

// An argument that the program does not know would end every run with exit code 10.
func TestProgramKnowsTheArguments(t *testing.T) {
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer nowhere.Close()
	for values, kind := range workloads {
		all := render(t, values)
		for _, kind := range []string{kind, "Pod"} {
			args := container(all.one(kind))["args"].([]any)
			command := args[0].(string)
			for _, arg := range args[1:] {
				code := cli.Main([]string{command, arg.(string), "--help"}, cli.Streams{In: strings.NewReader(""), Out: nowhere, Err: said})
				if code != 0 {
					t.Errorf("%s: %s %s ends with %d: %s", values, command, arg, code, read(t, said.Name()))
				}
			}
		}
	}
}
