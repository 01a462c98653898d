package clients

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
)

// running makes a pod of a script and waits until it runs.
func running(t *testing.T, c *client, script string) *corev1.Pod {
	t.Helper()
	grace := int64(0)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: unique("streams")},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "c", Image: "rkctl.local/busybox:1", ImagePullPolicy: corev1.PullNever,
				Command: []string{"sh", "-c", script}, Stdin: true,
			}},
		},
	}
	pods := c.typed.CoreV1().Pods(c.namespace)
	if _, err := pods.Create(within(t), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = pods.Delete(context.Background(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &grace})
	})
	eventually(t, "the pod is ready", func() error {
		got, err := pods.Get(within(t), pod.Name, metav1.GetOptions{})
		if err != nil || len(got.Status.ContainerStatuses) == 0 || !got.Status.ContainerStatuses[0].Ready {
			return errorf("%v: %+v", err, got.Status)
		}
		pod = got
		return nil
	})
	return pod
}

// executors are the ways to streams: SPDY, WebSockets, and one with the other where it fails, as kubectl has it.
var executors = map[string]func(config *rest.Config, request *rest.Request) (remotecommand.Executor, error){
	"spdy": func(config *rest.Config, request *rest.Request) (remotecommand.Executor, error) {
		return remotecommand.NewSPDYExecutor(config, "POST", request.URL())
	},
	"websocket": func(config *rest.Config, request *rest.Request) (remotecommand.Executor, error) {
		return remotecommand.NewWebSocketExecutor(config, "GET", request.URL().String())
	},
	"fallback": func(config *rest.Config, request *rest.Request) (remotecommand.Executor, error) {
		over, err := remotecommand.NewWebSocketExecutor(config, "GET", request.URL().String())
		if err != nil {
			return nil, err
		}
		plain, err := remotecommand.NewSPDYExecutor(config, "POST", request.URL())
		if err != nil {
			return nil, err
		}
		return remotecommand.NewFallbackExecutor(over, plain, httpstream.IsUpgradeFailure)
	},
}

// conformance: commands run over SPDY and WebSockets, with their exit codes and terminals' sizes
func TestCommandsRunOverEveryStream(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		pod := running(t, c, "sleep 3600")
		for name, executor := range executors {
			exec := func(options *corev1.PodExecOptions, streams remotecommand.StreamOptions) error {
				request := c.typed.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name)
				request = request.SubResource("exec").VersionedParams(options, scheme.ParameterCodec)
				made, err := executor(c.config, request)
				if err != nil {
					return err
				}
				return made.StreamWithContext(within(t), streams)
			}
			t.Run(name, func(t *testing.T) { runs(t, exec) })
		}
	})
}

func runs(t *testing.T, exec func(*corev1.PodExecOptions, remotecommand.StreamOptions) error) {
	var out, errors bytes.Buffer
	large := strings.Repeat("0123456789abcdef", 1<<16)
	err := exec(&corev1.PodExecOptions{Command: []string{"sh", "-c", "cat; echo failed >&2; exit 7"}, Stdin: true, Stdout: true, Stderr: true},
		remotecommand.StreamOptions{Stdin: strings.NewReader(large), Stdout: &out, Stderr: &errors})
	var code utilexec.CodeExitError
	if exit, ok := err.(utilexec.CodeExitError); ok {
		code = exit
	}
	if code.Code != 7 || out.String() != large || errors.String() != "failed\n" {
		t.Errorf("%v: %d bytes of %d came back, and %q", err, out.Len(), len(large), errors.String())
	}
	out.Reset()
	size := &oneSize{size: &remotecommand.TerminalSize{Width: 77, Height: 33}}
	// The size comes beside the program: it is asked for until it is there.
	script := "for i in $(seq 100); do stty size | grep '33 77' && break; sleep 0.1; done"
	err = exec(&corev1.PodExecOptions{Command: []string{"sh", "-c", script}, Stdout: true, Stdin: true, TTY: true},
		remotecommand.StreamOptions{Stdin: idle(t), Stdout: &out, Tty: true, TerminalSizeQueue: size})
	if err != nil || !strings.Contains(out.String(), "33 77") {
		t.Errorf("%v: %q", err, out.String())
	}
	err = exec(&corev1.PodExecOptions{Command: []string{"/nothing"}, Stdout: true}, remotecommand.StreamOptions{Stdout: &out})
	if err == nil {
		t.Error("a command that is not there ran")
	}
}

