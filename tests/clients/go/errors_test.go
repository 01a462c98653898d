package clients

import (
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// conformance: Go's predicates tell failures apart, by their reasons, causes and delays
func TestFailuresAreToldApart(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		maps := c.typed.CoreV1().ConfigMaps(c.namespace)
		made := settings(t, c, "failures")
		_, err := maps.Get(within(t), "nothing", metav1.GetOptions{})
		told(t, "what is not there", err, apierrors.IsNotFound, metav1.StatusReasonNotFound)
		again := configMap("failures", nil)
		again.Name = made.Name
		_, err = maps.Create(within(t), again, metav1.CreateOptions{})
		told(t, "what is there", err, apierrors.IsAlreadyExists, metav1.StatusReasonAlreadyExists)
		made.ResourceVersion = "1"
		_, err = maps.Update(within(t), made, metav1.UpdateOptions{})
		told(t, "an old revision", err, apierrors.IsConflict, metav1.StatusReasonConflict)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: unique("bad")}, Spec: corev1.PodSpec{
			RestartPolicy: "Sometimes",
			Containers:    []corev1.Container{{Name: "Not A Name"}},
		}}
		_, err = c.typed.CoreV1().Pods(c.namespace).Create(within(t), pod, metav1.CreateOptions{})
		told(t, "a bad pod", err, apierrors.IsInvalid, metav1.StatusReasonInvalid)
		details := err.(apierrors.APIStatus).Status().Details
		causes := map[string]metav1.CauseType{}
		for _, cause := range details.Causes {
			causes[cause.Field] = cause.Type
		}
		if details.Kind != "Pod" || causes["spec.restartPolicy"] != metav1.CauseTypeFieldValueNotSupported ||
			causes["spec.containers[0].name"] != metav1.CauseTypeFieldValueInvalid ||
			causes["spec.containers[0].image"] != metav1.CauseTypeFieldValueRequired {
			t.Errorf("%+v", details)
		}
		_, err = maps.List(within(t), metav1.ListOptions{LabelSelector: "a in"})
		told(t, "a bad selector", err, apierrors.IsBadRequest, metav1.StatusReasonBadRequest)
		_, err = maps.List(within(t), metav1.ListOptions{ResourceVersion: "999999999999"})
		told(t, "a revision to come", err, apierrors.IsTimeout, metav1.StatusReasonTimeout)
		if seconds, told := apierrors.SuggestsClientDelay(err); !told || seconds < 1 {
			t.Errorf("no delay is suggested: %v", err)
		}
		forbidden := rest.CopyConfig(c.config)
		forbidden.Impersonate = rest.ImpersonationConfig{UserName: "nobody"}
		_, err = clientOf(t, c.encoding, forbidden).typed.CoreV1().Nodes().List(within(t), metav1.ListOptions{})
		told(t, "what nobody may", err, apierrors.IsForbidden, metav1.StatusReasonForbidden)
		unknown := rest.AnonymousClientConfig(c.config)
		unknown.BearerToken = "no.such.token"
		_, err = clientOf(t, c.encoding, unknown).typed.CoreV1().Nodes().List(within(t), metav1.ListOptions{})
		told(t, "a token that is none", err, apierrors.IsUnauthorized, metav1.StatusReasonUnauthorized)
		err = c.typed.CoreV1().RESTClient().Get().AbsPath("/api/v1/nothing").Do(within(t)).Error()
		told(t, "no resource", err, apierrors.IsNotFound, metav1.StatusReasonNotFound)
		err = c.typed.CoreV1().RESTClient().Put().AbsPath("/api/v1/nodes").Do(within(t)).Error()
		told(t, "no method", err, apierrors.IsMethodNotSupported, metav1.StatusReasonMethodNotAllowed)
	})
}

func told(t *testing.T, what string, err error, is func(error) bool, reason metav1.StatusReason) {
	t.Helper()
	if err == nil || !is(err) || apierrors.ReasonForError(err) != reason {
		t.Errorf("%s: %s: %v", what, apierrors.ReasonForError(err), err)
	}
}

