package clients

import (
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
)

// Requests for certificates are approved by a subresource, which changes nothing else.
func TestApprovalsAreGiven(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		var request *certificatesv1.CertificateSigningRequest
		for _, object := range samples(t, "cluster") {
			if found, ok := object.(*certificatesv1.CertificateSigningRequest); ok {
				request = found
			}
		}
		requests := c.typed.CertificatesV1().CertificateSigningRequests()
		request = succeeds[*certificatesv1.CertificateSigningRequest](t)(requests.Create(within(t), request, metav1.CreateOptions{}))
		t.Cleanup(func() { _ = requests.Delete(within(t), request.Name, metav1.DeleteOptions{}) })
		if request.Spec.Username == "" || len(request.Spec.Groups) == 0 {
			t.Errorf("%+v", request.Spec)
		}
		request.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{
			Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Go", Message: "by a test",
		}}
		approved := succeeds[*certificatesv1.CertificateSigningRequest](t)(
			requests.UpdateApproval(within(t), request.Name, request, metav1.UpdateOptions{}))
		if got := approved.Status.Conditions; len(got) != 1 || got[0].Message != "by a test" || got[0].LastUpdateTime.IsZero() {
			t.Errorf("%+v", got)
		}
		approved.Status.Conditions = nil
		if _, err := requests.UpdateApproval(within(t), request.Name, approved, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
			t.Errorf("an approval was taken back: %v", err)
		}
	})
}

// A namespace ends when its own finalizer is taken off; conditions of a status are applied.
func TestNamespacesAreFinalizedAndStatusesApplied(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		namespaces := c.typed.CoreV1().Namespaces()
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: unique("finalized")}}
		namespace.Spec.Finalizers = []corev1.FinalizerName{"example.test/mine"}
		namespace = succeeds[*corev1.Namespace](t)(namespaces.Create(within(t), namespace, metav1.CreateOptions{}))
		if err := namespaces.Delete(within(t), namespace.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the namespace waits for its finalizer alone", func() error {
			got, err := namespaces.Get(within(t), namespace.Name, metav1.GetOptions{})
			if err != nil || len(got.Spec.Finalizers) != 1 {
				return errorf("%w: %+v", err, got)
			}
			namespace = got
			return nil
		})
		namespace.Spec.Finalizers = nil
		if _, err := namespaces.Finalize(within(t), namespace, metav1.UpdateOptions{}); err != nil {
			t.Error(err)
		}
		eventually(t, "the namespace is gone", func() error {
			if _, err := namespaces.Get(within(t), namespace.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return errorf("it is there: %w", err)
			}
			return nil
		})
		services := c.typed.CoreV1().Services(c.namespace)
		service := applycore.Service(unique("status"), c.namespace).WithSpec(applycore.ServiceSpec().
			WithPorts(applycore.ServicePort().WithPort(80)))
		if _, err := services.Apply(within(t), service, metav1.ApplyOptions{FieldManager: "go"}); err != nil {
			t.Fatal(err)
		}
		status := applycore.Service(*service.Name, c.namespace).WithStatus(applycore.ServiceStatus().WithConditions(
			applymeta.Condition().WithType("Go").WithStatus("True").WithReason("Test").WithMessage("").WithLastTransitionTime(metav1.Now())))
		got := succeeds[*corev1.Service](t)(services.ApplyStatus(within(t), status, metav1.ApplyOptions{FieldManager: "go-status"}))
		if len(got.Status.Conditions) != 1 || len(got.Spec.Ports) != 1 || got.Spec.Ports[0].TargetPort.IntVal != 80 {
			t.Errorf("%+v", got)
		}
	})
}
