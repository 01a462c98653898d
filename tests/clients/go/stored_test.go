package clients

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/retry"
)

// Each kind of a namespace is really made: read, watched, listed as metadata, updated, patched and deleted in both.
// conformance: what is kept is the same in JSON and protobuf through its life, in watches and as metadata
func TestWhatIsStoredIsTheSameInBoth(t *testing.T) {
	asJSON, asProtobuf := both(t)
	plurals := map[schema.GroupVersionKind]servedKind{}
	for _, resource := range resources(t, asJSON) {
		plurals[resource.GroupVersionKind] = resource
	}
	for _, file := range []string{"core", "workloads"} {
		for _, object := range samples(t, file) {
			gvk := object.GetObjectKind().GroupVersionKind()
			t.Run(gvk.String(), func(t *testing.T) {
				t.Parallel()
				kept := stored{t, asJSON, asProtobuf, plurals[gvk], object.(metav1.Object).GetName()}
				kept.lives(object)
			})
		}
	}
}

// stored is an object that is read in both.
type stored struct {
	t          *testing.T
	asJSON     *client
	asProtobuf *client
	kind       servedKind
	name       string
}

func (s *stored) get(c *client) metav1.Object {
	request := c.restOf(s.t, s.kind.GroupVersion()).Get().Namespace(c.namespace).Resource(s.kind.Name).Name(s.name)
	return templatesTypeless(c.into(s.t, request, newOf(s.kind.GroupVersionKind))).(metav1.Object)
}

// same reads something of one revision in both, for controllers write of it too, and compares.
func (s *stored) same(what string, read func(c *client) metav1.Object) {
	s.t.Helper()
	var one, other metav1.Object
	eventually(s.t, what+" of one revision", func() error {
		one, other = read(s.asJSON), read(s.asProtobuf)
		if first, second := one.GetResourceVersion(), other.GetResourceVersion(); first != second {
			return errorf("revisions %s and %s", first, second)
		}
		return nil
	})
	same(s.t, what, one, other)
}

func (s *stored) lives(object runtime.Object) {
	create := s.asProtobuf.restOf(s.t, s.kind.GroupVersion()).Post().Namespace(s.asJSON.namespace).Resource(s.kind.Name)
	s.asProtobuf.into(s.t, create.Body(object), newOf(s.kind.GroupVersionKind))
	s.same("objects", s.get)
	s.same("events of watches", s.watched)
	s.same("metadata", s.metadata)
	s.same("listed metadata", s.listedMetadata)
	s.same("events of metadata", s.watchedMetadata)
	s.update()
	s.same("updated objects", s.get)
	s.patch()
	s.same("patched objects", s.get)
	s.delete()
}

// update sends back what was read in protobuf with a label more: the rest says the same as before.
func (s *stored) update() {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		object := s.get(s.asProtobuf)
		before := object.GetGeneration()
		labels := map[string]string{"updated": "yes"}
		for key, value := range object.GetLabels() {
			labels[key] = value
		}
		object.SetLabels(labels)
		request := s.asProtobuf.restOf(s.t, s.kind.GroupVersion()).Put().Namespace(s.asJSON.namespace)
		updated := newOf(s.kind.GroupVersionKind)
		err := request.Resource(s.kind.Name).Name(s.name).Body(object.(runtime.Object)).Do(within(s.t)).Into(updated)
		if after := updated.(metav1.Object).GetGeneration(); err == nil && after != before {
			s.t.Errorf("labels alone were changed, and generation %d became %d", before, after)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stored) patch() {
	patch := []byte(`{"metadata":{"finalizers":null,"annotations":{"patched":"yes"}}}`)
	request := s.asProtobuf.restOf(s.t, s.kind.GroupVersion()).Patch(types.MergePatchType).Namespace(s.asJSON.namespace)
	s.asProtobuf.into(s.t, request.Resource(s.kind.Name).Name(s.name).Body(patch), newOf(s.kind.GroupVersionKind))
}

func (s *stored) delete() {
	uid, now, background := s.get(s.asJSON).GetUID(), int64(0), metav1.DeletePropagationBackground
	options := func(uid types.UID) *metav1.DeleteOptions {
		return &metav1.DeleteOptions{
			GracePeriodSeconds: &now, PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid},
		}
	}
	request := func(uid types.UID) error {
		request := s.asProtobuf.restOf(s.t, s.kind.GroupVersion()).Delete().Namespace(s.asJSON.namespace)
		return request.Resource(s.kind.Name).Name(s.name).Body(options(uid)).Do(within(s.t)).Error()
	}
	if err := request("another"); !apierrors.IsConflict(err) {
		s.t.Errorf("to delete what has another uid: %v", err)
	}
	if err := request(uid); err != nil {
		s.t.Error(err)
	}
}

// watched is what a watch says first.
func (s *stored) watched(c *client) metav1.Object {
	options := metav1.ListOptions{Watch: true, FieldSelector: "metadata.name=" + s.name}
	request := c.restOf(s.t, s.kind.GroupVersion()).Get().Namespace(c.namespace).Resource(s.kind.Name)
	watched, err := request.VersionedParams(&options, scheme.ParameterCodec).Watch(within(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	return templatesTypeless(first(s.t, watched)).(metav1.Object)
}

// first is the object of a watch's first event, which says that it is there.
func first(t *testing.T, watched watch.Interface) runtime.Object {
	t.Helper()
	defer watched.Stop()
	select {
	case event, open := <-watched.ResultChan():
		if !open || event.Type != watch.Added {
			t.Fatalf("a watch begins with %v", event)
		}
		return event.Object
	case <-time.After(patience):
		t.Fatal("a watch says nothing")
		return nil
	}
}

func (s *stored) metadata(c *client) metav1.Object {
	known := c.metadata.Resource(s.kind.GroupVersion().WithResource(s.kind.Name)).Namespace(c.namespace)
	return succeeds[*metav1.PartialObjectMetadata](s.t)(known.Get(within(s.t), s.name, metav1.GetOptions{}))
}

func (s *stored) listedMetadata(c *client) metav1.Object {
	known := c.metadata.Resource(s.kind.GroupVersion().WithResource(s.kind.Name)).Namespace(c.namespace)
	many, err := known.List(within(s.t), metav1.ListOptions{FieldSelector: "metadata.name=" + s.name})
	if err != nil || meta.LenList(many) != 1 {
		s.t.Fatalf("%v: %v", many, err)
	}
	many.Items[0].TypeMeta = metav1.TypeMeta{}
	return &many.Items[0]
}

func (s *stored) watchedMetadata(c *client) metav1.Object {
	known := c.metadata.Resource(s.kind.GroupVersion().WithResource(s.kind.Name)).Namespace(c.namespace)
	watched, err := known.Watch(within(s.t), metav1.ListOptions{FieldSelector: "metadata.name=" + s.name})
	if err != nil {
		s.t.Fatal(err)
	}
	return first(s.t, watched).(metav1.Object)
}
