package bucket

import (
	"context"
	"sync/atomic"
)

// Requests counts what a run asked of its storages: requests on the wire, so retries and pages count too.
type Requests struct {
	List, Get, Put, Delete atomic.Int64
}

type requestsKey struct{}

// CountRequests returns a context under which implementations count their requests into r.
func CountRequests(ctx context.Context, r *Requests) context.Context {
	return context.WithValue(ctx, requestsKey{}, r)
}

// RequestsOf returns the counter of ctx; never nil.
func RequestsOf(ctx context.Context) *Requests {
	if r, ok := ctx.Value(requestsKey{}).(*Requests); ok {
		return r
	}
	return new(Requests)
}
