package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

func newConfig(streams Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write, check and show configuration files",
		Long: `The file says what resource tags cannot: other destinations, registries' credentials
and certificates, path mappings. docs/configuration.md describes it. list and sync
follow it with --config FILE.`,
		Example: `  ecr-mirror-sync config init > mirrors.yaml
  ecr-mirror-sync config validate mirrors.yaml
  ecr-mirror-sync config show base.yaml team.yaml`,
		Args:                       knownCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		printing(streams, "init", "Print a commented example", func() ([]byte, error) { return config.Example(), nil }),
		printing(streams, "schema", "Print the JSON Schema of the file", config.Schema),
		onFiles("validate", "Check files, and report every problem at once", func(c *config.Config) error {
			_, err := fmt.Fprintf(streams.Out, "valid: %d mirrors\n", len(c.Rules)+len(c.Patterns))
			return err
		}),
		onFiles("show", "Print what files together say, with defaults filled in and secrets redacted", func(c *config.Config) error {
			shown, err := config.Show(*c)
			if err != nil {
				return err
			}
			_, err = streams.Out.Write(shown)
			return err
		}),
		newImport(streams),
	)
	return cmd
}

// printing is a command that prints one text.
func printing(streams Streams, name, short string, text func() ([]byte, error)) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			written, err := text()
			if err != nil {
				return err
			}
			_, err = streams.Out.Write(written)
			return err
		},
	}
}

// onFiles is a command that loads the files it is given, later ones over earlier.
func onFiles(name, short string, act func(*config.Config) error) *cobra.Command {
	return &cobra.Command{
		Use: name + " FILE…", Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageErrorf("%s needs a file", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, files []string) error {
			loaded, err := config.Load(files, os.LookupEnv, os.ReadFile)
			if err != nil {
				return usageError{err}
			}
			return act(loaded)
		},
	}
}

// problems are the lines to print for an error: one, but for a file or flags with
// several mistakes.
func problems(err error) []string {
	var found []error
	if inFile, ok := errors.AsType[config.Problems](err); ok {
		for _, problem := range inFile {
			found = append(found, problem)
		}
	} else if inFlags, ok := errors.AsType[mistakes](err); ok {
		found = inFlags
	} else {
		found = []error{err}
	}
	lines := make([]string, 0, len(found))
	for _, problem := range found {
		lines = append(lines, oneLine(problem))
	}
	return lines
}
