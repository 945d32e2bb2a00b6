package cli

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan is the hidden command that writes the manual pages which are part of a release,
// one for each command. Their date is SOURCE_DATE_EPOCH, where that is set.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the manual pages",
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageErrorf("%s needs one directory", cmd.CommandPath())
			}
			if err := os.MkdirAll(args[0], 0o750); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // it holds the day of the build
			return doc.GenManTree(root, &doc.GenManHeader{Source: "ecr-mirror-sync " + version, Manual: "ecr-mirror-sync"}, args[0])
		},
	}
}
