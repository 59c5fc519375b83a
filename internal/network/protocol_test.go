package network

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pipes is a listener whose connections are made by hand.
type pipes struct{ conns chan net.Conn }

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestADeadConnectionIsGivenUp: nothing comes back on it, and whoever makes requests all the while gets another one.
func TestADeadConnectionIsGivenUp(t *testing.T) {
	certified := httptest.NewUnstartedServer(nil)
	certified.EnableHTTP2 = true
	certified.StartTLS()
	config := certified.TLS.Clone()
	certified.Close()
	synctest.Test(t, func(t *testing.T) {
		listener := pipes{make(chan net.Conn)}
		server := &http.Server{TLSConfig: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })}
		go func() { _ = server.ServeTLS(listener, "", "") }()
		var made, dead atomic.Int32 // connections; those up to dead swallow everything
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.Proxy, transport.TLSClientConfig = nil, &tls.Config{InsecureSkipVerify: true}
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			n := made.Add(1)
			client, one := net.Pipe()
			other, far := net.Pipe()
			listener.conns <- far
			isDead := func() bool { return n <= dead.Load() }
			go forward(one, other, isDead)
			go forward(other, one, isDead)
			return client, nil
		}
		Configure(transport)
		get := func() (string, error) {
			answer, err := (&http.Client{Transport: transport}).Get("https://storage.example/")
			if err != nil {
				return "", err
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			return string(body), err
		}
		protocol, err := get()
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1", protocol, "though the server speaks HTTP/2 as well")
		dead.Store(made.Load())
		began := time.Now()
		for _, err = get(); err != nil; _, err = get() {
			require.Less(t, time.Since(began), 2*time.Minute, "%v", err)
			time.Sleep(20 * time.Second)
		}
		transport.CloseIdleConnections()
		close(listener.conns)
		_ = server.Close()
	})
}

func forward(to, from net.Conn, isDead func() bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			_ = to.Close()
			return
		}
		if isDead() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			_ = from.Close()
			return
		}
	}
}
