package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
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
  ecr-mirror-sync config show base.yaml team.yaml
  ecr-mirror-sync config show --config dregsy.yaml --config-format dregsy
  ecr-mirror-sync config import --from dregsy dregsy.yaml > mirrors.yaml`,
		Args:                       knownCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		printing(streams, "init", "Print a commented example", func() ([]byte, error) { return config.Example(), nil }),
		printing(streams, "schema", "Print the JSON Schema of the file", config.Schema),
		newValidate(streams),
		newShow(streams),
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

func newValidate(streams Streams) *cobra.Command {
	return onFiles(streams, "validate", "Check files, and report every problem at once", func(c *config.Config) error {
		_, err := fmt.Fprintf(streams.Out, "valid: %s\n", human.Count(len(c.Rules)+len(c.Patterns), "mirror"))
		return err
	})
}

func newShow(streams Streams) *cobra.Command {
	var output string
	cmd := onFiles(streams, "show", "Print what files together say, with defaults filled in and secrets redacted", func(c *config.Config) error {
		text, err := config.Show(*c)
		if err == nil && output == "json" {
			text, err = asJSON(text)
		}
		if err != nil {
			return err
		}
		_, err = streams.Out.Write(text)
		return err
	})
	cmd.Flags().StringVarP(&output, "output", "o", "yaml", "`FORMAT` of the result: yaml or json")
	checked := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		if output != "yaml" && output != "json" {
			return usageErrorf("--output %q: expected yaml or json", output)
		}
		return checked(cmd, files)
	}
	return cmd
}

// asJSON writes YAML as JSON, its keys sorted.
func asJSON(text []byte) ([]byte, error) {
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		return nil, err
	}
	written, err := json.MarshalIndent(value, "", "  ")
	return append(written, '\n'), err
}

// onFiles is a command that loads the files it is given, later ones over earlier, or
// those that --config and its environment variable name.
func onFiles(streams Streams, name, short string, act func(*config.Config) error) *cobra.Command {
	var file fileFlags
	cmd := &cobra.Command{
		Use: name + " [FILE…]", Short: short,
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := fromEnvironment(cmd.Flags()); err != nil {
				return err
			}
			if len(files) > 0 {
				file.paths = files
			}
			if !file.named() {
				return usageErrorf("%s needs a file", cmd.CommandPath())
			}
			loaded, err := file.load(streams)
			if err != nil {
				return err
			}
			return act(loaded.Config)
		},
	}
	file.register(cmd.Flags())
	return cmd
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
