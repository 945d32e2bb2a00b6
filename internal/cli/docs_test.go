package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

const repository = "../.."

// documents are the files of the documentation with one of the endings.
func documents(t *testing.T, endings ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(repository, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "dist", "testdata", "adr", "templates", "changelog"}, entry.Name()):
			return fs.SkipDir
		case !entry.IsDir() && slices.Contains(endings, filepath.Ext(path)):
			text, err := os.ReadFile(path)
			found[strings.TrimPrefix(path, repository+"/")] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var (
	fencedBlock   = regexp.MustCompile("(?ms)^ *```([a-z]*)\n(.*?)^ *```$")
	indentedBlock = regexp.MustCompile(`(?m)^(?:(?:    |\t).*\n)+`)
	inlineCode    = regexp.MustCompile("`[^`\n]+`")
	continued     = regexp.MustCompile(`\\\n\s*`)
	quoted        = regexp.MustCompile(`'[^']*'|"[^"]*"`)
	comment       = regexp.MustCompile(`(?m)(^|\s)# .*$`)
	containerArgs = regexp.MustCompile(`\bargs: \[(.*)\]`)
	separator     = regexp.MustCompile(`\|\|?|&&|;|[<>$]\(|\s>+\s`)
	commandWord   = regexp.MustCompile(`^(-|[a-z]+$)`) // what a command begins with, unless it is a placeholder or no command
)

// commandLines are the commands of code blocks and of code between words that begin with the
// program's name, and the arguments of containers, in words. What is quoted is one word, "x".
func commandLines(text string) [][]string {
	var code []string
	for _, block := range fencedBlock.FindAllStringSubmatch(text, -1) {
		code = append(code, block[2])
	}
	prose := fencedBlock.ReplaceAllString(text, "")
	code = append(code, indentedBlock.FindAllString(prose, -1)...)
	for _, span := range inlineCode.FindAllString(prose, -1) {
		code = append(code, strings.Trim(span, "`"))
	}
	var commands [][]string
	for _, block := range code {
		block = comment.ReplaceAllString(quoted.ReplaceAllString(continued.ReplaceAllString(block, " "), "x"), "")
		for _, list := range containerArgs.FindAllStringSubmatch(block, -1) {
			commands = append(commands, append([]string{"ecr-mirror-sync"}, strings.Fields(strings.ReplaceAll(list[1], ",", " "))...))
		}
		for line := range strings.SplitSeq(block, "\n") {
			for _, part := range separator.Split(line, -1) {
				if words := calling(strings.Fields(part)); len(words) > 0 {
					commands = append(commands, words)
				}
			}
		}
	}
	return commands
}

// calling returns the words from the program's name on, nil where it is not called: before it
// may stand a prompt, a dash of YAML, variables, and programs that run others.
func calling(words []string) []string {
	for i, word := range words {
		if filepath.Base(word) == "ecr-mirror-sync" && !strings.HasSuffix(word, "/") {
			return words[i:]
		}
		before := strings.Contains(word, "=") || slices.Contains([]string{"$", "-", "run:", "exec", "time", "RUN", "CMD", "sh", "x"}, word)
		if !before {
			return nil
		}
	}
	return nil
}

// unknownTo says what of a command line the program does not have.
func unknownTo(root *cobra.Command, words []string) []string {
	if len(words) == 1 || !commandWord.MatchString(words[1]) {
		return nil
	}
	cmd, rest, err := root.Find(words[1:])
	if err != nil || cmd == root && !strings.HasPrefix(words[1], "-") {
		return []string{words[1]}
	}
	var unknown []string
	for _, word := range rest {
		word, _, _ = strings.Cut(strings.Trim(word, "[]…,.()"), "=")
		switch name := strings.TrimLeft(word, "-"); {
		case !strings.HasPrefix(word, "-") || name == "":
		case strings.HasPrefix(word, "--") && cmd.Flag(name) == nil,
			!strings.HasPrefix(word, "--") && cmd.Flags().ShorthandLookup(name[:1]) == nil:
			unknown = append(unknown, word)
		}
	}
	return unknown
}

