package clients

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A kind within itself (a schema in a schema) is filled so often.
const nestedAtMost = 2

// filler fills objects by their types: every field, or every pointer with a zero behind it. The same type is filled
// the same way each time.
type filler struct {
	zeros bool
	count int
	open  map[reflect.Type]int
}

// filled is a new object of the type of `like` with something in every field; with zeros, every pointer leads to a
// zero, every list and map has one, and everything else is left out.
func filled(like runtime.Object, zeros bool) runtime.Object {
	object := reflect.New(reflect.TypeOf(like).Elem())
	f := &filler{zeros: zeros, open: map[reflect.Type]int{}}
	f.fill(object.Elem())
	return object.Interface().(runtime.Object)
}

func (f *filler) next() int {
	f.count++
	return f.count
}

// special fills the types that have forms of their own in JSON and protobuf.
func (f *filler) special(value reflect.Value) bool {
	moment := time.Date(2026, 1, 2, 3, 4, f.count%60, 0, time.UTC)
	switch value.Interface().(type) {
	case metav1.Time:
		if !f.zeros {
			value.Set(reflect.ValueOf(metav1.NewTime(moment)))
		}
	case metav1.MicroTime:
		if !f.zeros {
			value.Set(reflect.ValueOf(metav1.NewMicroTime(moment.Add(6 * time.Microsecond))))
		}
	case resource.Quantity:
		text := "0"
		if !f.zeros {
			text = fmt.Sprintf("%dm", 1+f.next())
		}
		value.Set(reflect.ValueOf(resource.MustParse(text)))
	case intstr.IntOrString:
		if !f.zeros && f.next()%2 == 0 {
			value.Set(reflect.ValueOf(intstr.FromString(fmt.Sprintf("%d%%", f.count%100))))
		} else if !f.zeros {
			value.Set(reflect.ValueOf(intstr.FromInt32(int32(f.count))))
		}
	case runtime.RawExtension:
		value.Set(reflect.ValueOf(runtime.RawExtension{Raw: []byte(`{"any":["thing"]}`)}))
	case metav1.FieldsV1:
		value.Set(reflect.ValueOf(metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:labels":{}}}`)}))
	case apiextensions.JSON:
		value.Set(reflect.ValueOf(apiextensions.JSON{Raw: []byte(`{"any":["thing"]}`)}))
	case apiextensions.JSONSchemaPropsOrBool:
		f.union(value, "Allows", f.count%2 == 0)
	case apiextensions.JSONSchemaPropsOrArray:
		f.union(value, "JSONSchemas", f.count%2 == 0)
	case apiextensions.JSONSchemaPropsOrStringArray:
		f.union(value, "Property", f.count%2 == 0)
	case metav1.TypeMeta:
	default:
		return false
	}
	return true
}

// union fills one side of what is a schema or something else.
func (f *filler) union(value reflect.Value, other string, schema bool) {
	f.next()
	if schema && f.open[reflect.TypeFor[apiextensions.JSONSchemaProps]()] < nestedAtMost {
		if other == "Allows" {
			value.FieldByName("Allows").SetBool(true)
		}
		f.fill(value.FieldByName("Schema"))
		return
	}
	if other != "JSONSchemas" || f.open[reflect.TypeFor[apiextensions.JSONSchemaProps]()] < nestedAtMost {
		f.fill(value.FieldByName(other))
	}
}

func (f *filler) fill(value reflect.Value) {
	if value.Kind() == reflect.Struct && f.special(value) {
		return
	}
	switch value.Kind() {
	case reflect.Struct:
		f.open[value.Type()]++
		for i := range value.NumField() {
			if tag := value.Type().Field(i).Tag.Get("protobuf"); tag != "" && tag != "-" && f.hasRoom(value.Field(i).Type()) {
				f.fill(value.Field(i))
			}
		}
		f.open[value.Type()]--
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		f.fill(value.Elem())
	case reflect.Slice:
		if value.Type().Elem().Kind() == reflect.Uint8 {
			value.SetBytes([]byte{})
			if !f.zeros {
				value.SetBytes([]byte(fmt.Sprintf("bytes-%d\xff", f.next())))
			}
			return
		}
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		f.fill(value.Index(0))
	case reflect.Map:
		entry := reflect.New(value.Type().Elem()).Elem()
		f.fill(entry)
		key := reflect.ValueOf("key").Convert(value.Type().Key())
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(key, entry)
	default:
		f.scalar(value)
	}
}

// hasRoom is false for a type that is within itself often enough.
func (f *filler) hasRoom(of reflect.Type) bool {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Map {
		of = of.Elem()
	}
	return f.open[of] < nestedAtMost
}

func (f *filler) scalar(value reflect.Value) {
	if f.zeros {
		return
	}
	switch value.Kind() {
	case reflect.String:
		value.SetString(strings.ToLower(value.Type().Name()) + fmt.Sprint("-", f.next()))
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int32, reflect.Int64, reflect.Int:
		value.SetInt(int64(f.next()))
	case reflect.Uint32, reflect.Uint64:
		value.SetUint(uint64(f.next()))
	case reflect.Float64, reflect.Float32:
		value.SetFloat(float64(f.next()) + 0.5)
	default:
		panic("no way to fill a " + value.Type().String())
	}
}
