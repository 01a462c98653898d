package clients

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// The server remembers 64 MiB of events at most: so many changes of a megabyte push out what was before.
const pushes, pushedBytes = 70, 1_000_000

// A revision that is too old is a Status that Go's predicates know, an ERROR event of watches, and no trouble for
// informers, which list again.
// conformance: revisions that are too old are expired, and informers list again
func TestRevisionsThatAreTooOldAreExpired(t *testing.T) {
	c := clientOf(t, "json", configOf(t, jsonType, jsonType))
	subject := unique("expired")
	old := settings(t, c, subject)
	key := old.Namespace + "/" + old.Name
	blocked := map[string]*road{}
	waiting := map[string]cache.SharedIndexInformer{}
	for _, encoding := range encodings {
		config := configOf(t, encoding.sends, encoding.accepts)
		blocked[encoding.name] = roadTo(t, config)
		waiting[encoding.name] = mapsOf(t, clientOf(t, encoding.name, config), subject)
		blocked[encoding.name].closed.Store(true)
		blocked[encoding.name].breaks()
	}
	pushOut(t, c)
	patch := []byte(`{"data":{"a":"c"}}`)
	if _, err := c.typed.CoreV1().ConfigMaps(c.namespace).Patch(within(t), old.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	inEach(t, func(t *testing.T, c *client) {
		expired(t, c, old, subject)
		blocked[c.encoding].closed.Store(false)
		eventually(t, "an informer lists again", func() error { return holds(waiting[c.encoding], key, "c") })
	})
}

func pushOut(t *testing.T, c *client) {
	t.Helper()
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	large := configMap("large", map[string]string{"a": strings.Repeat("a", pushedBytes)})
	large = succeeds[*corev1.ConfigMap](t)(maps.Create(within(t), large, metav1.CreateOptions{}))
	for at := range pushes {
		large.Data["a"] = strings.Repeat(string(rune('a'+at%2)), pushedBytes)
		large = succeeds[*corev1.ConfigMap](t)(maps.Update(within(t), large, metav1.UpdateOptions{}))
	}
	if err := maps.Delete(within(t), large.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

func expired(t *testing.T, c *client, old *corev1.ConfigMap, subject string) {
	t.Helper()
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	watched, err := maps.Watch(within(t), metav1.ListOptions{ResourceVersion: old.ResourceVersion})
	if err == nil {
		defer watched.Stop()
		err = apierrors.FromObject(next(t, watched, watch.Error))
	}
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		t.Errorf("a watch of an old revision: %v", err)
	}
	exact := metav1.ListOptions{ResourceVersion: old.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact}
	if _, err = maps.List(within(t), exact); !apierrors.IsResourceExpired(err) {
		t.Errorf("a list of an old revision: %v", err)
	}
	through := clientOf(t, c.encoding, rest.CopyConfig(c.config))
	retried, err := watchtools.NewRetryWatcherWithContext(within(t), old.ResourceVersion,
		listerWatcher(through.typed, c.namespace, subject).(cache.WatcherWithContext))
	if err != nil {
		t.Fatal(err)
	}
	defer retried.Stop()
	if err := apierrors.FromObject(next(t, retried, watch.Error)); !apierrors.IsGone(err) && !apierrors.IsResourceExpired(err) {
		t.Errorf("a watch that tries again: %v", err)
	}
}
