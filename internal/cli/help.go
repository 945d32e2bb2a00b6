package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// Help is as wide as the terminal, within reason; who pages it through another program
// most likely looks at 80 columns.
const (
	pipedHelp    = 80
	broadestHelp = 110
)

func helpWidth(out *os.File) int {
	fd := int(out.Fd())
	if !term.IsTerminal(fd) {
		return pipedHelp
	}
	width, _, err := term.GetSize(fd)
	if err != nil {
		return pipedHelp
	}
	return min(width, broadestHelp)
}

// writeHelp tells of a command, examples first: they are what most readers came for.
func writeHelp(w io.Writer, cmd *cobra.Command, width int) error {
	h := &helpText{width: width}
	h.prose(cmd.Short + ".")
	if cmd.Example != "" {
		h.section("Examples")
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			h.lines(foldExample(line, width)...)
		}
	}
	if cmd.Long != "" {
		h.lines("")
		h.prose(cmd.Long)
	}
	h.usage(cmd)
	_, err := io.WriteString(w, h.String())
	return err
}

// helpText is help as it grows, at most width cells wide where words allow it.
type helpText struct {
	strings.Builder
	width int
}

func (h *helpText) lines(lines ...string) {
	for _, line := range lines {
		h.WriteString(line + "\n")
	}
}

func (h *helpText) section(title string) { h.lines("", title+":") }

// prose writes paragraphs anew for the width. Those with an indented line are left alone.
func (h *helpText) prose(text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			h.lines("")
		}
		if strings.HasPrefix(paragraph, " ") || strings.ContainsAny(paragraph, "\t") || strings.Contains(paragraph, "\n ") {
			h.lines(paragraph)
			continue
		}
		h.lines(human.Wrap(strings.Join(strings.Fields(paragraph), " "), h.width)...)
	}
}

// usage writes how a command is called, its subcommands, its flags and the exit codes.
func (h *helpText) usage(cmd *cobra.Command) {
	h.section("Usage")
	if cmd.HasAvailableSubCommands() {
		h.lines("  " + cmd.CommandPath() + " [command]")
	} else {
		h.lines("  " + cmd.UseLine())
	}
	h.commands(cmd)
	h.flags(cmd)
	h.exitCodes(cmd)
}

// commands lists the subcommands by their groups.
func (h *helpText) commands(cmd *cobra.Command) {
	groups := cmd.Groups()
	if len(groups) == 0 {
		groups = []*cobra.Group{{Title: "Commands"}}
	}
	for _, group := range groups {
		titled := false
		for _, sub := range cmd.Commands() {
			if sub.GroupID != group.ID || !sub.IsAvailableCommand() {
				continue
			}
			if !titled {
				h.section(group.Title)
				titled = true
			}
			h.columns("  "+sub.Name(), 2+sub.NamePadding()+1, sub.Short)
		}
	}
}

// flags lists a command's flags by topic, where there are so many that topics help.
func (h *helpText) flags(cmd *cobra.Command) {
	column := h.flagColumn(cmd.LocalFlags())
	for _, t := range flagsByTopic(cmd.LocalFlags()) {
		h.section(t.title)
		for _, flag := range t.flags {
			label, usage := describe(flag)
			h.columns(label, column, usage)
		}
	}
	if runs(cmd) {
		h.lines("")
		h.prose("Each flag has an environment variable, such as " + environmentPrefix + "REGION for --region; the command line goes over it.")
	}
}

// flagColumn is where descriptions of flags begin: behind the longest flag but for a few
// very long ones, which stand on a line of their own.
func (h *helpText) flagColumn(flags *pflag.FlagSet) int {
	const longest = 32
	column := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if label, _ := describe(f); !f.Hidden && len(label)+2 <= longest {
			column = max(column, len(label)+2)
		}
	})
	return min(column, h.width/2)
}

// columns writes a label and, from a column on, its description, below the label where
// that is too long.
func (h *helpText) columns(label string, column int, text string) {
	if len(label)+2 > column {
		h.lines(label)
		label = ""
	}
	for _, line := range human.Wrap(text, h.width-column) {
		h.lines(fmt.Sprintf("%-*s%s", column, label, line))
		label = ""
	}
}

// exitCodes lists the codes that a run of the command can end with.
func (h *helpText) exitCodes(cmd *cobra.Command) {
	codes := exitCodesOf(cmd)
	if len(codes) == 0 {
		h.lines("")
		h.prose("Exit codes are listed by " + cmd.Root().Name() + " --help.")
		return
	}
	h.section("Exit codes")
	for _, c := range codes {
		h.columns("  "+c.code, len("  130/143  "), c.says)
	}
}

// runs reports whether a command goes through mirrors, as list, copy, sync, daemon and verify do.
func runs(cmd *cobra.Command) bool { return cmd.LocalFlags().Lookup("max-duration") != nil }

// describe is a flag's left and right column.
func describe(flag *pflag.Flag) (label, usage string) {
	value, usage := pflag.UnquoteUsage(flag)
	label = "      --" + flag.Name
	if flag.Shorthand != "" {
		label = "  -" + flag.Shorthand + ", --" + flag.Name
	}
	switch {
	case value != "" && flag.NoOptDefVal != "":
		label += "[=" + value + "]"
	case value != "":
		label += " " + value
	}
	if fallback := defaultOf(flag); fallback != "" {
		usage += " (default: " + fallback + ")"
	}
	return label, usage
}

// defaultOf is a flag's default as a person writes it, "" for one that goes without saying.
func defaultOf(flag *pflag.Flag) string {
	switch flag.DefValue {
	case "", "0", "0s", "false", "[]":
		return ""
	}
	if flag.Value.Type() != "duration" {
		return flag.DefValue
	}
	whole := flag.DefValue // such as 24h0m0s
	if s, ok := strings.CutSuffix(whole, "m0s"); ok {
		whole = s + "m"
	}
	if s, ok := strings.CutSuffix(whole, "h0m"); ok {
		whole = s + "h"
	}
	return whole
}

// foldExample continues a command that is too long on further lines, so that it can still be
// copied into a shell.
func foldExample(line string, width int) []string {
	const end, deeper = ` \`, "      "
	var folded []string
	for len(line) > width {
		at := lastBreak(line, width-len(end))
		if at == 0 {
			break
		}
		folded = append(folded, line[:at]+end)
		line = deeper + line[at+1:]
	}
	return append(folded, line)
}

// lastBreak is the index of the space in line[:limit+1] where a command is best continued: the
// last before a pipe, if that is not too early, else before a flag, else any; 0 for none.
// Spaces in quotes, and those that a line begins with, are none.
func lastBreak(line string, limit int) int {
	pipe, flag, space, quote := 0, 0, 0, rune(0)
	begin := len(line) - len(strings.TrimLeft(line, " "))
	for i, r := range line[:min(limit+1, len(line)-1)] {
		next := line[i+1]
		switch {
		case i < begin:
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r != ' ':
		case next == '|' || next == '>':
			pipe = i
		case next == '-':
			flag = i
		default:
			space = i
		}
	}
	if pipe > limit/3 {
		return pipe
	}
	return cmp.Or(max(pipe, flag), space)
}
