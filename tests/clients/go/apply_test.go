package clients

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applyapps "k8s.io/client-go/applyconfigurations/apps/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/retry"
)

// Apply configurations own what they say, are in conflict with who else says it, and can take it.
// conformance: apply configurations own what they say
func TestApplyConfigurationsOwnWhatTheySay(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		deployments, name := c.typed.AppsV1().Deployments(c.namespace), unique("applied")
		labels := map[string]string{"app": name}
		wanted := applyapps.Deployment(name, c.namespace).WithLabels(labels).WithSpec(applyapps.DeploymentSpec().
			WithReplicas(0).
			WithSelector(applymeta.LabelSelector().WithMatchLabels(labels)).
			WithTemplate(applycore.PodTemplateSpec().WithLabels(labels).WithSpec(applycore.PodSpec().
				WithContainers(applycore.Container().WithName("c").WithImage("rkctl.local/busybox:1")))))
		apply := func(manager string, force bool) (*appsv1.Deployment, error) {
			return deployments.Apply(within(t), wanted, metav1.ApplyOptions{FieldManager: manager, Force: force})
		}
		made := succeeds[*appsv1.Deployment](t)(apply("one", false))
		again := succeeds[*appsv1.Deployment](t)(apply("one", false))
		if again.Generation != made.Generation {
			t.Errorf("to apply the same again made generation %d of %d", again.Generation, made.Generation)
		}
		wanted.Spec.WithReplicas(0).WithMinReadySeconds(3).WithPaused(true)
		wanted.Spec.Template.Spec.Containers[0].WithImage("rkctl.local/web:1")
		_, err := apply("two", false)
		told(t, "an image of another manager", err, apierrors.IsConflict, metav1.StatusReasonConflict)
		if status, ok := err.(apierrors.APIStatus); !ok || len(status.Status().Details.Causes) != 1 ||
			status.Status().Details.Causes[0].Type != metav1.CauseTypeFieldManagerConflict {
			t.Errorf("%+v", err)
		}
		taken := succeeds[*appsv1.Deployment](t)(apply("two", true))
		if taken.Spec.Template.Spec.Containers[0].Image != "rkctl.local/web:1" || taken.Spec.MinReadySeconds != 3 {
			t.Errorf("%+v", taken.Spec)
		}
		extracted, err := applyapps.ExtractDeployment(taken, "two")
		if err != nil || extracted.Spec == nil || extracted.Spec.MinReadySeconds == nil || *extracted.Spec.MinReadySeconds != 3 {
			t.Errorf("%v: %+v", err, extracted)
		}
	})
}

// Patches of every kind, sent by a client that speaks either encoding.
func TestPatchesOfEveryKind(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		sets := c.typed.AppsV1().ReplicaSets(c.namespace)
		made := succeeds[*appsv1.ReplicaSet](t)(sets.Create(within(t), replicaSet(0), metav1.CreateOptions{}))
		for _, patch := range []struct {
			kind types.PatchType
			text string
			is   func(*appsv1.ReplicaSet) bool
		}{
			{types.JSONPatchType, `[{"op":"add","path":"/metadata/annotations","value":{"a":"b"}}]`,
				func(set *appsv1.ReplicaSet) bool { return set.Annotations["a"] == "b" }},
			{types.MergePatchType, `{"spec":{"minReadySeconds":4}}`,
				func(set *appsv1.ReplicaSet) bool { return set.Spec.MinReadySeconds == 4 }},
			{types.StrategicMergePatchType, `{"spec":{"template":{"spec":{"containers":[{"name":"d","image":"i"}]}}}}`,
				func(set *appsv1.ReplicaSet) bool { return len(set.Spec.Template.Spec.Containers) == 2 }},
		} {
			got, err := sets.Patch(within(t), made.Name, patch.kind, []byte(patch.text), metav1.PatchOptions{})
			if err != nil || !patch.is(got) {
				t.Errorf("%s: %v: %+v", patch.kind, err, got)
			}
		}
		status, _ := json.Marshal(map[string]any{"status": map[string]any{"observedGeneration": 0, "replicas": 0}})
		if _, err := sets.Patch(within(t), made.Name, types.MergePatchType, status, metav1.PatchOptions{}, "status"); err != nil {
			t.Error(err)
		}
		if _, err := sets.Patch(within(t), made.Name, types.JSONPatchType, []byte(`[{"op":"test","path":"/kind","value":"x"}]`), metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
			t.Errorf("a test that fails: %v", err)
		}
	})
}

// Many that count on one object come to the right sum by trying again on conflicts.
func TestConflictsAreTriedAgain(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		const workers, each = 5, 4
		maps, made := c.typed.CoreV1().ConfigMaps(c.namespace), settings(t, c, "counted")
		var conflicts atomic.Int32
		var group sync.WaitGroup
		often := retry.DefaultBackoff
		often.Steps = 100
		for range workers {
			group.Go(func() {
				for range each {
					err := retry.RetryOnConflict(often, func() error {
						object, err := maps.Get(context.Background(), made.Name, metav1.GetOptions{})
						if err != nil {
							return err
						}
						object.Data["a"] += "x"
						if _, err = maps.Update(context.Background(), object, metav1.UpdateOptions{}); apierrors.IsConflict(err) {
							conflicts.Add(1)
						}
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		got := succeeds[*corev1.ConfigMap](t)(maps.Get(within(t), made.Name, metav1.GetOptions{}))
		if len(got.Data["a"]) != 1+workers*each {
			t.Errorf("%d were written, with %d conflicts", len(got.Data["a"])-1, conflicts.Load())
		}
	})
}

// One of two leads by a Lease; the other does when it lets go.
// conformance: one of several leads by a Lease
func TestOneLeadsAtATime(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		name := unique("leader")
		leads := make(chan string, 4)
		run := func(identity string) context.CancelFunc {
			ctx, cancel := context.WithCancel(context.Background())
			lock, err := resourcelock.New(resourcelock.LeasesResourceLock, c.namespace, name, nil,
				c.typed.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: identity})
			if err != nil {
				t.Fatal(err)
			}
			go leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
				Lock: lock, LeaseDuration: 10 * time.Second, RenewDeadline: 8 * time.Second, RetryPeriod: 200 * time.Millisecond,
				ReleaseOnCancel: true,
				Callbacks: leaderelection.LeaderCallbacks{
					OnStartedLeading: func(context.Context) { leads <- identity },
					OnStoppedLeading: func() {},
				},
			})
			t.Cleanup(cancel)
			return cancel
		}
		expect := func(identity string) {
			t.Helper()
			select {
			case leader := <-leads:
				if leader != identity {
					t.Fatalf("%s leads, not %s", leader, identity)
				}
			case <-time.After(patience):
				t.Fatalf("%s does not lead", identity)
			}
		}
		letGo := run("one")
		expect("one")
		run("two")
		letGo()
		expect("two")
		lease, err := c.typed.CoordinationV1().Leases(c.namespace).Get(within(t), name, metav1.GetOptions{})
		if err != nil || *lease.Spec.HolderIdentity != "two" || *lease.Spec.LeaseTransitions < 1 {
			t.Errorf("%v: %+v", err, lease.Spec)
		}
	})
}