// What the documentation types exists: subcommands, and their flags.
func TestCommandsOfTheDocumentation(t *testing.T) {
	root, _ := tree()
	for _, add := range []func(){root.InitDefaultHelpCmd, func() { root.InitDefaultCompletionCmd() }} {
		add()
	}
	seen := 0
	for name, text := range documents(t, ".md") {
		for _, words := range commandLines(text) {
			seen++
			for _, word := range unknownTo(root, words) {
				t.Errorf("%s: %s: there is no %s", name, strings.Join(words, " "), word)
			}
		}
	}
	if seen < 100 {
		t.Errorf("%d commands were found", seen)
	}
}

// A flag that a page names by itself is a flag of some command, or another program's.
func TestFlagsOfTheDocumentation(t *testing.T) {
	_, all := tree()
	others := map[string]string{ // where it stands is also who has it
		"user": "docker/README.md", "set": "charts/ecr-mirror-sync/README.md", "set-file": "charts/ecr-mirror-sync/README.md docs/migrating/replicant.md",
		"no-paginate": "docs/migrating/ecr-mirror.md", "scale": "docs/performance.md", "all": "README.md",
	}
	known := func(name string) bool {
		return slices.ContainsFunc(all, func(cmd *cobra.Command) bool {
			return cmd.Flag(name) != nil || name == "override-" // and a star
		})
	}
	oldTools := regexp.MustCompile(`(?m)^\| [^|]*`) // in the first column of tables
	named := regexp.MustCompile("`--([a-z][a-z0-9-]*)")
	seen := 0
	for name, text := range documents(t, ".md") {
		if strings.HasPrefix(name, "internal/ecrlocal/") {
			continue
		}
		if strings.HasPrefix(name, "docs/migrating/") {
			text = oldTools.ReplaceAllString(text, "")
		}
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			seen++
			if !known(m[1]) && !strings.Contains(others[m[1]], name) {
				t.Errorf("%s: there is no --%s", name, m[1])
			}
		}
	}
	if seen < 200 {
		t.Errorf("%d flags were found", seen)
	}
}

// configKeys are those a configuration has at its top.
var configKeys = []string{"apiVersion", "defaults", "registries", "discovery", "allowedUpstreams", "allowedEgress", "prune", "log", "notifications", "mirrors"}

// aMirror is what an example of tags alone is put into.
const aMirror = "mirrors:\n  - name: example\n    from: docker.io/library/nginx\n    to: registry.example.com/nginx\n"

// completed makes a whole file of an example: those that show a part leave out what every file
// has. It returns "" for what is no configuration.
func completed(t *testing.T, example string) string {
	t.Helper()
	var top map[string]yaml.Node
	if err := yaml.Unmarshal([]byte(example), &top); err != nil {
		t.Errorf("%s\n%v", example, err)
		return ""
	}
	if _, tags := top["tags"]; tags && len(top) == 1 {
		example = aMirror + regexp.MustCompile(`(?m)^`).ReplaceAllString(example, "    ")
	} else {
		for key := range top {
			if !slices.Contains(configKeys, key) {
				return ""
			}
		}
		if _, is := top["discovery"]; !is && top["mirrors"].Kind == 0 {
			example += "\ndiscovery: {enabled: true}\n"
		}
	}
	if _, is := top["apiVersion"]; !is {
		example = "apiVersion: " + config.APIVersion + "\n" + example
	} else if top["apiVersion"].Content == nil && !strings.Contains(example, config.APIVersion) {
		return ""
	}
	return example
}

// Every configuration that the documentation shows is one: it is loaded as a file of a user's
// would be, with a value for every variable and a text in every file that it refers to.
func TestConfigurationsOfTheDocumentation(t *testing.T) {
	validated := 0
	validate := func(name, example string) {
		file := completed(t, example)
		if file == "" {
			return
		}
		validated++
		_, err := config.Load([]string{"example.yaml"},
			func(variable string) (string, bool) { return "value-of-" + strings.ToLower(variable), true },
			func(path string) ([]byte, error) {
				if filepath.Base(path) == "example.yaml" {
					return []byte(file), nil
				}
				return []byte("text-of-" + filepath.Base(path)), nil
			})
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, file)
		}
	}
	for name, text := range documents(t, ".md") {
		for _, block := range fencedBlock.FindAllStringSubmatch(text, -1) {
			if block[1] == "yaml" {
				validate(name, block[2])
			}
		}
	}
	if validated < 15 {
		t.Errorf("%d configurations were found", validated)
	}
}
