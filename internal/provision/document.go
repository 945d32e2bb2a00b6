package provision

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// shown is how many characters of a document are for people.
const shown = 200

// sameJSON reports whether two documents say the same. What is no JSON says nothing.
func sameJSON(a, b string) bool {
	var x, y any
	if decode(a, &x) != nil || decode(b, &y) != nil {
		return a == b
	}
	return reflect.DeepEqual(x, y)
}

// decode keeps numbers as they are written: some do not fit into a float.
func decode(s string, to any) error {
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.UseNumber()
	return d.Decode(to)
}

// document shows JSON in one line, cut where it is long.
func document(s string) string {
	var b bytes.Buffer
	if s != "" && json.Compact(&b, []byte(s)) == nil {
		s = b.String()
	}
	if letters := []rune(s); len(letters) > shown {
		return string(letters[:shown]) + "…"
	}
	return orNone(s)
}
