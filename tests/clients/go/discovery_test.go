package clients

import (
	"encoding/json"
	"strings"
	"testing"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/openapi3"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/util/retry"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// The aggregated form of discovery says what the documents one by one say.
// conformance: aggregated discovery says what the documents one by one say
func TestDiscoveryIsTheSameInBothForms(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		aggregated := discovery.NewDiscoveryClientForConfigOrDie(c.config)
		single := discovery.NewDiscoveryClientForConfigOrDie(c.config)
		single.UseLegacyDiscovery = true
		all := func(from *discovery.DiscoveryClient) ([]*metav1.APIGroup, map[string]metav1.APIResource) {
			groups, lists, err := from.ServerGroupsAndResources()
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]metav1.APIResource{}
			for _, list := range lists {
				for _, one := range list.APIResources {
					// What one form leaves to the list, and what only one form tells.
					version, _ := schema.ParseGroupVersion(list.GroupVersion)
					if one.Group == "" && one.Version == "" {
						one.Group, one.Version = version.Group, version.Version
					}
					one.StorageVersionHash, one.SingularName = "", ""
					found[list.GroupVersion+" "+one.Name] = one
				}
			}
			return groups, found
		}
		groups, resources := all(aggregated)
		singleGroups, singleResources := all(single)
		same(t, "groups", groups, singleGroups)
		same(t, "resources", resources, singleResources)
		version, err := aggregated.ServerVersion()
		if err != nil || version.Major != "1" || !strings.HasPrefix(version.GitVersion, "v1.") {
			t.Errorf("%v: %+v", err, version)
		}
		preferred, err := aggregated.ServerPreferredNamespacedResources()
		if err != nil || len(preferred) < 10 {
			t.Errorf("%v: %d groups", err, len(preferred))
		}
	})
}

// kubectl's ways from names to kinds, and a scale of any kind by them.
func TestNamesLeadToKinds(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		cached := memory.NewMemCacheClient(c.typed.Discovery())
		mapper := restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(cached), cached, nil)
		for short, kind := range map[string]string{"po": "Pod", "deploy": "Deployment", "hpa": "HorizontalPodAutoscaler", "crd": "CustomResourceDefinition"} {
			if found, err := mapper.KindFor(schema.GroupVersionResource{Resource: short}); err != nil || found.Kind != kind {
				t.Errorf("%s is %v: %v", short, found, err)
			}
		}
		made, err := c.typed.AppsV1().ReplicaSets(c.namespace).Create(within(t), replicaSet(0), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		scales, err := scale.NewForConfig(c.config, mapper, dynamicPath, scale.NewDiscoveryScaleKindResolver(cached))
		if err != nil {
			t.Fatal(err)
		}
		sets := schema.GroupResource{Group: "apps", Resource: "replicasets"}
		err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			got, err := scales.Scales(c.namespace).Get(within(t), sets, made.Name, metav1.GetOptions{})
			if err != nil || got.Spec.Replicas != 0 || got.Name != made.Name {
				return errorf("%w: %+v", err, got)
			}
			_, err = scales.Scales(c.namespace).Update(within(t), sets, got, metav1.UpdateOptions{})
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func dynamicPath(kind schema.GroupVersionKind) string {
	if kind.Group == corev1.GroupName {
		return "/api"
	}
	return "/apis"
}

// The schemas of OpenAPI v2 in protobuf and of v3, where the client asks for them by their hashes.
// conformance: schemas are published in OpenAPI v2 and v3, as Go reads them
func TestSchemasArePublishedInBothVersions(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		document, err := c.typed.Discovery().OpenAPISchema()
		if err != nil {
			t.Fatal(err)
		}
		var pod *openapi_v2.Schema
		for _, definition := range document.GetDefinitions().GetAdditionalProperties() {
			if definition.GetName() == "io.k8s.api.core.v1.Pod" {
				pod = definition.GetValue()
			}
		}
		if pod == nil || len(pod.GetProperties().GetAdditionalProperties()) != 5 || len(document.GetPaths().GetPath()) < 100 {
			t.Errorf("%v of %d paths", pod, len(document.GetPaths().GetPath()))
		}
		paths, err := c.typed.Discovery().OpenAPIV3().Paths()
		if err != nil || paths["apis/apps/v1"] == nil || !strings.Contains(paths["apis/apps/v1"].ServerRelativeURL(), "hash=") {
			t.Fatalf("%v: %v", err, paths)
		}
		for path, version := range paths {
			text, err := version.Schema("application/json")
			if err != nil || !json.Valid(text) {
				t.Errorf("%s: %v", path, err)
			}
			if _, err := version.Schema(openapiProtobuf); err != nil {
				t.Errorf("%s in protobuf: %v", path, err)
			}
		}
		apps, err := openapi3.NewRoot(c.typed.Discovery().OpenAPIV3()).GVSpec(schema.GroupVersion{Group: "apps", Version: "v1"})
		if err != nil {
			t.Fatal(err)
		}
		var deployment *spec.Schema = apps.Components.Schemas["io.k8s.api.apps.v1.Deployment"]
		if deployment == nil || len(deployment.Properties) != 5 {
			t.Errorf("%+v", deployment)
		}
	})
}

const openapiProtobuf = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
