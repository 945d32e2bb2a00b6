package config

import (
	"encoding/json"
	"reflect"
	"strconv"
)

// SchemaURL is where editors find the schema of the file.
const SchemaURL = "https://raw.githubusercontent.com/ecr-mirror-sync/ecr-mirror-sync/main/docs/config.schema.json"

// A schema is a JSON Schema, or a part of one. It is written with its keys sorted.
type schema map[string]any

// Schema returns the JSON Schema (draft 2020-12) of the file, for editors and other
// programs. It takes everything that Load takes; what involves several keys, such as a
// regex without its replacement, only Load knows.
func Schema() ([]byte, error) {
	g := generator{defs: schema{}}
	root := g.structure(reflect.TypeFor[File]())
	root["patternProperties"] = schema{"^x-": schema{"description": "Yours: a place for anchors."}}
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = SchemaURL
	root["title"] = "ecr-mirror-sync configuration"
	root["$defs"] = g.defs
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(out, '\n'), nil
}

// A generator collects the schemas of structs by the names of their types.
type generator struct {
	defs schema
}

// A described type says itself what it may be.
type described interface {
	schema(g *generator) schema
}

func (g *generator) structure(t reflect.Type) schema {
	properties := schema{}
	var required []string
	for _, f := range fieldsOf(t) {
		kind := t.FieldByIndex(f.index).Type
		property := g.value(kind, f)
		if isSection(kind) && !f.must {
			property = schema{"anyOf": []schema{property, {"type": "null"}}}
		}
		if f.doc != "" {
			property["description"] = f.description()
		}
		properties[f.name] = property
		if f.must && f.name != "apiVersion" {
			required = append(required, f.name)
		}
	}
	s := schema{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// isSection reports whether the key may be left empty, as when its lines are commented
// out.
func isSection(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Slice, reflect.Map:
		return t != reflect.TypeFor[Secret]()
	case reflect.Pointer:
		return isSection(t.Elem())
	default:
		return false
	}
}

func (f field) description() string {
	if f.fallback == "" {
		return f.doc
	}
	return f.doc + " Default: " + f.fallback + "."
}

// value returns the schema of a key's value.
func (g *generator) value(t reflect.Type, f field) schema {
	if d, ok := reflect.TypeAssert[described](reflect.New(t)); ok {
		return d.schema(g)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.value(t.Elem(), f)
	case reflect.Struct:
		return g.reference(t)
	case reflect.Slice:
		return g.list(t, f)
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": schema{"anyOf": []schema{g.value(t.Elem(), field{}), {"type": "null"}}}}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int:
		return schema{"type": "integer", "minimum": f.low, "maximum": f.high}
	case reflect.Float64:
		return schema{"type": "number", "exclusiveMinimum": f.low, "maximum": f.high}
	default:
		return textSchema(f.is)
	}
}

// reference returns a reference to the schema of a struct, which is made once.
func (g *generator) reference(t reflect.Type) schema {
	if _, made := g.defs[t.Name()]; !made {
		g.defs[t.Name()] = nil // in case the struct holds itself
		g.defs[t.Name()] = g.structure(t)
	}
	return schema{"$ref": "#/$defs/" + t.Name()}
}

func (g *generator) list(t reflect.Type, f field) schema {
	item := g.value(t.Elem(), f)
	if !standsAlone(t.Elem()) {
		return schema{"type": "array", "items": item}
	}
	return oneOrMany(item)
}

// oneOrMany is the schema of a list whose only item may stand without brackets.
func oneOrMany(item schema) schema {
	return schema{"anyOf": []schema{item, {"type": "array", "items": item, "minItems": 1}}}
}

// textSchema returns the schema of a grammar. Texts that may look like numbers need no
// quotes in YAML, where editors take them for what they look like.
func textSchema(is string) schema {
	g := grammarOf(is)
	s := schema{"type": "string"}
	if g.loose {
		s["type"] = []string{"string", "number", "boolean"}
	}
	if g.values != nil {
		s["enum"] = spellings(g)
	}
	if g.pattern != nil {
		s["pattern"] = g.pattern.String()
	}
	return s
}

// spellings are the values of a grammar, and the numbers that those without quotes are.
func spellings(g grammar) []any {
	var all []any
	for _, value := range g.values {
		all = append(all, value)
		if _, err := strconv.ParseFloat(value, 64); err == nil && g.loose {
			all = append(all, json.Number(value))
		}
	}
	return all
}

func (*Secret) schema(*generator) schema {
	return schema{"type": []string{"string", "number", "boolean"}}
}

func (*Credentials) schema(g *generator) schema {
	return wordOr[Credentials](g, "none")
}

// wordOr is the schema of a struct that a word may stand for.
func wordOr[T any](g *generator, word string) schema {
	return schema{"anyOf": []schema{{"const": word}, g.reference(reflect.TypeFor[T]())}}
}

func (*Schedule) schema(g *generator) schema {
	return schema{"anyOf": []schema{{"type": "string"}, g.reference(reflect.TypeFor[Schedule]())}}
}

func (*From) schema(g *generator) schema {
	return schema{"anyOf": []schema{textSchema("repository"), g.reference(reflect.TypeFor[From]())}}
}

func (*Destination) schema(g *generator) schema {
	return schema{"anyOf": []schema{textSchema("destination"), g.reference(reflect.TypeFor[Destination]())}}
}

func (*Terms) schema(g *generator) schema {
	return oneOrMany(g.word()).or(g.reference(reflect.TypeFor[Terms]()))
}

func (*Patterns) schema(g *generator) schema {
	return oneOrMany(g.word()).or(g.reference(reflect.TypeFor[Patterns]()))
}

func (*Keep) schema(g *generator) schema {
	return oneOrMany(g.word()).or(g.reference(reflect.TypeFor[Keep]()))
}

func (*Tags) schema(g *generator) schema {
	return oneOrMany(g.word()).or(g.reference(reflect.TypeFor[Tags]()))
}

// or adds an alternative to a schema of alternatives.
func (s schema) or(other schema) schema {
	alternatives, _ := s["anyOf"].([]schema)
	return schema{"anyOf": append(alternatives, other)}
}

// word returns a reference to the schema of a short word, or of one that lost its quotes.
func (g *generator) word() schema {
	text := []string{"string", "number", "boolean"}
	g.defs["Word"] = schema{"anyOf": []schema{
		{"type": text},
		{
			"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
			"properties": schema{"semver": schema{"type": text}, "regex": schema{"type": text}, "!semver": schema{"type": text}, "!regex": schema{"type": text}},
		},
	}}
	return schema{"$ref": "#/$defs/Word"}
}