// A failure of what protobuf is asked for is a Status in protobuf, and one in JSON otherwise.
func TestFailuresComeInTheEncodingThatIsAskedFor(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		var mediaType string
		request := c.typed.CoreV1().RESTClient().Get().Namespace(c.namespace).Resource("configmaps").Name("nothing")
		result := request.Do(within(t)).ContentType(&mediaType)
		wanted := map[string]string{"json": jsonType, "protobuf": protobufType}[c.encoding]
		if !apierrors.IsNotFound(result.Error()) || mediaType != wanted {
			t.Errorf("%s: %v", mediaType, result.Error())
		}
		if details := result.Error().(apierrors.APIStatus).Status().Details; details.Kind != "configmaps" || details.Name != "nothing" {
			t.Errorf("%+v", details)
		}
	})
}

// A pod that a quota has no room for is forbidden, and a budget that has none left asks to come again.
func TestWhatHasNoRoomIsToldSo(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: unique("room")}}
		if _, err := c.typed.CoreV1().Namespaces().Create(within(t), namespace, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = c.typed.CoreV1().Namespaces().Delete(within(t), namespace.Name, metav1.DeleteOptions{})
		})
		quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "none"}, Spec: corev1.ResourceQuotaSpec{
			Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")},
		}}
		if _, err := c.typed.CoreV1().ResourceQuotas(namespace.Name).Create(within(t), quota, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the quota is kept", func() error {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: unique("secret")}}
			_, err := c.typed.CoreV1().Secrets(namespace.Name).Create(within(t), secret, metav1.CreateOptions{})
			if !apierrors.IsForbidden(err) {
				return errorf("a secret was made: %v", err)
			}
			return nil
		})
	})
}

// What a client accepts or sends that the server does not know, such as CBOR, is refused or passed over.
// conformance: encodings that are not known are refused, and passed over where another is accepted
func TestEncodingsThatAreNotKnownAreRefused(t *testing.T) {
	const cbor = "application/cbor"
	c := clientOf(t, "json", configOf(t, jsonType, jsonType))
	made := settings(t, c, "unknown")
	ask := func(method, accept, contentType string, body []byte) int {
		var code int
		request := c.typed.CoreV1().RESTClient().Verb(method).Namespace(c.namespace).Resource("configmaps").Name(made.Name)
		request.SetHeader("Accept", accept)
		if body != nil {
			request.SetHeader("Content-Type", contentType).Body(body)
		}
		request.Do(within(t)).StatusCode(&code)
		return code
	}
	for _, known := range []struct {
		method, accept, contentType string
		body                        []byte
		code                        int
	}{
		{"GET", cbor, "", nil, http.StatusNotAcceptable},
		{"GET", cbor + "," + jsonType, "", nil, http.StatusOK},
		{"GET", cbor + ";q=0.9,*/*;q=0.1", "", nil, http.StatusOK},
		{"PUT", jsonType, cbor, []byte{0xd9, 0xd9, 0xf7, 0xa0}, http.StatusUnsupportedMediaType},
		{"PATCH", jsonType, "application/apply-patch+cbor", []byte{0xd9, 0xd9, 0xf7, 0xa0}, http.StatusUnsupportedMediaType},
		{"PATCH", jsonType, protobufType, []byte("k8s\x00"), http.StatusUnsupportedMediaType},
	} {
		if code := ask(known.method, known.accept, known.contentType, known.body); code != known.code {
			t.Errorf("%s accepting %q, sending %q: %d, not %d", known.method, known.accept, known.contentType, code, known.code)
		}
	}
}

// The client's own limit holds requests back, and -1 lifts it.
func TestAClientKeepsToItsOwnLimit(t *testing.T) {
	asks := func(qps float32, burst int) time.Duration {
		config := configOf(t, jsonType, jsonType)
		config.QPS, config.Burst = qps, burst
		c, began := clientOf(t, "json", config), time.Now()
		for range 6 {
			if _, err := c.typed.CoreV1().ConfigMaps(c.namespace).List(within(t), metav1.ListOptions{Limit: 1}); err != nil {
				t.Fatal(err)
			}
		}
		return time.Since(began)
	}
	if limited := asks(5, 1); limited < 900*time.Millisecond {
		t.Errorf("six requests at five a second took %v", limited)
	}
	asks(-1, 0)
}
