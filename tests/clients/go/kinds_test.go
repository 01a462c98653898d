package clients

import (
	"sort"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
)

// everyScheme knows the built-in kinds and CustomResourceDefinitions.
var everyScheme = func() *runtime.Scheme {
	every := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensions.AddToScheme} {
		if err := add(every); err != nil {
			panic(err)
		}
	}
	return every
}()

var codecs = serializer.NewCodecFactory(everyScheme)

// Bodies that are sent and answered without being a resource, beside the kinds of the registry.
var bodies = map[string]bool{"Eviction": true, "Scale": true, "TokenRequest": true, "Binding": true}

// kinds are the kinds of stable versions that are objects or bodies, without lists and options of queries.
func kinds() []schema.GroupVersionKind {
	var found []schema.GroupVersionKind
	for gvk := range everyScheme.AllKnownTypes() {
		stable := gvk.Version == "v1" || gvk.Version == "v2"
		notOne := strings.HasSuffix(gvk.Kind, "List") || strings.HasSuffix(gvk.Kind, "Options") ||
			gvk.Kind == "WatchEvent" || gvk.Kind == "PodStatusResult" || gvk.Kind == "RangeAllocation" ||
			gvk.Kind == "SerializedReference" || strings.HasPrefix(gvk.Kind, "API") ||
			gvk.Kind == "ConversionReview" || gvk.Kind == "AdmissionReview" || gvk.Group == "imagepolicy.k8s.io"
		if stable && !notOne && gvk.Version != runtime.APIVersionInternal {
			found = append(found, gvk)
		}
	}
	sort.Slice(found, func(a, b int) bool { return found[a].String() < found[b].String() })
	return found
}

// new makes an empty object of a kind, with apiVersion and kind set.
func newOf(gvk schema.GroupVersionKind) runtime.Object {
	object, err := everyScheme.New(gvk)
	if err != nil {
		panic(err)
	}
	object.GetObjectKind().SetGroupVersionKind(gvk)
	return object
}
