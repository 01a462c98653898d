package clients

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
)

// road leads connections to the server and can be broken.
type road struct {
	listener net.Listener
	server   string
	mutex    sync.Mutex
	open     []net.Conn
	taken    atomic.Int32
	closed   atomic.Bool
}

// roadTo opens a road to the server of a configuration, which it changes to lead there.
func roadTo(t *testing.T, config *rest.Config) *road {
	t.Helper()
	server, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	made := &road{listener: listener, server: server.Host}
	t.Cleanup(func() { _ = listener.Close() })
	go made.serve()
	config.TLSClientConfig.ServerName = server.Hostname()
	config.Host = "https://" + listener.Addr().String()
	return made
}

func (r *road) serve() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", r.server)
		if err != nil || r.closed.Load() {
			_ = near.Close()
			continue
		}
		r.taken.Add(1)
		r.mutex.Lock()
		r.open = append(r.open, near, far)
		r.mutex.Unlock()
		go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
		go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
	}
}

// breaks ends every connection that is open.
func (r *road) breaks() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, connection := range r.open {
		_ = connection.Close()
	}
	r.open = nil
}
