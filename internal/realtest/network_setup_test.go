package realtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// network is the function with a network that can be broken before S3 and before Astro.
type network struct {
	*function
	store, astro *side
	bucket       map[string]string // what the source holds: path in the archive and content
	elsewhere    *httptest.Server  // another host, which nothing should be sent to
	strayed      atomic.Int64      // requests that it got
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{store: newSide(t), astro: newSide(t), bucket: map[string]string{}}
	n.elsewhere = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n.strayed.Add(1) }))
	t.Cleanup(n.elsewhere.Close)
	n.function = newFunction(t, astrotest.Options{},
		"AWS_ENDPOINT_URL_S3=http://"+n.store.address, "ASTRO_API_URL=http://"+n.astro.address+"/v1")
	endpoint, err := url.Parse(*n.s3.Options().BaseEndpoint)
	require.NoError(t, err)
	n.store.serveBy(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(endpoint)
		r.Out.Host = r.In.Host // it is signed
	}, ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }})
	n.astro.serveBy(n.function.astro)
	return n
}

func (n *network) put(key, content string) {
	n.t.Helper()
	n.function.put(key, content)
	n.bucket[key] = content
}

func (n *network) heal() error { return errors.Join(n.store.heal(), n.astro.heal()) }

// side is a server as the function reaches it: through a proxy that breaks connections and a handler that breaks answers.
type side struct {
	t       *testing.T
	address string // of the proxy; it stays
	front   *httptest.Server

	mu     sync.Mutex
	proxy  *toxiproxy.Proxy
	server http.Handler
	faults []fault
}

type (
	hits   func(*http.Request) bool
	answer func(w http.ResponseWriter, r *http.Request, server http.Handler)
)

// fault answers the requests that it hits in place of the server.
type fault struct {
	hits   hits
	answer answer
}

func newSide(t *testing.T) *side {
	t.Helper()
	s := &side{t: t, address: "127.0.0.1:0"}
	s.front = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.front.CloseClientConnections()
		s.front.Close()
	})
	require.NoError(t, s.connect())
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.proxy.Stop()
	})
	return s
}

func (s *side) serveBy(server http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = server
}

func (s *side) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	server, faults := s.server, s.faults
	s.mu.Unlock()
	for _, f := range faults {
		if f.hits(r) {
			f.answer(w, r, server)
			return
		}
	}
	server.ServeHTTP(w, r)
}

func (s *side) connect() error {
	proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "side", s.address,
		s.front.Listener.Addr().String())
	if err := proxy.Start(); err != nil {
		return err
	}
	s.proxy, s.address = proxy, proxy.Listen
	return nil
}

// heal cuts what connections there are; new ones are sound.
func (s *side) heal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	s.stop()
	return s.connect()
}

// stop refuses connections and cuts those that there are. It lets no process start meanwhile, which would hold a copy of the
// listener, and so its port.
func (s *side) stop() {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	s.proxy.Stop()
}

func (s *side) answers(hits hits, answer answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fault{hits, answer})
}

const up, down = "upstream", "downstream" // from the function, and to it

// toxic breaks connections, those that exist included. attributes are toxiproxy's, such as `"rate":100`.
func (s *side) toxic(kind, attributes string, streams ...string) {
	s.toxicShare(kind, attributes, 1, streams...)
}

func (s *side) toxicShare(kind, attributes string, share int, streams ...string) {
	s.t.Helper()
	for _, stream := range streams {
		toxic := fmt.Sprintf(`{"type":%q,"stream":%q,"toxicity":%d,"attributes":{%s}}`, kind, stream, share, attributes)
		_, err := s.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
		require.NoError(s.t, err)
	}
}

// cutsAfter ends each connection after so many bytes of a stream.
func (s *side) cutsAfter(bytes int, stream string) {
	s.toxic("limit_data", fmt.Sprintf(`"bytes":%d`, bytes), stream)
}

// resetsAfter resets each new connection after so many bytes. Merely being there, the reset toxic makes the proxy close with a reset.
func (s *side) resetsAfter(bytes int, stream string) {
	s.t.Helper()
	s.stop()
	s.cutsAfter(bytes, stream)
	s.toxicShare("reset_peer", `"timeout":0`, 0, stream)
	require.NoError(s.t, s.proxy.Start())
}

// The requests that a fault hits.

func all(*http.Request) bool { return true }

func call(method, pathPart string) hits {
	return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, pathPart) }
}

func createDeploy(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/deploys")
}

func listing(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Query().Has("list-type")
}
func secondPage(r *http.Request) bool { return listing(r) && r.URL.Query().Has("continuation-token") }
func beginUpload(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploads")
}
func secondPart(r *http.Request) bool { return r.URL.Query().Get("partNumber") == "2" }
func changing(r *http.Request) bool   { return r.Method != http.MethodGet }

// after is then from the first request on that begin hits.
func after(begin, then hits) hits {
	var begun atomic.Bool
	return func(r *http.Request) bool {
		if begin(r) {
			begun.Store(true)
		}
		return begun.Load() && then(r)
	}
}

// The answers. They read the request first: a server notices only then that a client has gone.

func page(status int, contentType, content string) answer {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, content)
	}
}

func portal(status int) answer {
	return page(status, "text/html", "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Accept the terms of use.</body></html>")
}

func empty(status int) answer {
	return page(status, "application/json", "")
}

func hangs(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// endless is JSON without end, as fast as the client reads.
func endless(status int) answer {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("x-ms-version-id", "2026-01-01T00:00:00.0000000Z")
		w.WriteHeader(status)
		_, err := io.WriteString(w, `{"id":"`)
		for chunk := strings.Repeat("x", 64<<10); err == nil; {
			_, err = io.WriteString(w, chunk)
		}
	}
}

// trickles is an answer of one byte now and then.
func trickles(status int) answer {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		trickle(w, r, status)
	}
}

func trickle(w http.ResponseWriter, r *http.Request, status int) {
	w.WriteHeader(status)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, _ = io.WriteString(w, " ")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// takesEffectAndTrickles carries the request out; the body of its answer does not end.
func takesEffectAndTrickles(w http.ResponseWriter, r *http.Request, server http.Handler) {
	recorded := httptest.NewRecorder()
	server.ServeHTTP(recorded, r)
	w.Header().Set("x-ms-version-id", recorded.Header().Get("x-ms-version-id"))
	trickle(w, r, recorded.Code)
}

func (n *network) redirects(status int) answer {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Location", n.elsewhere.URL+r.URL.RequestURI())
		w.WriteHeader(status)
	}
}

// takesEffect carries the request out and cuts the connection in place of the answer.
func takesEffect(_ http.ResponseWriter, r *http.Request, server http.Handler) {
	server.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// uploadTo is an answer to a create with another scheme and host in its upload URL.
func uploadTo(base string) answer {
	return func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		recorded := httptest.NewRecorder()
		server.ServeHTTP(recorded, r)
		deploy := object{}
		_ = json.Unmarshal(recorded.Body.Bytes(), &deploy)
		address, _ := deploy["dagsUploadUrl"].(string)
		_, path, _ := strings.Cut(address, r.Host)
		deploy["dagsUploadUrl"] = base + path
		_ = json.NewEncoder(w).Encode(deploy)
	}
}

// noise does not compress, and is the same every time.
func noise(size int) string {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content) // never fails
	return string(content)
}
