package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

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
			return writeManuals(root, args[0])
		},
	}
}

// writeManuals writes the pages of a command and of those below it.
func writeManuals(cmd *cobra.Command, dir string) error {
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() {
			continue
		}
		if err := writeManuals(sub, dir); err != nil {
			return err
		}
	}
	page, err := manual(cmd)
	if err != nil {
		return err
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
	return os.WriteFile(filepath.Join(dir, name), page, 0o644) //nolint:gosec // everybody may read it
}

// manual is cobra's page of a command, with the flags by topic, as help has them, and with
// the exit codes.
func manual(cmd *cobra.Command) ([]byte, error) {
	const options, section = "\n.SH OPTIONS\n", "\n.SH "
	var page bytes.Buffer
	header := &doc.GenManHeader{Source: "ecr-mirror-sync " + version, Manual: "ecr-mirror-sync"}
	if err := doc.GenMan(cmd, header, &page); err != nil {
		return nil, err
	}
	before, rest, found := strings.Cut(page.String(), options)
	if !found {
		return nil, fmt.Errorf("the manual page of %s has no section OPTIONS", cmd.CommandPath())
	}
	var after string
	if i := strings.Index(rest, section); i >= 0 {
		after = rest[i:]
	}
	return []byte(before + options + manualOptions(cmd) + manualExitCodes(cmd) + after), nil
}

func manualOptions(cmd *cobra.Command) string {
	var b strings.Builder
	all := flagsByTopic(cmd.LocalFlags())
	for _, t := range all {
		if len(all) > 1 {
			b.WriteString(".SS " + t.title + "\n")
		}
		for _, flag := range t.flags {
			label, usage := describe(flag)
			b.WriteString(manualItem(strings.TrimSpace(label), usage))
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func manualExitCodes(cmd *cobra.Command) string {
	codes := exitCodesOf(cmd)
	if len(codes) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n.SH EXIT STATUS\n")
	for _, c := range codes {
		b.WriteString(manualItem(c.code, c.says))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// manualItem is a term and what it means, in the language of manual pages, where a backslash
// escapes and a dot or quote that begins a line commands.
func manualItem(term, text string) string {
	escape := strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace
	return ".TP\n\\fB" + escape(term) + "\\fP\n\\&" + escape(text) + "\n"
}
