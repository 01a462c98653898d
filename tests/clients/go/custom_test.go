package clients

import (
	"testing"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
)

// define makes the definition of samples/cluster.yaml in a group of its own and waits until it is served.
func define(t *testing.T, c *client) schema.GroupVersionResource {
	t.Helper()
	var definition *apiextensions.CustomResourceDefinition
	for _, object := range samples(t, "cluster") {
		if found, ok := object.(*apiextensions.CustomResourceDefinition); ok {
			definition = found
		}
	}
	definition.Spec.Group = unique("group") + ".example.test"
	definition.Name = definition.Spec.Names.Plural + "." + definition.Spec.Group
	definitions := c.extensions.ApiextensionsV1().CustomResourceDefinitions()
	if _, err := definitions.Create(within(t), definition, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = definitions.Delete(within(t), definition.Name, metav1.DeleteOptions{}) })
	eventually(t, "the definition is established", func() error {
		got, err := definitions.Get(within(t), definition.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		same(t, "the versions that were sent and that are kept", definition.Spec.Versions, got.Spec.Versions)
		for _, condition := range got.Status.Conditions {
			if condition.Type == apiextensions.Established && condition.Status == apiextensions.ConditionTrue {
				return nil
			}
		}
		return errorf("%+v", got.Status)
	})
	return schema.GroupVersionResource{Group: definition.Spec.Group, Version: "v1", Resource: "things"}
}

func thing(of schema.GroupVersionResource, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": of.GroupVersion().String(), "kind": "Thing",
		"metadata": map[string]any{"name": name, "labels": map[string]any{"go": "yes"}}, "spec": spec,
	}}
}

// Definitions are made by the typed client in either encoding, and their objects by the dynamic one.
func TestDefinitionsAndTheirObjects(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		resource := define(t, c)
		things := c.dynamic.Resource(resource).Namespace(c.namespace)
		name := unique("thing")
		made, err := things.Create(within(t), thing(resource, name, map[string]any{"size": int64(3), "free": map[string]any{"a": nil}}), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if color, _, _ := unstructured.NestedString(made.Object, "spec", "color"); color != "blue" {
			t.Errorf("%v", made.Object)
		}
		_, err = things.Create(within(t), thing(resource, name+"-x", map[string]any{"size": int64(5), "color": "green"}), metav1.CreateOptions{})
		told(t, "a bad thing", err, apierrors.IsInvalid, metav1.StatusReasonInvalid)
		applied := thing(resource, name, map[string]any{"color": "red", "replicas": int64(3)})
		applied.SetLabels(nil)
		got, err := things.Apply(within(t), name, applied, metav1.ApplyOptions{FieldManager: "go-applier", Force: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := unstructured.SetNestedField(got.Object, int64(2), "status", "replicas"); err != nil {
			t.Fatal(err)
		}
		if _, err := things.UpdateStatus(within(t), got, metav1.UpdateOptions{}); err != nil {
			t.Error(err)
		}
		scale, err := things.Get(within(t), name, metav1.GetOptions{}, "scale")
		if err != nil {
			t.Fatal(err)
		}
		if replicas, _, _ := unstructured.NestedInt64(scale.Object, "status", "replicas"); replicas != 2 {
			t.Errorf("%v", scale)
		}
		chosen, err := things.List(within(t), metav1.ListOptions{FieldSelector: "spec.color=red"})
		if err != nil || len(chosen.Items) != 1 {
			t.Errorf("%v: %v", err, chosen)
		}
		only, err := c.metadata.Resource(resource).Namespace(c.namespace).List(within(t), metav1.ListOptions{LabelSelector: "go=yes"})
		if err != nil || len(only.Items) != 1 || only.Items[0].Name != name {
			t.Errorf("%v: %v", err, only)
		}
		if err := c.metadata.Resource(resource).Namespace(c.namespace).Delete(within(t), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// Informers of what Go has no type for see it come, change and go, whole and as metadata.
func TestInformersOfWhatGoHasNoTypeFor(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		resource := define(t, c)
		whole := dynamicinformer.NewFilteredDynamicInformer(c.dynamic, resource, c.namespace, 0, cache.Indexers{}, nil).Informer()
		part := metadatainformer.NewFilteredMetadataInformer(c.metadata, resource, c.namespace, 0, cache.Indexers{}, nil).Informer()
		for _, informer := range []cache.SharedIndexInformer{whole, part} {
			ctx := within(t)
			go informer.Run(ctx.Done())
			if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
				t.Fatal("an informer does not become synced")
			}
		}
		name, things := unique("thing"), c.dynamic.Resource(resource).Namespace(c.namespace)
		if _, err := things.Create(within(t), thing(resource, name, map[string]any{}), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := things.Patch(within(t), name, types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, informer := range []cache.SharedIndexInformer{whole, part} {
			eventually(t, "an informer sees a change", func() error {
				object, exists, err := informer.GetStore().GetByKey(c.namespace + "/" + name)
				if err != nil || !exists || object.(metav1.Object).GetAnnotations()["a"] != "b" {
					return errorf("%v: %v", err, object)
				}
				return nil
			})
		}
		if err := things.Delete(within(t), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the informers see it go", func() error {
			if len(whole.GetStore().ListKeys())+len(part.GetStore().ListKeys()) > 0 {
				return errorf("it is there")
			}
			return nil
		})
	})
}

// Built-in objects by the dynamic client, whose numbers and nulls come as they are.
func TestBuiltInObjectsWithoutTypes(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		sets := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
		made, err := c.typed.AppsV1().ReplicaSets(c.namespace).Create(within(t), replicaSet(0), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var untyped dynamic.ResourceInterface = c.dynamic.Resource(sets).Namespace(c.namespace)
		got, err := untyped.Get(within(t), made.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if replicas, found, err := unstructured.NestedInt64(got.Object, "spec", "replicas"); err != nil || !found || replicas != 0 {
			t.Errorf("%v, %v, %v", replicas, found, err)
		}
		watched, err := untyped.Watch(within(t), metav1.ListOptions{FieldSelector: "metadata.name=" + made.Name})
		if err != nil {
			t.Fatal(err)
		}
		defer watched.Stop()
		next(t, watched, watch.Added)
		now, foreground := int64(0), metav1.DeletePropagationForeground
		options := metav1.DeleteOptions{GracePeriodSeconds: &now, PropagationPolicy: &foreground}
		if err := untyped.Delete(within(t), made.Name, options); err != nil {
			t.Fatal(err)
		}
		ends := time.After(patience)
		for gone := false; !gone; {
			select {
			case event := <-watched.ResultChan():
				gone = event.Type == watch.Deleted
			case <-ends:
				t.Fatal("it is not deleted")
			}
		}
	})
}
