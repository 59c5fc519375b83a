package astro

import (
	"context"
	"net/http"
	"sync/atomic"
)

type requestsKey struct{}

// CountRequests returns a context under which requests are counted into n: each on the wire, repeated ones and uploads too.
func CountRequests(ctx context.Context, n *atomic.Int64) context.Context {
	return context.WithValue(ctx, requestsKey{}, n)
}

// counted counts the requests of a transport.
type counted struct{ http.RoundTripper }

func (t counted) RoundTrip(req *http.Request) (*http.Response, error) {
	if n, ok := req.Context().Value(requestsKey{}).(*atomic.Int64); ok {
		n.Add(1)
	}
	return t.RoundTripper.RoundTrip(req)
}
