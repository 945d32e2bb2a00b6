package config

import (
	"bytes"
	"reflect"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Show writes a configuration as YAML that Load reads back to it: the merge of its
// files, defaults filled in. Secrets that stand in a file are redacted, and Load says so
// if it meets one; references are written as they are.
func Show(c Config) ([]byte, error) {
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(structureNode(c.File)); err != nil {
		return nil, err
	}
	if err := encoder.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// A shown type decides itself how it is written.
type shown interface {
	show() *yaml.Node
}

// structureNode writes the keys of a struct that are set, in their order.
func structureNode(v any) *yaml.Node {
	value := reflect.ValueOf(v)
	m := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(value.Type()) {
		if n := nodeOf(value.FieldByIndex(f.index)); n != nil {
			m.Content = append(m.Content, text(f.name), n)
		}
	}
	return m
}

// nodeOf returns nil for what is not set.
func nodeOf(v reflect.Value) *yaml.Node {
	switch {
	case v.IsZero():
		return nil
	case v.Kind() == reflect.Pointer:
		v = v.Elem()
	}
	return alwaysNode(v)
}

// alwaysNode writes a value whether it is zero or not.
func alwaysNode(v reflect.Value) *yaml.Node {
	if s, ok := reflect.TypeAssert[shown](v); ok {
		return s.show()
	}
	switch v.Kind() {
	case reflect.Struct:
		return structureNode(v.Interface())
	case reflect.Slice:
		return listNode(v)
	case reflect.Map:
		return mapNode(v)
	case reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool())}
	case reflect.Int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(v.Int(), 10)}
	case reflect.Float64:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: strconv.FormatFloat(v.Float(), 'f', -1, 64)}
	default:
		return text(v.String())
	}
}

func listNode(v reflect.Value) *yaml.Node {
	l := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range v.Len() {
		l.Content = append(l.Content, alwaysNode(v.Index(i)))
	}
	return l
}

func mapNode(v reflect.Value) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode}
	var keys []string
	for _, key := range v.MapKeys() {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	for _, key := range keys {
		m.Content = append(m.Content, text(key), alwaysNode(v.MapIndex(reflect.ValueOf(key))))
	}
	return m
}

// text writes a text so that it is read as one: 1.10 in quotes.
func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}
