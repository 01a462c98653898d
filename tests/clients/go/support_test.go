// Package clients drives a cluster with Kubernetes' own Go client. KUBECONFIG and NAMESPACE name the cluster and the
// namespace of this run.
//
// Nothing in this file knows what is tested: it has the encodings, clients in each of them, and waiting.
package clients

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"testing"
	"time"

	apiextensionsclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// A condition that does not come about in this time never will.
const patience = 60 * time.Second

const (
	jsonType     = runtime.ContentTypeJSON
	protobufType = runtime.ContentTypeProtobuf
)

// encodings are what a client sends and accepts.
var encodings = []struct{ name, sends, accepts string }{
	{"json", jsonType, jsonType},
	{"protobuf", protobufType, protobufType + "," + jsonType},
}

// client is a client of each sort, all with one encoding.
type client struct {
	config     *rest.Config
	encoding   string
	namespace  string
	typed      *kubernetes.Clientset
	dynamic    *dynamic.DynamicClient
	metadata   metadata.Interface
	extensions *apiextensionsclient.Clientset
}

// configOf is the administrator's configuration in an encoding, without a limit of its own.
func configOf(t *testing.T, sends, accepts string) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.ContentType, config.AcceptContentTypes, config.QPS = sends, accepts, -1
	config.UserAgent = "go-clients/1"
	return config
}

func clientOf(t *testing.T, encoding string, config *rest.Config) *client {
	t.Helper()
	made := &client{config: config, encoding: encoding, namespace: os.Getenv("NAMESPACE")}
	var err error
	must := func(step error) {
		if step != nil && err == nil {
			err = step
		}
	}
	var step error
	made.typed, step = kubernetes.NewForConfig(config)
	must(step)
	made.dynamic, step = dynamic.NewForConfig(config)
	must(step)
	made.metadata, step = metadata.NewForConfig(config)
	must(step)
	made.extensions, step = apiextensionsclient.NewForConfig(config)
	must(step)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// inEach runs a test in every encoding.
func inEach(t *testing.T, test func(t *testing.T, c *client)) {
	for _, encoding := range encodings {
		t.Run(encoding.name, func(t *testing.T) {
			test(t, clientOf(t, encoding.name, configOf(t, encoding.sends, encoding.accepts)))
		})
	}
}

// within is a context that ends when a test has lost its patience.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// unique is a name that no other test has.
func unique(subject string) string {
	return fmt.Sprintf("go-%s-%06x", subject, rand.Intn(1<<24))
}

// succeeds takes what a call answers and fails the test where that is an error.
func succeeds[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// eventually waits until `look` says nothing any more; what it said last is told.
func eventually(t *testing.T, what string, look func() error) {
	t.Helper()
	ends := time.Now().Add(patience)
	for {
		err := look()
		if err == nil {
			return
		}
		if time.Now().After(ends) {
			t.Fatalf("%s: not after %v: %v", what, patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// same fails the test where two objects differ.
func same(t *testing.T, what string, one, other any) {
	t.Helper()
	if !equality.Semantic.DeepEqual(one, other) {
		t.Errorf("%s differ:\n%s", what, diff.Diff(one, other))
	}
}

func errorf(format string, arguments ...any) error {
	return fmt.Errorf(format, arguments...)
}
