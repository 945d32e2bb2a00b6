package config

import (
	"reflect"
	"strconv"
	"strings"
)

// A field is a key of the format, read off a struct's field.
type field struct {
	name     string
	doc      string
	fallback string // what holds where the key is absent, in words
	is       string // the grammar of a text
	aka      []string
	must     bool
	low      int // bounds of a number
	high     int
	index    []int
}

// fieldsOf returns the keys of a struct in their order, embedded structs' first.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for _, f := range reflect.VisibleFields(t) {
		name := f.Tag.Get("yaml")
		if name == "" {
			continue
		}
		fields = append(fields, field{
			name:     name,
			doc:      f.Tag.Get("doc"),
			fallback: f.Tag.Get("default"),
			is:       f.Tag.Get("is"),
			aka:      words(f.Tag.Get("aka")),
			must:     f.Tag.Get("must") == "true",
			low:      number(f.Tag.Get("min")),
			high:     number(f.Tag.Get("max")),
			index:    f.Index,
		})
	}
	return fields
}

// keyed is what the keys of a map are.
func (f field) keyed() string {
	if f.is == "pathPrefix" {
		return "path"
	}
	return "host"
}

func words(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// number reads a bound, which is written in the program.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
