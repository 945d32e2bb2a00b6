package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/migrate"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// importFlags say how another tool's files are read.
type importFlags struct {
	from        string
	destination string
	scoped      bool
}

func newImport(streams Streams) *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import --from FORMAT FILE…",
		Short: "Print what another tool's files say as a configuration of this one",
		Long: `The configuration goes to standard output, with a comment wherever it means something else
than the old file. What is different is listed on standard error, a line each:

    lost     what the old file asks for is not done
    changed  it is done, and not in every case as before
    ignored  it has no meaning here, or had none there

Credentials become environment variables, which the last line names. "-" reads standard
input. docs/migrating.md has a page for each tool.`,
		Example: `  ecr-mirror-sync config import --from replicant replicant.yaml > mirrors.yaml
  ecr-mirror-sync config import --from docker-sync config_map.yaml secret.yaml > mirrors.yaml
  ecr-mirror-sync config import --from skopeo-sync --destination registry.example.com/mirror sync.yaml
  kubectl get configmap dregsy -o jsonpath='{.data.dregsy\.yaml}' | ecr-mirror-sync config import --from dregsy -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageErrorf("%s needs a file, or - for standard input", cmd.CommandPath())
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "`FORMAT` of the files: "+strings.Join(formatNames(), ", "))
	flags.StringVar(&f.destination, "destination", "", "with skopeo-sync, where the images go: `REGISTRY[/PREFIX]`, skopeo sync's second argument")
	flags.BoolVar(&f.scoped, "scoped", false, "with skopeo-sync, what skopeo sync --scoped does: keep the whole upstream path")
	cmd.RunE = func(_ *cobra.Command, paths []string) error { return f.run(streams, paths) }
	return cmd
}

func formatNames() []string {
	var names []string
	for _, format := range migrate.Formats() {
		names = append(names, string(format))
	}
	return names
}

func (f *importFlags) run(streams Streams, paths []string) error {
	if f.from == "" {
		return usageErrorf("--from is missing: expected one of %s", strings.Join(formatNames(), ", "))
	}
	format, err := migrate.ParseFormat(f.from)
	if err != nil {
		return usageErrorf("--from: %w", err)
	}
	if format != migrate.SkopeoSync && (f.destination != "" || f.scoped) {
		return usageErrorf("--destination and --scoped go with --from %s", migrate.SkopeoSync)
	}
	files, err := readInputs(streams, paths)
	if err != nil {
		return err
	}
	imported, err := migrate.Import(format, files, migrate.Options{Env: os.LookupEnv, Destination: f.destination, Scoped: f.scoped})
	if err != nil {
		return usageError{err}
	}
	if _, err := streams.Out.Write(imported.YAML); err != nil {
		return err
	}
	return explain(streams.Err, imported)
}

// readInputs reads the files of another tool; "-" is standard input.
func readInputs(streams Streams, paths []string) ([]migrate.Input, error) {
	own := regexp.MustCompile(`(?m)^apiVersion: *["']?ecr-mirror-sync\.io/`)
	files := make([]migrate.Input, 0, len(paths))
	for i, path := range paths {
		if slices.Contains(paths[:i], path) {
			return nil, usageErrorf("%s is given twice", path)
		}
		data, err := readInput(streams, path)
		if err != nil {
			return nil, usageErrorf("the file cannot be read: %w", err)
		}
		if own.Match(data) {
			return nil, usageErrorf("%s is a configuration of this program already: --config follows it as it is", path)
		}
		files = append(files, migrate.Input{Name: path, Data: data})
	}
	return files, nil
}

// readInput reads a file as far as one of them may go, and one byte.
func readInput(streams Streams, path string) (data []byte, err error) {
	from := streams.In
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer closing(file, &err)
		from = file
	}
	return io.ReadAll(io.LimitReader(from, config.MaxFile+1))
}

// explain says what is different from the old files.
func explain(w io.Writer, imported *migrate.Imported) error {
	var b strings.Builder
	counts := make(map[migrate.Severity]int)
	for _, note := range imported.Notes {
		counts[note.Severity]++
		fmt.Fprintln(&b, note)
	}
	fmt.Fprintf(&b, "imported %s", human.Count(len(imported.Places), "mirror"))
	for i, severity := range migrate.Severities() {
		before := ", "
		if i == 0 {
			before = "; "
		}
		fmt.Fprintf(&b, "%s%d %s", before, counts[severity], severity)
	}
	b.WriteByte('\n')
	if len(imported.Secrets) > 0 {
		fmt.Fprintf(&b, "set in the environment: %s\n", strings.Join(slices.Sorted(maps.Keys(imported.Secrets)), ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
