package clients

import (
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applyautoscaling "k8s.io/client-go/applyconfigurations/autoscaling/v1"
	"k8s.io/client-go/util/retry"
)

// idlePod makes a pod that no scheduler takes.
func idlePod(t *testing.T, c *client, subject string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: unique(subject), Labels: map[string]string{"subject": subject}},
		Spec: corev1.PodSpec{
			SchedulerName: "nobody",
			Containers: []corev1.Container{{
				Name: "c", Image: "rkctl.local/busybox:1", ImagePullPolicy: corev1.PullNever, Command: []string{"sleep", "3600"},
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("10m")}},
			}},
		},
	}
	made, err := c.typed.CoreV1().Pods(c.namespace).Create(within(t), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestScaleIsReadWrittenAndApplied(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		sets := c.typed.AppsV1().ReplicaSets(c.namespace)
		made, err := sets.Create(within(t), replicaSet(1), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		scale := succeeds[*autoscalingv1.Scale](t)(sets.GetScale(within(t), made.Name, metav1.GetOptions{}))
		if scale.Name != made.Name || scale.Spec.Replicas != 1 || scale.Status.Selector != "app=scaled" {
			t.Errorf("%+v", scale)
		}
		err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			scale, err := sets.GetScale(within(t), made.Name, metav1.GetOptions{})
			if err == nil {
				// Go leaves a zero out, which is one all the same.
				scale.Spec.Replicas = 0
				scale, err = sets.UpdateScale(within(t), made.Name, scale, metav1.UpdateOptions{})
			}
			if err == nil && scale.Spec.Replicas != 0 {
				t.Errorf("%+v", scale)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		applied := applyautoscaling.Scale().WithSpec(applyautoscaling.ScaleSpec().WithReplicas(0))
		options := metav1.ApplyOptions{FieldManager: "go-scaler", Force: true}
		scale = succeeds[*autoscalingv1.Scale](t)(sets.ApplyScale(within(t), made.Name, applied, options))
		got, err := sets.Get(within(t), made.Name, metav1.GetOptions{})
		if err != nil || scale.Name != made.Name {
			t.Fatalf("%v: %+v", err, scale)
		}
		owns := false
		for _, entry := range got.ManagedFields {
			owns = owns || entry.Manager == "go-scaler" && entry.Subresource == "scale"
		}
		if !owns {
			t.Errorf("nobody owns the scale: %v", got.ManagedFields)
		}
	})
}

func TestPodsAreEvictedWithinTheirBudget(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		subject := "evicted" + c.encoding
		pod := idlePod(t, c, subject)
		none := types.UID("nobody")
		eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace}}
		eviction.DeleteOptions = &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &none}}
		pods := c.typed.CoreV1().Pods(c.namespace)
		if err := pods.EvictV1(within(t), eviction); !apierrors.IsConflict(err) {
			t.Errorf("an eviction of another uid: %v", err)
		}
		eviction.DeleteOptions = &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}
		if err := pods.EvictV1(within(t), eviction); err != nil {
			t.Error(err)
		}
		if _, err := pods.Get(within(t), pod.Name, metav1.GetOptions{}); err != nil {
			t.Errorf("a dry run evicted it: %v", err)
		}
		eviction.DeleteOptions = nil
		if err := pods.EvictV1(within(t), eviction); err != nil {
			t.Error(err)
		}
		eventually(t, "the pod is gone", func() error {
			if _, err := pods.Get(within(t), pod.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return errorf("it is there: %v", err)
			}
			return nil
		})
	})
}

func TestPodsAreResizedAndGetEphemeralContainers(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		pods := c.typed.CoreV1().Pods(c.namespace)
		pod := idlePod(t, c, "resized")
		pod.Spec.Containers[0].Resources.Requests["cpu"] = resource.MustParse("20m")
		resized, err := pods.UpdateResize(within(t), pod.Name, pod, metav1.UpdateOptions{})
		if err != nil {
			// A server that resizes nothing in place says so, and what to do.
			if !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) && !apierrors.IsBadRequest(err) {
				t.Errorf("a resize: %v", err)
			}
			t.Log(err)
			resized = pod
		} else if resized.Spec.Containers[0].Resources.Requests.Cpu().String() != "20m" {
			t.Errorf("%v", resized.Spec.Containers[0].Resources)
		}
		pod = succeeds[*corev1.Pod](t)(pods.Get(within(t), pod.Name, metav1.GetOptions{}))
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "rkctl.local/busybox:1", TTY: true},
			TargetContainerName:      "c",
		}}
		pod = succeeds[*corev1.Pod](t)(pods.UpdateEphemeralContainers(within(t), pod.Name, pod, metav1.UpdateOptions{}))
		if got := pod.Spec.EphemeralContainers; len(got) != 1 || got[0].TargetContainerName != "c" || !got[0].TTY {
			t.Errorf("%+v", got)
		}
	})
}

