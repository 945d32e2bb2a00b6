package cli

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// newReport is the command that writes a saved report in another format: a CI job keeps
// the JSON of its run and shows people a table, of the same run.
func newReport(streams Streams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "report FILE",
		Short: "Write a saved report as a table, YAML or Markdown",
		Long: `FILE is what sync, copy or list wrote with --output json; - is standard input. The exit code
says whether the report could be read and written, not what is in it.`,
		Example: `  ecr-mirror-sync sync --policy policy.json -o json > report.json
  ecr-mirror-sync report report.json
  ecr-mirror-sync report report.json -o markdown >> "$GITHUB_STEP_SUMMARY"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageErrorf("%s needs one file (see %s --help)", cmd.CommandPath(), cmd.CommandPath())
			}
			if err := fromEnvironment(cmd.Flags()); err != nil {
				return err
			}
			format, err := report.ParseFormat(output)
			if err != nil {
				return usageErrorf("--output: %w", err)
			}
			saved, err := savedReport(args[0], streams.In)
			if err != nil {
				return usageError{err}
			}
			return report.Write(streams.Out, saved, format, fitted(streams.Out))
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`FORMAT` of the result: table, json, yaml or markdown")
	return cmd
}

// savedReport reads a file, or standard input where it is called "-".
func savedReport(name string, stdin io.Reader) (report.Report, error) {
	if name == "-" {
		return report.Read(stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return report.Report{}, err
	}
	defer file.Close()
	return report.Read(file)
}
