package clients

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// mapsOf is an informer of the ConfigMaps of a subject.
func mapsOf(t *testing.T, c *client, subject string) cache.SharedIndexInformer {
	t.Helper()
	only := informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "subject=" + subject })
	factory := informers.NewSharedInformerFactoryWithOptions(c.typed, 0, informers.WithNamespace(c.namespace), only)
	informer := factory.Core().V1().ConfigMaps().Informer()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); factory.Shutdown() })
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(within(t).Done(), informer.HasSynced) {
		t.Fatal("an informer does not become synced")
	}
	return informer
}

func holds(informer cache.SharedIndexInformer, key string, value string) error {
	object, exists, err := informer.GetStore().GetByKey(key)
	if err != nil || !exists {
		return errorf("%s is not there: %v", key, err)
	}
	if found := object.(*corev1.ConfigMap).Data["a"]; found != value {
		return errorf("%s is %q, not %q", key, found, value)
	}
	return nil
}

// An informer lists, or is sent what is there by its watch (the feature WatchListClient, on unless the environment says
// otherwise: the drill runs this test with either), sees changes, and goes on when its connection breaks.
// conformance: informers go on when their connections break
func TestInformersGoOnWhenConnectionsBreak(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		subject := unique("informed")
		maps := c.typed.CoreV1().ConfigMaps(c.namespace)
		made := settings(t, c, subject)
		key := made.Namespace + "/" + made.Name
		config := rest.CopyConfig(c.config)
		road := roadTo(t, config)
		informer := mapsOf(t, clientOf(t, c.encoding, config), subject)
		if err := holds(informer, key, "b"); err != nil {
			t.Error(err)
		}
		for at, value := range []string{"c", "d", "e"} {
			made.Data["a"] = value
			made = succeeds[*corev1.ConfigMap](t)(maps.Update(within(t), made, metav1.UpdateOptions{}))
			eventually(t, "the informer sees a change", func() error { return holds(informer, key, value) })
			if at < 2 {
				road.breaks()
			}
		}
		if road.taken.Load() < 3 {
			t.Errorf("%d connections were made", road.taken.Load())
		}
		if err := maps.Delete(within(t), made.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the informer sees it go", func() error {
			if _, exists, _ := informer.GetStore().GetByKey(key); exists {
				return errorf("%s is there", key)
			}
			return nil
		})
	})
}

// What is there comes first, then a bookmark that says so, then what happens; in each encoding.
// conformance: a watch begins with what is there and a bookmark
func TestAWatchBeginsWithWhatIsThere(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		subject := unique("initial")
		made, yes := settings(t, c, subject), true
		maps := c.typed.CoreV1().ConfigMaps(c.namespace)
		watched, err := maps.Watch(within(t), metav1.ListOptions{
			LabelSelector: "subject=" + subject, SendInitialEvents: &yes, AllowWatchBookmarks: true,
			ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer watched.Stop()
		added := next(t, watched, watch.Added).(*corev1.ConfigMap)
		same(t, "what is there and what a watch begins with", added, made)
		mark := next(t, watched, watch.Bookmark).(*corev1.ConfigMap)
		if mark.Annotations[metav1.InitialEventsAnnotationKey] != "true" || mark.ResourceVersion == "" {
			t.Errorf("%+v", mark.ObjectMeta)
		}
		made.Data["a"] = "c"
		if _, err := maps.Update(within(t), made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		next(t, watched, watch.Modified)
		// What the selector no longer chooses is gone for the watch.
		patch := []byte(`{"metadata":{"labels":{"subject":"other"}}}`)
		if _, err := maps.Patch(within(t), made.Name, "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		next(t, watched, watch.Deleted)
	})
}

func next(t *testing.T, watched watch.Interface, wanted watch.EventType) runtime.Object {
	t.Helper()
	select {
	case event, open := <-watched.ResultChan():
		if !open || event.Type != wanted {
			t.Fatalf("%s was to come, not %s: %v", wanted, event.Type, event.Object)
		}
		return event.Object
	case <-time.After(patience):
		t.Fatalf("%s was to come, and nothing did", wanted)
		return nil
	}
}

// listerWatcher lists and watches the ConfigMaps of a subject.
func listerWatcher(c kubernetes.Interface, namespace, subject string) cache.ListerWatcher {
	options := func(options *metav1.ListOptions) {
		options.LabelSelector, options.FieldSelector = "subject="+subject, fields.Everything().String()
	}
	return cache.NewFilteredListWatchFromClient(c.CoreV1().RESTClient(), "configmaps", namespace, options)
}

// A RetryWatcher goes on from the last revision when its connection breaks, and gives up where that is too old.
func TestARetryWatcherMissesNothing(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		subject := unique("retried")
		made := settings(t, c, subject)
		config := rest.CopyConfig(c.config)
		road := roadTo(t, config)
		through := clientOf(t, c.encoding, config)
		watched, err := watchtools.NewRetryWatcherWithContext(within(t), made.ResourceVersion,
			listerWatcher(through.typed, c.namespace, subject).(cache.WatcherWithContext))
		if err != nil {
			t.Fatal(err)
		}
		defer watched.Stop()
		for _, value := range []string{"c", "d", "e"} {
			made.Data["a"] = value
			made = succeeds[*corev1.ConfigMap](t)(
				c.typed.CoreV1().ConfigMaps(c.namespace).Update(within(t), made, metav1.UpdateOptions{}))
			if seen := next(t, watched, watch.Modified).(*corev1.ConfigMap); seen.Data["a"] != value {
				t.Errorf("%q was seen, not %q", seen.Data["a"], value)
			}
			road.breaks()
		}
	})
}