func TestPodsAreBoundToNodes(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		pods, pod := c.typed.CoreV1().Pods(c.namespace), idlePod(t, c, "bound")
		nodes := succeeds[*corev1.NodeList](t)(c.typed.CoreV1().Nodes().List(within(t), metav1.ListOptions{}))
		binding := &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: nodes.Items[len(nodes.Items)-1].Name},
		}
		if err := pods.Bind(within(t), binding, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		pod = succeeds[*corev1.Pod](t)(pods.Get(within(t), pod.Name, metav1.GetOptions{}))
		if pod.Spec.NodeName != binding.Target.Name {
			t.Errorf("it is on %q, not %q", pod.Spec.NodeName, binding.Target.Name)
		}
		now := int64(0)
		if err := pods.Delete(within(t), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Error(err)
		}
	})
}

func TestTokensAreMadeAndReviewed(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		accounts := c.typed.CoreV1().ServiceAccounts(c.namespace)
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: unique("account")}}
		account = succeeds[*corev1.ServiceAccount](t)(accounts.Create(within(t), account, metav1.CreateOptions{}))
		seconds := int64(600)
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
		token, err := accounts.CreateToken(within(t), account.Name, request, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(token.Status.Token, ".") != 2 || token.Status.ExpirationTimestamp.IsZero() || len(token.Spec.Audiences) == 0 {
			t.Errorf("%+v", token.Spec)
		}
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token.Status.Token}}
		review, err = c.typed.AuthenticationV1().TokenReviews().Create(within(t), review, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		user := "system:serviceaccount:" + c.namespace + ":" + account.Name
		if !review.Status.Authenticated || review.Status.User.Username != user || review.Status.User.UID != string(account.UID) ||
			len(review.Status.User.Extra) == 0 || len(review.Status.User.Groups) < 3 {
			t.Errorf("%+v", review.Status)
		}
		self, err := c.typed.AuthenticationV1().SelfSubjectReviews().Create(within(t), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if err != nil || self.Status.UserInfo.Username == "" {
			t.Errorf("%v: %+v", err, self)
		}
	})
}

func TestAccessIsReviewedInAllForms(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		access, asked := c.typed.AuthorizationV1(), metav1.CreateOptions{}
		may := &authorizationv1.ResourceAttributes{Namespace: c.namespace, Verb: "get", Resource: "pods", Subresource: "log"}
		spec := authorizationv1.SubjectAccessReviewSpec{
			User: "nobody", Groups: []string{"system:masters"}, ResourceAttributes: may,
			Extra: map[string]authorizationv1.ExtraValue{"scopes": {"a", "b"}},
		}
		whole := succeeds[*authorizationv1.SubjectAccessReview](t)(
			access.SubjectAccessReviews().Create(within(t), &authorizationv1.SubjectAccessReview{Spec: spec}, asked))
		if !whole.Status.Allowed || len(whole.Spec.Extra["scopes"]) != 2 {
			t.Errorf("%+v", whole)
		}
		spec.Groups = nil
		local := &authorizationv1.LocalSubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace}, Spec: spec}
		local = succeeds[*authorizationv1.LocalSubjectAccessReview](t)(
			access.LocalSubjectAccessReviews(c.namespace).Create(within(t), local, asked))
		if local.Status.Allowed {
			t.Errorf("%+v", local.Status)
		}
		self := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"},
		}}
		self = succeeds[*authorizationv1.SelfSubjectAccessReview](t)(access.SelfSubjectAccessReviews().Create(within(t), self, asked))
		rules := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: c.namespace}}
		rules = succeeds[*authorizationv1.SelfSubjectRulesReview](t)(access.SelfSubjectRulesReviews().Create(within(t), rules, asked))
		if !self.Status.Allowed || len(rules.Status.ResourceRules) == 0 || len(rules.Status.NonResourceRules) == 0 {
			t.Errorf("%+v, %+v", self.Status, rules.Status)
		}
	})
}
