package astro_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

const (
	orgID        = astrotest.OrganizationID
	deploymentID = astrotest.DeploymentID
)

var archive = bytes.Repeat([]byte("a DAG bundle "), 100)

// world is a client and the server that it talks to without a network.
type world struct {
	*astro.Client
	server *astrotest.Server
	token  string // given out by the token source; a test may change it
	reads  []bool // refresh, for each time the token was read
}

// inBubble runs a test with a clock of its own: pauses and time-outs take no time.
func inBubble(t *testing.T, o astrotest.Options, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, newWorld(t, o, astro.Options{}))
	})
}

func newWorld(t *testing.T, so astrotest.Options, co astro.Options) *world {
	t.Helper()
	w := &world{server: astrotest.New(so), token: astrotest.Token(orgID, time.Now().Add(time.Hour))}
	co.BaseURL, co.Version = "http://localhost/v1", "1.2.3"
	if co.Deployment == "" {
		co.Deployment = deploymentID
	}
	if co.Token == nil {
		co.Token = func(_ context.Context, refresh bool) (string, error) {
			w.reads = append(w.reads, refresh)
			return w.token, nil
		}
	}
	if co.Transport == nil {
		co.Transport = w.server.Transport()
	}
	client, err := astro.New(co)
	require.NoError(t, err)
	w.Client = client
	return w
}

func opens(content []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
}

// uploaded is a deploy with its bundle in place.
func (w *world) uploaded(t *testing.T) (astro.Deploy, string) {
	t.Helper()
	d, err := w.CreateDeploy(t.Context(), "dagbucket/test")
	require.NoError(t, err)
	version, err := w.Upload(t.Context(), d, opens(archive), int64(len(archive)))
	require.NoError(t, err)
	return d, version
}

// calls counts one kind of call.
func (w *world) calls(call astrotest.Call) int { return w.server.Calls()[call] }

// failure is err as the *astro.Error that it must be.
func failure(t *testing.T, err error) *astro.Error {
	t.Helper()
	var failed *astro.Error
	require.ErrorAs(t, err, &failed)
	require.NotContains(t, err.Error(), "\n", "one line")
	return failed
}

// roundTripper is a function as a transport.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// always answers every call alike.
func always(status int, header http.Header, body string) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if header == nil {
			header = http.Header{}
		}
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader([]byte(body))), Request: r}, nil
	})
}

var errNetwork = errors.New("connection reset by peer")

func newReader(content []byte) io.Reader { return bytes.NewReader(content) }

// replyWith serves raw bytes on a loopback address, made from the head of each request.
func replyWith(t *testing.T, reply func(request []byte) string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			request := make([]byte, 4096)
			n, _ := conn.Read(request)
			_, _ = io.WriteString(conn, reply(request[:n]))
			conn.Close()
		}
	})
	return listener.Addr().String()
}

// constant is a source of one token.
func constant(token string) func(context.Context, bool) (string, error) {
	return func(context.Context, bool) (string, error) { return token, nil }
}