// idle is an input on which nothing comes until the test ends.
func idle(t *testing.T) io.Reader {
	reader, writer := io.Pipe()
	t.Cleanup(func() { _ = writer.Close() })
	return reader
}

// oneSize tells a terminal's size once.
type oneSize struct {
	size *remotecommand.TerminalSize
}

func (s *oneSize) Next() *remotecommand.TerminalSize {
	told := s.size
	s.size = nil
	return told
}

func TestAProgramIsAttachedTo(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		for name, executor := range executors {
			t.Run(name, func(t *testing.T) {
				pod := running(t, c, "while read line; do echo \"heard $line\"; done")
				request := c.typed.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name)
				options := &corev1.PodAttachOptions{Container: "c", Stdin: true, Stdout: true}
				made, err := executor(c.config, request.SubResource("attach").VersionedParams(options, scheme.ParameterCodec))
				if err != nil {
					t.Fatal(err)
				}
				in, say := io.Pipe()
				heard, out := io.Pipe()
				ctx, cancel := context.WithCancel(within(t))
				defer cancel()
				go func() {
					_ = out.CloseWithError(made.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: out}))
				}()
				go func() { _, _ = fmt.Fprintln(say, "something") }()
				if line, err := bufio.NewReader(heard).ReadString('\n'); line != "heard something\n" {
					t.Errorf("%v: %q", err, line)
				}
			})
		}
	})
}

// conformance: ports are forwarded over SPDY and WebSockets
func TestPortsAreForwarded(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		pod := running(t, c, "mkdir /w; echo hello >/w/index.html; httpd -f -p 8080 -h /w")
		url := c.typed.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("portforward").URL()
		transport, upgrader, err := spdy.RoundTripperFor(c.config)
		if err != nil {
			t.Fatal(err)
		}
		tunneling, err := portforward.NewSPDYOverWebsocketDialer(url, c.config)
		if err != nil {
			t.Fatal(err)
		}
		for name, dialer := range map[string]httpstream.Dialer{
			"spdy":      spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", url),
			"websocket": tunneling,
		} {
			t.Run(name, func(t *testing.T) { forwards(t, dialer) })
		}
	})
}

func forwards(t *testing.T, dialer httpstream.Dialer) {
	stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("no port is forwarded")
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			// The program may not listen yet.
			eventually(t, "an answer through the port", func() error {
				answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
				if err != nil {
					return err
				}
				defer func() { _ = answer.Body.Close() }()
				if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "hello\n" {
					return errorf("%v: %q", err, text)
				}
				return nil
			})
		})
	}
	group.Wait()
	close(stop)
	if err := <-ended; err != nil {
		t.Errorf("the end of the forwarding: %v", err)
	}
}

func TestLogsAreFollowed(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		pod := running(t, c, "echo one; echo two; read line; echo \"and $line\"; sleep 3600")
		lines := int64(1)
		options := &corev1.PodLogOptions{Follow: true, TailLines: &lines, Timestamps: true}
		followed, err := c.typed.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, options).Stream(within(t))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = followed.Close() }()
		line, err := bufio.NewReader(followed).ReadString('\n')
		stamp, text, _ := strings.Cut(line, " ")
		if _, wrong := time.Parse(time.RFC3339Nano, stamp); err != nil || wrong != nil || text != "two\n" {
			t.Errorf("%v, %v: %q", err, wrong, line)
		}
		whole, err := c.typed.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(within(t))
		if err != nil || string(whole) != "one\ntwo\n" {
			t.Errorf("%v: %q", err, whole)
		}
	})
}
