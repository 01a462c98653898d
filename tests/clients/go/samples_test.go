package clients

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/base64"
	"encoding/pem"
	"io"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

//go:embed samples
var sampleFiles embed.FS

// samples are the valid objects of a file in samples/, in the types of Go, with names of their own.
func samples(t *testing.T, file string) []runtime.Object {
	t.Helper()
	text, err := sampleFiles.ReadFile("samples/" + file + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	filledIn := strings.NewReplacer("$NAMESPACE", os.Getenv("NAMESPACE"), "$REQUEST", signingRequest(t)).Replace(string(text))
	reader := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(filledIn)))
	var found []runtime.Object
	for {
		document, err := reader.Read()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		object, err := sample(document)
		if err != nil {
			t.Fatalf("%s: %v", document, err)
		}
		found = append(found, object)
	}
}

func sample(document []byte) (runtime.Object, error) {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return nil, err
	}
	gvk := schema.FromAPIVersionAndKind(kind.APIVersion, kind.Kind)
	object, err := everyScheme.New(gvk)
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalStrict(document, object); err != nil {
		return nil, err
	}
	if named := object.(metav1.Object); named.GetName() == "" {
		named.SetName(unique(strings.ToLower(gvk.Kind)))
	}
	return object, nil
}

// signingRequest is a certificate signing request, as a CertificateSigningRequest has it.
func signingRequest(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "go.example.test"}}
	request, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(text.Bytes())
}
