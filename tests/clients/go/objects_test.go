package clients

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func replicaSet(replicas int32) *appsv1.ReplicaSet {
	labels := map[string]string{"app": "scaled"}
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: unique("scaled")},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					NodeSelector: map[string]string{"nowhere": "true"},
					Containers:   []corev1.Container{{Name: "c", Image: "rkctl.local/busybox:1"}},
				},
			},
		},
	}
}

func configMap(subject string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: unique(subject), Labels: map[string]string{"subject": subject}},
		Data:       data,
	}
}

// settings makes a ConfigMap in the cluster.
func settings(t *testing.T, c *client, subject string) *corev1.ConfigMap {
	t.Helper()
	made, err := c.typed.CoreV1().ConfigMaps(c.namespace).Create(within(t), configMap(subject, map[string]string{"a": "b"}), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}
