// Package network is what connections to a storage have in common, whichever cloud's it is: they give up on silence, and what went
// wrong with one is said in a few words.
package network

import (
	"context"
	"net"
	"net/http"
	"time"
)

const (
	connections   = 128              // kept open; more than the deployer's window and its uploads
	DialTimeout   = 5 * time.Second  // also for the handshake of TLS
	headerTimeout = 30 * time.Second // from a request to the beginning of its answer
	idleTimeout   = 60 * time.Second // for a connection without a request
	stallTimeout  = 60 * time.Second // for a body of which nothing moves; longer than headerTimeout
)

// Configure makes t keep enough connections for parallel reads, and give up on a silent server. It speaks HTTP/1.1: under HTTP/2 all requests
// share one connection, each of them would keep a dead one alive, and nobody would notice a body that has stalled.
func Configure(t *http.Transport) {
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.ForceAttemptHTTP2 = false
	t.MaxIdleConns, t.MaxIdleConnsPerHost = connections, connections
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return stallGuard{conn}, nil
	}
	t.TLSHandshakeTimeout, t.ResponseHeaderTimeout, t.IdleConnTimeout = DialTimeout, headerTimeout, idleTimeout
}

// NewTransport returns the standard library's transport, configured.
func NewTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: DialTimeout}).DialContext
	Configure(t)
	return t
}

// stallGuard breaks a connection on which nothing moves, in either direction, so that its reader can make another.
type stallGuard struct{ net.Conn }

func (c stallGuard) Read(p []byte) (int, error) {
	if err := c.extend(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c stallGuard) Write(p []byte) (int, error) {
	if err := c.extend(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// extend moves the deadline of both directions: while an upload goes on, the answer may be waited for.
func (c stallGuard) extend() error { return c.SetDeadline(time.Now().Add(stallTimeout)) }
