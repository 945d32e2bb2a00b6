package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Recipe is the last stage of a Dockerfile: what goes into the image. Values may still
// name ARGs of the stage; Expand puts in what they are.
type Recipe struct {
	Base       string // what the stage begins from
	Args       map[string]string
	Labels     map[string]string
	Copies     []Copy
	User       string
	Entrypoint []string
}

// Copy is one COPY. A Source that ends with a slash is a directory, whose content goes
// into Target; any other is a file that becomes Target.
type Copy struct {
	Stage  string // "" is the build context
	Source string
	Target string
}

// ParseDockerfile reads the last stage of a Dockerfile. It knows what ours uses, and an
// instruction, flag or form that it does not know is an error: whatever it passed over
// would be missing from the image.
func ParseDockerfile(text string) (Recipe, error) {
	var r Recipe
	for _, line := range instructions(text) {
		keyword, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		if keyword == "FROM" {
			r = Recipe{Base: rest, Args: map[string]string{}, Labels: map[string]string{}}
			continue
		}
		if r.Base != "scratch" {
			continue // another stage, or before the first
		}
		if err := r.add(keyword, rest); err != nil {
			return r, fmt.Errorf("%s: %w", line, err)
		}
	}
	if r.Base != "scratch" {
		return r, fmt.Errorf("the last stage begins from %q, and expected is scratch", r.Base)
	}
	return r, nil
}

// instructions joins continued lines and leaves out comments.
func instructions(text string) []string {
	var found []string
	open := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		if head, more := strings.CutSuffix(line, `\`); more {
			open += head
			continue
		}
		found = append(found, open+line)
		open = ""
	}
	return found
}

func (r *Recipe) add(keyword, rest string) error {
	switch keyword {
	case "ARG":
		name, value, found := strings.Cut(rest, "=")
		if !found {
			return errors.New("an ARG needs a default")
		}
		r.Args[name] = value
	case "LABEL":
		return r.addLabels(rest)
	case "COPY":
		return r.addCopy(strings.Fields(rest))
	case "USER":
		r.User = rest
	case "ENTRYPOINT":
		return json.Unmarshal([]byte(rest), &r.Entrypoint)
	default:
		return fmt.Errorf("imageoci does not know %s", keyword)
	}
	return nil
}

// addLabels reads KEY="VALUE" pairs. Values have no quotes or escapes of their own.
func (r *Recipe) addLabels(rest string) error {
	for rest != "" {
		key, after, found := strings.Cut(rest, `="`)
		value, next, closed := strings.Cut(after, `"`)
		if !found || !closed || strings.ContainsAny(key, ` "`) || strings.Contains(value, `\`) {
			return errors.New(`expected KEY="VALUE" pairs`)
		}
		r.Labels[key] = value
		rest = strings.TrimSpace(next)
	}
	return nil
}

func (r *Recipe) addCopy(words []string) error {
	var c Copy
	if stage, found := strings.CutPrefix(words[0], "--from="); found {
		c.Stage, words = stage, words[1:]
	}
	if len(words) != 2 || strings.HasPrefix(words[0], "-") {
		return errors.New("expected [--from=STAGE] SOURCE TARGET")
	}
	c.Source, c.Target = words[0], words[1]
	if strings.HasSuffix(c.Source, "/") != strings.HasSuffix(c.Target, "/") || !strings.HasPrefix(c.Target, "/") {
		return errors.New("expected two directories with a slash at the end, or two files, the second from the root")
	}
	r.Copies = append(r.Copies, c)
	return nil
}

// Expand puts the values of ARGs into labels. Given values go before defaults, and one
// for an ARG that the stage does not have is an error, as is a variable that is no ARG.
func (r Recipe) Expand(given map[string]string) (map[string]string, error) {
	for name := range given {
		if _, known := r.Args[name]; !known {
			return nil, fmt.Errorf("the last stage has no ARG %s", name)
		}
	}
	var unknown error
	value := func(name string) string {
		if v, ok := given[name]; ok {
			return v
		}
		v, known := r.Args[name]
		if !known {
			unknown = fmt.Errorf("$%s in a label is no ARG of the last stage", name)
		}
		return v
	}
	labels := map[string]string{}
	for key, text := range r.Labels {
		labels[key] = os.Expand(text, value)
	}
	return labels, unknown
}
