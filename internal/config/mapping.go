package config

import (
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

func (d *Destination) read(r *reader, n *node, path string) {
	if n.kind == scalar {
		d.Repository, _ = r.text(n, "destination", path)
		return
	}
	r.structureOf(d, n, path)
}

func (d *Destination) check(r *reader, path string) {
	mappings := ofWhich(map[string]bool{"prefix": d.Prefix != "", "regex": d.Regex != "", "template": d.Template != ""})
	switch {
	case (d.Repository == "") == (d.Registry == ""):
		r.fail(path, "a destination is a repository or a registry", "one of repository and registry")
	case d.Repository != "" && (len(mappings) > 0 || d.Replacement != nil):
		r.fail(path, "a path is mapped, and the repository is given", "registry instead of repository")
	case len(mappings) > 1:
		r.fail(path, strings.Join(mappings, " and ")+" are given", "one of them")
	case (d.Regex == "") != (d.Replacement == nil):
		r.fail(path, "regex and replacement go together", "both")
	}
}

func (d Destination) show() *yaml.Node {
	if d.Repository != "" {
		return text(d.Repository)
	}
	return structureNode(d)
}

// A route is a compiled Destination: it says where an upstream repository goes.
type route struct {
	fixed ref.Reference // the one repository, where there is one
	host  string
	to    func(upstream ref.Repository) (string, error) // upstream's path at host
}

// compileRoute compiles a destination that was checked.
func compileRoute(d Destination) (route, error) {
	if d.Repository != "" {
		fixed, err := ref.ParseTarget(d.Repository)
		return route{fixed: fixed}, err
	}
	way := route{host: d.Registry}
	switch {
	case d.Regex != "":
		expression, err := regexp.Compile(d.Regex)
		if err != nil {
			return route{}, err
		}
		way.to = func(up ref.Repository) (string, error) {
			return expression.ReplaceAllString(up.Path, *d.Replacement), nil
		}
	case d.Template != "":
		compiled, err := parseTemplate(d.Template)
		if err != nil {
			return route{}, err
		}
		way.to = func(up ref.Repository) (string, error) { return execute(compiled, up) }
	default:
		way.to = func(up ref.Repository) (string, error) { return path.Join(d.Prefix, up.Path), nil }
	}
	return way, nil
}

// target returns the repository that upstream is mirrored to, and the tag it gets there
// where the destination names one.
func (w route) target(upstream ref.Repository) (ref.Reference, error) {
	if w.to == nil {
		return w.fixed, nil
	}
	mapped, err := w.to(upstream)
	if err != nil {
		return ref.Reference{}, err
	}
	target, err := ref.Under(w.host, mapped)
	if err != nil || mapped == "" {
		return ref.Reference{}, fmt.Errorf("%s becomes the path %s, which no repository can have", upstream, quoted(mapped))
	}
	return ref.Reference{Repository: target}, nil
}

// upstreamParts is what a template is given.
type upstreamParts struct {
	Registry  string
	Path      string
	Namespace string
	Name      string
}

// execute returns the path that a template makes of an upstream repository.
func execute(t *template.Template, up ref.Repository) (string, error) {
	namespace, name := path.Split(up.Path)
	var b strings.Builder
	err := t.Execute(&limited{w: &b, left: maxText}, upstreamParts{
		Registry: up.Host, Path: up.Path, Namespace: strings.TrimSuffix(namespace, "/"), Name: name,
	})
	if err != nil {
		return "", templateProblem(err)
	}
	return b.String(), nil
}

// templateProblem shortens what package template says.
func templateProblem(err error) error {
	text := strings.TrimPrefix(oneLine(err.Error()), "template: ")
	text = strings.ReplaceAll(text, "config.upstreamParts", "an upstream")
	return fmt.Errorf("the template fails: %s", text)
}

var errTooLong = fmt.Errorf("more than %d characters", maxText)

// limited writes so much and no more.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, errTooLong
	}
	l.left -= len(p)
	return l.w.Write(p)
}

// checkTemplate parses a template and tries it on an upstream.
func checkTemplate(s string) error {
	t, err := parseTemplate(s)
	if err != nil {
		return err
	}
	_, err = execute(t, ref.Repository{Host: "registry.example.com", Path: "team/name"})
	return err
}

// parseTemplate reads a template that ends: without loops, templates within the
// template, and functions that make much of little.
func parseTemplate(s string) (*template.Template, error) {
	if len(s) > maxTemplate {
		return nil, fmt.Errorf("a template of %d characters, where %d are the most", len(s), maxTemplate)
	}
	t, err := template.New("template").Option("missingkey=error").Funcs(template.FuncMap{
		"lower":      strings.ToLower,
		"replace":    replace,
		"trimPrefix": func(prefix, s string) string { return strings.TrimPrefix(s, prefix) },
		"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
	}).Parse(s)
	if err != nil {
		return nil, templateProblem(err)
	}
	if len(t.Templates()) != 1 || !harmless(t.Root) {
		return nil, errors.New("the template uses more than fields, if, with, and the functions lower, replace, trimPrefix, trimSuffix, and, or, not, eq, ne")
	}
	return t, nil
}

func replace(old, with, s string) (string, error) {
	if grown := strings.Count(s, old)*len(with) + len(s); grown > maxText {
		return "", errTooLong
	}
	return strings.ReplaceAll(s, old, with), nil
}

// harmless reports whether a template does nothing but choose and write.
func harmless(n parse.Node) bool {
	switch n := n.(type) {
	case *parse.ListNode:
		return n == nil || !slices.ContainsFunc(n.Nodes, func(n parse.Node) bool { return !harmless(n) })
	case *parse.ActionNode:
		return harmless(n.Pipe)
	case *parse.IfNode:
		return harmless(n.Pipe) && harmless(n.List) && harmless(n.ElseList)
	case *parse.WithNode:
		return harmless(n.Pipe) && harmless(n.List) && harmless(n.ElseList)
	case *parse.PipeNode:
		return !slices.ContainsFunc(n.Cmds, func(c *parse.CommandNode) bool { return !harmless(c) })
	case *parse.CommandNode:
		return !slices.ContainsFunc(n.Args, func(n parse.Node) bool { return !harmless(n) })
	case *parse.ChainNode:
		return harmless(n.Node)
	case *parse.IdentifierNode:
		return slices.Contains([]string{"lower", "replace", "trimPrefix", "trimSuffix", "and", "or", "not", "eq", "ne"}, n.Ident)
	case *parse.TextNode, *parse.FieldNode, *parse.VariableNode, *parse.DotNode,
		*parse.StringNode, *parse.NumberNode, *parse.BoolNode, *parse.CommentNode:
		return true
	}
	return false
}
