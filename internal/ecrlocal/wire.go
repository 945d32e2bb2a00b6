package ecrlocal

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// casing is how a service spells its members on the wire.
type casing int

const (
	camel  casing = iota // repositoryName: ECR and ECR Public
	pascal               // ResourceARN: the tagging API
)

// encodeAWS encodes an SDK output as JSON 1.1: members in the service's casing, absent ones
// left out, timestamps as seconds since the epoch. Empty lists are kept, as AWS does.
func encodeAWS(out any, c casing) []byte {
	raw, err := json.Marshal(wireValue(reflect.ValueOf(out), c))
	if err != nil { // SDK types are made of strings, numbers, lists and maps
		panic(err)
	}
	return raw
}

// wireValue turns v into what encoding/json encodes as AWS does.
func wireValue(v reflect.Value, c casing) any {
	switch v.Kind() {
	case reflect.Pointer:
		return wireValue(v.Elem(), c)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v.Bytes()
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = wireValue(v.Index(i), c)
		}
		return list
	case reflect.Struct:
		if at, ok := reflect.TypeAssert[time.Time](v); ok {
			return math.Round(float64(at.UnixMicro())/1e3) / 1e3
		}
		return wireMembers(v, c)
	case reflect.Map, reflect.String, reflect.Bool, reflect.Int32, reflect.Int64, reflect.Float64:
		return v.Interface()
	default:
		panic(fmt.Sprintf("ecrlocal: no wire form for %s", v.Type()))
	}
}

func wireMembers(v reflect.Value, c casing) map[string]any {
	members := make(map[string]any)
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() || field.Name == "ResultMetadata" || absent(v.Field(i)) {
			continue
		}
		members[memberName(v.Type(), field.Name, c)] = wireValue(v.Field(i), c)
	}
	return members
}

// memberName is a field's name on the wire. Resource tags have Key and Value everywhere.
func memberName(of reflect.Type, field string, c casing) string {
	if c == pascal || of.Name() == "Tag" {
		return field
	}
	return strings.ToLower(field[:1]) + field[1:]
}

// absent reports whether a member was not set: nil, or an empty enumeration value.
func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsNil()
	case reflect.String:
		return v.Len() == 0
	default:
		return false
	}
}
