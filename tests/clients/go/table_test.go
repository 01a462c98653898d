package clients

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// Where the API server keeps which field has which number.
const table = "../../../src/apiserver/src/rest/protobuf/fields.txt"

// Alpha fields of 1.36 that 1.37 has in another form.
var replaced = map[string]bool{
	"api.core.v1.nodeallocatableresourceclaimstatus resources":            true,
	"api.resource.v1.device nodeallocatableresourcemappings":              true,
	"api.core.v1.podspec workloadref":                                     true,
	"api.resource.v1.nodeallocatableresourcemapping capacitykey":          true,
	"api.resource.v1.nodeallocatableresourcemapping allocationmultiplier": true,
}

// Types with forms of their own in JSON and protobuf; a zero of those that are marked is something.
var ownForms = map[string]bool{
	"Quantity": false, "Time": false, "MicroTime": false, "RawExtension": false, "FieldsV1": false, "TypeMeta": false,
	"JSONSchemaPropsOrArray": false, "JSONSchemaPropsOrStringArray": false,
	"IntOrString": true, "JSON": true, "JSONSchemaPropsOrBool": true,
}

// The server's table has every field of every kind as Go has it: its number, and a star where Go's JSON tells a zero.
func TestTheTableOfNumbersIsGos(t *testing.T) {
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		message, fields, _ := strings.Cut(line, " ")
		for _, field := range strings.Fields(fields) {
			name, number, _ := strings.Cut(field, "=")
			known[message+" "+name] = number
		}
	}
	seen := map[reflect.Type]bool{}
	for _, gvk := range kinds() {
		checkType(t, known, seen, reflect.TypeOf(newOf(gvk)))
	}
	t.Logf("%d messages", len(seen))
}

// messageOf is the name that the table has of a type.
func messageOf(of reflect.Type) string {
	path := strings.ReplaceAll(strings.TrimPrefix(of.PkgPath(), "k8s.io/"), "-", "_")
	return strings.ToLower(strings.ReplaceAll(path, "/", ".") + "." + of.Name())
}

func checkType(t *testing.T, known map[string]string, seen map[reflect.Type]bool, of reflect.Type) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Map {
		of = of.Elem()
	}
	if _, own := ownForms[of.Name()]; own || of.Kind() != reflect.Struct || seen[of] {
		return
	}
	seen[of] = true
	for i := range of.NumField() {
		field := of.Field(i)
		parts := strings.Split(field.Tag.Get("protobuf"), ",")
		if len(parts) < 2 {
			continue
		}
		name, rest, _ := strings.Cut(field.Tag.Get("json"), ",")
		wanted := parts[1]
		if name == "" {
			name, wanted = field.Name, fmt.Sprintf("%s@%s", wanted, messageOf(elementOf(field.Type)))
		} else if tellsZero(field.Type, strings.Contains(rest, "omitempty") || strings.Contains(rest, "omitzero")) {
			wanted += "*"
		}
		name = messageOf(of) + " " + strings.ToLower(strings.NewReplacer("$", "", "-", "", "_", "").Replace(name))
		if known[name] != wanted && !replaced[name] {
			t.Errorf("%s is %q in the table, and %q of Go", name, known[name], wanted)
		}
		checkType(t, known, seen, field.Type)
	}
}

func elementOf(of reflect.Type) reflect.Type {
	if of.Kind() == reflect.Pointer {
		return of.Elem()
	}
	return of
}

// tellsZero is whether JSON has a field of this type that is zero, or points to a zero.
func tellsZero(of reflect.Type, omitted bool) bool {
	switch of.Kind() {
	case reflect.Slice, reflect.Map:
		return false
	case reflect.Pointer:
		return of.Elem().Kind() != reflect.Struct || ownForms[of.Elem().Name()]
	case reflect.Struct:
		return ownForms[of.Name()]
	default:
		return !omitted
	}
}
