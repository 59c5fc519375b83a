package realtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/state"
)

// effect is a kind of request that changes something outside the function.
type effect string

const (
	leaseTaken         effect = "lease taken"
	leaseKept          effect = "lease kept"
	leaseRung          effect = "lease rung"
	leaseReleased      effect = "lease released"
	leaseAbandoned     effect = "lease abandoned"
	recordPending      effect = "record: pending"
	recordPromoted     effect = "record: promoted"
	recordUnchanged    effect = "record: unchanged"
	bundleStored       effect = "bundle stored"
	multipartBegun     effect = "multipart upload begun"
	multipartCompleted effect = "multipart upload completed"
	manifestStored     effect = "manifest stored"
	deployCreated      effect = "deploy created"
	bundleUploaded     effect = "bundle uploaded to Astro"
	deployFinalized    effect = "deploy finalized"
)

// finalizeTime is what a finalize takes, so that two of them can meet.
const finalizeTime = 300 * time.Millisecond

// effects stands between the environments of a function and its servers. It notes each request that had an effect, and when asked
// kills the environment that sent it before the answer gets there.
type effects struct {
	kill      func(environment int)
	transport *http.Transport

	mu         sync.Mutex
	seen       map[effect]int
	wanted     map[effect]bool // kill at the next one
	killed     map[effect]int
	holders    map[string]string // of leases
	finalizing map[string]int    // by Deployment
	mostAtOnce int               // finalizes of one Deployment
}

func newEffects(t *testing.T, kill func(environment int)) *effects {
	e := &effects{
		kill: kill, transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100},
		seen: map[effect]int{}, wanted: map[effect]bool{}, killed: map[effect]int{}, holders: map[string]string{}, finalizing: map[string]int{},
	}
	t.Cleanup(e.transport.CloseIdleConnections)
	return e
}

// want asks for one kill at each of these.
func (e *effects) want(kinds ...effect) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, k := range kinds {
		e.wanted[k] = true
	}
}

// stillWanted are the kinds that nobody was killed at yet.
func (e *effects) stillWanted() []effect {
	e.mu.Lock()
	defer e.mu.Unlock()
	var kinds []effect
	for k := range e.wanted {
		kinds = append(kinds, k)
	}
	return kinds
}

func (e *effects) counts() (seen, killed map[effect]int, mostFinalizesAtOnce int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.seen), maps.Clone(e.killed), e.mostAtOnce
}

type changeKey struct{}

// proxy serves target to one environment and returns where.
func (e *effects) proxy(t *testing.T, target string, environment int) string {
	t.Helper()
	to, err := url.Parse(target)
	require.NoError(t, err)
	silent := log.New(io.Discard, "", 0)
	proxy := &httputil.ReverseProxy{
		Transport: e.transport, ErrorLog: silent,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed, and upload URLs are made of it
		},
		ModifyResponse: func(r *http.Response) error { return e.answered(r, environment) },
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{ErrorLog: silent, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := changeOf(r)
		if err != nil {
			panic(http.ErrAbortHandler) // the environment died while it was sending
		}
		if c.kind == deployFinalized {
			defer e.finalize(r)()
		}
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), changeKey{}, c)))
	})}
	go func() { _ = server.Serve(listener) }() // ends with the test
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}

// finalize counts a finalize under way and lets it take its time.
func (e *effects) finalize(r *http.Request) (end func()) {
	deployment, _, _ := strings.Cut(r.URL.Path, "/deploys/")
	add := func(n int) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.finalizing[deployment] += n
		e.mostAtOnce = max(e.mostAtOnce, e.finalizing[deployment])
	}
	add(1)
	select {
	case <-time.After(finalizeTime):
	case <-r.Context().Done():
	}
	return func() { add(-1) }
}

var errKilled = errors.New("the environment was killed after the effect")

// answered notes what the server has done, and kills if that is wanted.
func (e *effects) answered(r *http.Response, environment int) error {
	c := r.Request.Context().Value(changeKey{}).(change)
	if c.kind == "" || r.StatusCode/100 != 2 {
		return nil
	}
	e.mu.Lock()
	if c.kind == leaseTaken && e.holders[c.key] == c.holder {
		c.kind = leaseKept
	}
	if c.holder != "" || c.kind == leaseReleased || c.kind == leaseAbandoned {
		e.holders[c.key] = c.holder
	}
	e.seen[c.kind]++
	hit := e.wanted[c.kind] && r.Request.Context().Err() == nil
	if hit {
		delete(e.wanted, c.kind)
		e.killed[c.kind]++
	}
	e.mu.Unlock()
	if !hit {
		return nil
	}
	e.kill(environment)
	return errKilled
}

// change is what a request is about to change; its kind is "" if that is nothing.
type change struct {
	kind        effect
	key, holder string // of a lease
}

func changeOf(r *http.Request) (change, error) {
	path, query := r.URL.Path, r.URL.Query()
	switch {
	case r.Method == http.MethodPut && strings.HasSuffix(path, "/lease.json"):
		return leaseChange(r)
	case r.Method == http.MethodPut && strings.HasSuffix(path, "/record.json"):
		return recordChange(r)
	case r.Method == http.MethodPut && strings.Contains(path, "/bundles/") && !query.Has("uploadId"):
		return change{kind: bundleStored}, nil
	case r.Method == http.MethodPost && query.Has("uploads"):
		return change{kind: multipartBegun}, nil
	case r.Method == http.MethodPost && query.Has("uploadId"):
		return change{kind: multipartCompleted}, nil
	case r.Method == http.MethodPut && strings.Contains(path, "/manifests/"):
		return change{kind: manifestStored}, nil
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/deploys"):
		return change{kind: deployCreated}, nil
	case r.Method == http.MethodPut && strings.HasPrefix(path, "/blobs/"):
		return change{kind: bundleUploaded}, nil
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/finalize"):
		return change{kind: deployFinalized}, readJSON(r, new(any)) // only then it is seen that the sender has gone
	}
	return change{}, nil
}

func leaseChange(r *http.Request) (change, error) {
	var lease struct {
		Holder string
		Again  bool
	}
	err := readJSON(r, &lease)
	c := change{key: r.URL.Path, holder: lease.Holder}
	switch {
	case lease.Holder == "" && lease.Again:
		c.kind = leaseAbandoned
	case lease.Holder == "":
		c.kind = leaseReleased
	case lease.Again:
		c.kind = leaseRung
	default:
		c.kind = leaseTaken
	}
	return c, err
}

func recordChange(r *http.Request) (change, error) {
	var record state.Record
	err := readJSON(r, &record)
	switch {
	case record.Pending != nil:
		return change{kind: recordPending}, err
	case len(record.Runs) > 0 && record.Runs[len(record.Runs)-1].Outcome == "deployed":
		return change{kind: recordPromoted}, err
	}
	return change{kind: recordUnchanged}, err
}

// readJSON reads a small body, whole or in AWS's chunks, and puts it back.
func readJSON(r *http.Request, into any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return json.NewDecoder(bytes.NewReader(body[max(0, bytes.IndexByte(body, '{')):])).Decode(into)
}
