package clients

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// What Go reads of the server's protobuf is what it reads of the server's JSON: the tests of this file ask for
// everything in both and compare. What is sent is compared by what the server makes of it.

// servedKind is what the server says of a kind that Go knows, too.
type servedKind struct {
	metav1.APIResource
	schema.GroupVersionKind
}

func (r servedKind) can(verb string) bool {
	for _, known := range r.Verbs {
		if known == verb {
			return true
		}
	}
	return false
}

// resources are the resources of built-in kinds, without subresources.
func resources(t *testing.T, c *client) []servedKind {
	t.Helper()
	_, lists, err := c.typed.Discovery().ServerGroupsAndResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		t.Fatal(err)
	}
	var found []servedKind
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range list.APIResources {
			if gvk := version.WithKind(one.Kind); !strings.Contains(one.Name, "/") && everyScheme.Recognizes(gvk) {
				found = append(found, servedKind{one, gvk})
			}
		}
	}
	return found
}

// restOf is the client below the typed ones.
func (c *client) restOf(t *testing.T, version schema.GroupVersion) *rest.RESTClient {
	t.Helper()
	config := rest.CopyConfig(c.config)
	config.GroupVersion, config.APIPath, config.NegotiatedSerializer = &version, "/apis", codecs.WithoutConversion()
	if version.Group == "" {
		config.APIPath = "/api"
	}
	return succeeds[*rest.RESTClient](t)(rest.RESTClientFor(config))
}

// both are a client that speaks JSON and one that speaks protobuf.
func both(t *testing.T) (*client, *client) {
	t.Helper()
	of := func(at int) *client {
		return clientOf(t, encodings[at].name, configOf(t, encodings[at].sends, encodings[at].accepts))
	}
	return of(0), of(1)
}

// into asks and reads the answer, which must have come in the client's encoding.
func (c *client) into(t *testing.T, request *rest.Request, empty runtime.Object) runtime.Object {
	t.Helper()
	var mediaType string
	result := request.Do(within(t)).ContentType(&mediaType)
	if err := result.Into(empty); err != nil {
		t.Fatalf("%s: %v", request.URL(), err)
	}
	if wanted := map[string]string{"json": jsonType, "protobuf": protobufType}[c.encoding]; mediaType != wanted {
		t.Errorf("%s was answered as %s", request.URL(), mediaType)
	}
	return empty
}

// What is there is listed in both, whole and as one of its objects.
// conformance: lists and objects of every kind are the same in JSON and protobuf
func TestListsAndObjectsAreTheSameInBoth(t *testing.T) {
	asJSON, asProtobuf := both(t)
	found, objects := resources(t, asJSON), 0
	for _, resource := range found {
		if !resource.can("list") {
			continue
		}
		t.Run(resource.GroupVersionKind.String(), func(t *testing.T) {
			first := asJSON.list(t, resource, "")
			accessor, err := meta.ListAccessor(first)
			if err != nil {
				t.Fatal(err)
			}
			// Others write meanwhile: the second is of the revision of the first.
			second := asProtobuf.list(t, resource, accessor.GetResourceVersion())
			same(t, "lists", typeless(t, first), typeless(t, second))
			items, err := meta.ExtractList(second)
			if err != nil {
				t.Fatal(err)
			}
			for at, item := range items {
				if at < 5 && resource.can("get") {
					asJSON.compareObject(t, asProtobuf, resource, item.(metav1.Object))
					objects++
				}
			}
		})
	}
	t.Logf("%d kinds, %d objects", len(found), objects)
}

// list is what there is now, or was at a revision.
func (c *client) list(t *testing.T, resource servedKind, revision string) runtime.Object {
	t.Helper()
	request := c.restOf(t, resource.GroupVersion()).Get().Resource(resource.Name)
	if revision != "" {
		request.Param("resourceVersion", revision).Param("resourceVersionMatch", string(metav1.ResourceVersionMatchExact))
	}
	kind := resource.GroupVersion().WithKind(resource.GroupVersionKind.Kind + "List")
	return c.into(t, request, newOf(kind))
}

// typeless takes the kinds out of the templates of a list's items.
func typeless(t *testing.T, list runtime.Object) runtime.Object {
	t.Helper()
	err := meta.EachListItem(list, func(item runtime.Object) error {
		templatesTypeless(item)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (c *client) compareObject(t *testing.T, other *client, resource servedKind, object metav1.Object) {
	t.Helper()
	get := func(c *client) metav1.Object {
		request := c.restOf(t, resource.GroupVersion()).Get().Resource(resource.Name).Name(object.GetName())
		request.NamespaceIfScoped(object.GetNamespace(), resource.Namespaced)
		return templatesTypeless(c.into(t, request, newOf(resource.GroupVersionKind))).(metav1.Object)
	}
	first, second := get(c), get(other)
	if first.GetResourceVersion() == second.GetResourceVersion() {
		same(t, object.GetName(), first, second)
	}
}

// Each kind is sent in both and not kept; what comes of it is the same.
// conformance: every kind that is sent is understood the same in JSON and protobuf
func TestWhatIsSentIsUnderstoodTheSameInBoth(t *testing.T) {
	asJSON, asProtobuf := both(t)
	plurals := map[schema.GroupVersionKind]servedKind{}
	for _, resource := range resources(t, asJSON) {
		plurals[resource.GroupVersionKind] = resource
	}
	for _, file := range []string{"core", "workloads", "cluster"} {
		for _, object := range samples(t, file) {
			gvk := object.GetObjectKind().GroupVersionKind()
			resource, served := plurals[gvk]
			t.Run(gvk.String(), func(t *testing.T) {
				if !served {
					t.Fatalf("%s is not served", gvk)
				}
				made := func(c *client) runtime.Object {
					request := c.restOf(t, resource.GroupVersion()).Post().Resource(resource.Name)
					request.NamespaceIfScoped(c.namespace, resource.Namespaced).Param("dryRun", "All")
					return ageless(c.into(t, request.Body(object), newOf(gvk)))
				}
				same(t, "answers", made(asJSON), made(asProtobuf))
			})
		}
	}
}

// ageless takes out what is another for each request.
func ageless(object runtime.Object) runtime.Object {
	accessor := object.(metav1.Object)
	accessor.SetUID("")
	accessor.SetCreationTimestamp(metav1.Time{})
	fields := accessor.GetManagedFields()
	for at := range fields {
		fields[at].Time = nil
	}
	return templatesTypeless(object)
}

// templatesTypeless takes the kind out of a StatefulSet's templates: the server names it in JSON, and protobuf has no
// room for it.
func templatesTypeless(object runtime.Object) runtime.Object {
	if set, ok := object.(*appsv1.StatefulSet); ok {
		for at := range set.Spec.VolumeClaimTemplates {
			set.Spec.VolumeClaimTemplates[at].TypeMeta = metav1.TypeMeta{}
		}
	}
	return object
}
