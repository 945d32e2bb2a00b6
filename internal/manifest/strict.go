package manifest

import (
	"bytes"
	"encoding/json"
	"strings"
)

// fields are the names that mean something here, in the objects named by nested.
var (
	fields = []string{
		"schemaVersion", "mediaType", "artifactType", "manifests", "config", "layers", "subject", "annotations",
		"fsLayers", "history", "digest", "size", "urls", "data", "platform", "os", "architecture", "variant",
	}
	nested = map[string]bool{"manifests": true, "config": true, "layers": true, "subject": true, "platform": true}
)

// unambiguous refuses JSON that two readers may understand differently: a name given
// twice, of which one reader takes the first and another the last; and a name that is
// one of ours but for the case of its letters, which Go takes for ours and others do
// not. What was judged and copied here could otherwise be another image there.
//
// Raw has been unmarshalled already, so its syntax and its depth are known to be good.
func unambiguous(raw []byte) error {
	return strict{json.NewDecoder(bytes.NewReader(raw))}.value(true)
}

type strict struct{ tokens *json.Decoder }

// value reads one value. Ours says that it is a part of the document whose names mean
// something here.
func (s strict) value(ours bool) error {
	token, err := s.tokens.Token()
	if err != nil {
		return unsupported("%v", err)
	}
	switch token {
	case json.Delim('{'):
		return s.object(ours)
	case json.Delim('['):
		return s.array(ours)
	}
	return nil
}

func (s strict) array(ours bool) error {
	for s.tokens.More() {
		if err := s.value(ours); err != nil {
			return err
		}
	}
	return s.end()
}

func (s strict) object(ours bool) error {
	seen := map[string]bool{}
	for s.tokens.More() {
		token, err := s.tokens.Token()
		if err != nil {
			return unsupported("%v", err)
		}
		name, _ := token.(string)
		switch {
		case seen[name]:
			return unsupported("it has %q twice, so it is not clear what it is", name)
		case ours && misspelt(name):
			return unsupported("it has a field %q, which readers that do not tell capitals apart take for another", name)
		}
		seen[name] = true
		if err := s.value(ours && nested[name]); err != nil {
			return err
		}
	}
	return s.end()
}

func (s strict) end() error {
	if _, err := s.tokens.Token(); err != nil {
		return unsupported("%v", err)
	}
	return nil
}

// misspelt reports whether name is one of ours but for the case of its letters.
func misspelt(name string) bool {
	for _, field := range fields {
		if name != field && strings.EqualFold(name, field) {
			return true
		}
	}
	return false
}
