package clients

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A pod that its budget has no other for is not evicted: the client is asked to come again, and told why.
func TestABudgetHoldsAnEvictionBack(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		pod, subject := running(t, c, "sleep 3600"), unique("budget")
		pods := c.typed.CoreV1().Pods(c.namespace)
		label := []byte(`{"metadata":{"labels":{"budget":"` + subject + `"}}}`)
		if _, err := pods.Patch(within(t), pod.Name, types.MergePatchType, label, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		one := intstr.FromInt32(1)
		budget := &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Name: subject},
			Spec: policyv1.PodDisruptionBudgetSpec{
				MinAvailable: &one,
				Selector:     &metav1.LabelSelector{MatchLabels: map[string]string{"budget": subject}},
			},
		}
		budgets := c.typed.PolicyV1().PodDisruptionBudgets(c.namespace)
		if _, err := budgets.Create(within(t), budget, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace}}
		eventually(t, "the budget is counted", func() error {
			got, err := budgets.Get(within(t), subject, metav1.GetOptions{})
			if err != nil || got.Status.CurrentHealthy != 1 || got.Status.ObservedGeneration != got.Generation {
				return errorf("%w: %+v", err, got)
			}
			return nil
		})
		err := pods.EvictV1(within(t), eviction)
		told(t, "an eviction that a budget holds back", err, apierrors.IsTooManyRequests, metav1.StatusReasonTooManyRequests)
		if !apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause) {
			t.Errorf("the budget is not named as the cause: %v", err)
		}
		if still, err := pods.Get(within(t), pod.Name, metav1.GetOptions{}); err != nil || still.DeletionTimestamp != nil || still.Status.Phase != corev1.PodRunning {
			t.Errorf("%v: %+v", err, still.Status)
		}
	})
}
