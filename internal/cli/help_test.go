package cli

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// tree is the whole program, and every command of it but those that cobra adds.
func tree() (root *cobra.Command, all []*cobra.Command) {
	code := 0
	root = newRoot(Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, &code)
	root.InitDefaultVersionFlag()
	all = []*cobra.Command{root}
	for i := 0; i < len(all); i++ {
		all[i].InitDefaultHelpFlag()
		all = append(all, all[i].Commands()...)
	}
	return root, all
}

func rendered(t *testing.T, cmd *cobra.Command, width int) string {
	t.Helper()
	var b strings.Builder
	if err := writeHelp(&b, cmd, width); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Help fits every usual terminal, and shows each flag once.
func TestHelpFits(t *testing.T) {
	_, all := tree()
	if len(all) < 15 {
		t.Fatalf("%d commands", len(all))
	}
	for _, cmd := range all {
		for _, width := range []int{72, 80, 110} {
			text := rendered(t, cmd, width)
			for line := range strings.SplitSeq(text, "\n") {
				if len([]rune(line)) > width {
					t.Errorf("%s, %d columns: %q", cmd.CommandPath(), width, line)
				}
			}
			_, usage, _ := strings.Cut(text, "\nUsage:\n")
			cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
				label, _ := describe(f)
				if got := strings.Count(usage+" ", "\n"+label); got != 1 && !f.Hidden {
					t.Errorf("%s: --%s is listed %d times", cmd.CommandPath(), f.Name, got)
				}
			})
		}
	}
}

// A new flag finds its topic, and topics name no flag that is gone.
func TestEveryFlagHasATopic(t *testing.T) {
	_, all := tree()
	var names []string
	for _, topic := range topics() {
		names = append(names, topic[1:]...)
	}
	known := map[string]bool{}
	for _, cmd := range all {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		if sorted := flagsByTopic(cmd.LocalFlags()); len(sorted) > 1 {
			for _, flag := range sorted[len(sorted)-1].flags {
				if flag.Name != "help" {
					t.Errorf("%s --%s has no topic", cmd.CommandPath(), flag.Name)
				}
			}
		}
	}
	slices.Sort(names)
	for i, name := range names {
		if !known[name] {
			t.Errorf("no command has --%s", name)
		}
		if i > 0 && names[i-1] == name {
			t.Errorf("--%s has two topics", name)
		}
	}
}

// What is folded is the same command to a shell: it is not broken inside quotes.
func TestFoldExample(t *testing.T) {
	tests := []struct {
		line  string
		width int
		want  []string
	}{
		{"  sync --dry-run", 80, []string{"  sync --dry-run"}},
		{"  sync --dry-run --exit-code --only x", 30, []string{`  sync --dry-run --exit-code \`, "      --only x"}},
		{"  sync -o json | jq -r 'select(.a - .b)'", 34, []string{`  sync -o json \`, "      | jq -r 'select(.a - .b)'"}},
		{"  sync --only 'one --two --three --four'", 30, []string{`  sync \`, `      --only \`, "      'one --two --three --four'"}},
		{"  notify test one two", 16, []string{`  notify test \`, "      one two"}},
		{"  'nothing to break at, however long it is'", 20, []string{"  'nothing to break at, however long it is'"}},
	}
	for _, test := range tests {
		if got := foldExample(test.line, test.width); !slices.Equal(got, test.want) {
			t.Errorf("%q at %d: %q, expected %q", test.line, test.width, got, test.want)
		}
	}
}

func TestDefaultsInHelp(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.Duration("never", 0, "")
	flags.Duration("day", 24*time.Hour, "")
	flags.Duration("minutes", 90*time.Minute, "")
	flags.Duration("seconds", 20*time.Second, "")
	flags.StringSlice("none", nil, "")
	flags.Bool("off", false, "")
	flags.Bool("on", true, "")
	flags.Int("three", 3, "")
	for name, want := range map[string]string{"never": "", "day": "24h", "minutes": "1h30m", "seconds": "20s", "none": "", "off": "", "on": "true", "three": "3"} {
		if got := defaultOf(flags.Lookup(name)); got != want {
			t.Errorf("%s: %q, expected %q", name, got, want)
		}
	}
}

// Manual pages have all that help has.
func TestManualPages(t *testing.T) {
	_, all := tree()
	for _, cmd := range all {
		page, err := manual(cmd)
		if err != nil {
			t.Fatal(err)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if name := `\-\-` + strings.ReplaceAll(f.Name, "-", `\-`); !f.Hidden && !strings.Contains(string(page), name) {
				t.Errorf("%s: the manual has no --%s", cmd.CommandPath(), f.Name)
			}
		})
		if got := strings.Contains(string(page), "\n.SH EXIT STATUS\n"); got != (len(exitCodesOf(cmd)) > 0) {
			t.Errorf("%s: the manual has exit codes: %t", cmd.CommandPath(), got)
		}
	}
}
