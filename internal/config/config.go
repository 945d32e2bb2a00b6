// Package config reads the YAML file. Files, the environment and a way to read them
// flow in; a checked value flows out, with the mirrors compiled to what the rest of the
// program follows, or every problem at once, each with its place.
//
// The package does no I/O of its own and knows no registry. Its format is described by
// the types File and below: the decoder, the JSON Schema and the reference for users
// are readings of their tags.
package config

import (
	"fmt"
	"slices"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A Config is what the files say, merged, checked and compiled.
type Config struct {
	// File is the merge, with the program's own defaults filled in.
	File File

	Rules    []Rule    // mirrors of single repositories, in their order
	Patterns []Pattern // mirrors of what a registry lists

	// Repository is what the file asks of destinations that none of its mirrors names.
	Repository provision.Rule
}

// Mirrors returns the rules for single repositories, without their names. Those of
// Patterns are known once the registries were listed.
func (c *Config) Mirrors() []discover.Mirror { return mirrorsOf(c.Rules) }

// MayWriteTo reports whether the mirror of a name, one that stands for what a registry
// lists, may write to a repository.
func (c *Config) MayWriteTo(name string, repo ref.Repository) bool {
	return slices.ContainsFunc(c.Patterns, func(p Pattern) bool { return p.Name == name && p.MayWriteTo(repo) })
}

func mirrorsOf(rules []Rule) []discover.Mirror {
	mirrors := make([]discover.Mirror, len(rules))
	for i, rule := range rules {
		mirrors[i] = rule.Mirror
	}
	return mirrors
}

// Move says of mirrors where they are really written, by their names: a configuration
// that was made from another file has its reports name that one.
func (c *Config) Move(places map[string]Place) {
	move := func(m *discover.Mirror) {
		if place, ok := places[m.Name]; ok {
			m.Origin.Place = place.line()
		}
	}
	for i := range c.Rules {
		move(&c.Rules[i].Mirror)
	}
	for i := range c.Patterns {
		move(&c.Patterns[i].rule)
	}
}

// Load reads and merges the files, later over earlier: maps key by key, mirrors by their
// names, lists and single values as a whole.
//
// readFile reads the configuration files and those that secrets refer to; env looks up
// the variables that they refer to. Relative paths in a file are meant from its own
// directory and handed on as seen from the working directory. References that a later
// file replaces are not followed.
//
// The error is Problems, and then the Config is nil.
func Load(paths []string, env func(string) (string, bool), readFile func(string) ([]byte, error)) (*Config, error) {
	book := &notebook{files: paths}
	if len(paths) == 0 {
		book.add(Place{}, "", "no configuration file was named", "")
		return nil, book.err()
	}
	var merged *node
	whole := true
	for i, path := range paths {
		if slices.Contains(paths[:i], path) {
			book.add(Place{File: path}, "", "the file is given twice", "each file once")
			continue
		}
		read := readOne(path, readFile, book)
		switch {
		case read == nil:
			whole = false
		case merged == nil:
			merged = read
		default:
			merged = merge(merged, read, "")
		}
	}
	if !whole || merged == nil {
		return nil, book.err()
	}
	config := assemble(merged, &secrets{env: env, readFile: readFile}, book)
	if err := book.err(); err != nil {
		return nil, err
	}
	return config, nil
}

// readOne reads a file and checks its keys and values, so that problems are found in it
// that another file hides. What only the whole must have is not missed.
func readOne(path string, readFile func(string) ([]byte, error), book *notebook) *node {
	data, err := readFile(path)
	if err != nil {
		book.add(Place{File: path}, "", fmt.Sprintf("the file cannot be read: %s", oneLine(err.Error())), "")
		return nil
	}
	n := readNode(path, data, "a configuration, beginning with apiVersion: "+APIVersion, book)
	if n == nil || n.kind == unread {
		return nil
	}
	var alone File
	newReader(book, nil).structureOf(&alone, n, "")
	if n.kind != mapping {
		return nil
	}
	return n
}

// assemble reads the merge and compiles it.
func assemble(merged *node, secrets *secrets, book *notebook) *Config {
	r := newReader(book, secrets)
	config := &Config{}
	r.structureOf(&config.File, merged, "")
	c := compiler{reader: r, file: &config.File}
	c.platforms(&Mirror{}, "defaults")
	c.compile()
	config.Rules, config.Patterns = c.rules, c.wild
	config.Repository = config.File.Defaults.Repositories.over(nil).rule()
	config.File.Defaults.fill()
	return config
}

// fill writes out what holds where the file says nothing.
func (d *Defaults) fill() {
	if len(d.Platforms) == 0 && d.Platform == "" {
		d.Platforms = []string{"all"}
	}
	d.Referrers = new(orElse(d.Referrers, discover.DefaultOptions().Referrers))
	d.Replace = new(orElse(d.Replace, discover.DefaultOptions().Replace))
	d.MinTags = new(orElse(d.MinTags, 0))
}

func (s *Scope) check(r *reader, path string) {
	if keys := s.Keys(); keys.Image == keys.Tags {
		r.fail(path, "imageKey and tagKey are the same", "two different resource tags")
	}
	checkRole(r, path, s.Role, s.ExternalID, s.SessionName)
}
