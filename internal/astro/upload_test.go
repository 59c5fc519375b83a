package astro_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// createAnswer is an answer to create with this upload URL.
func createAnswer(uploadURL string) string {
	return fmt.Sprintf(`{"id":"clv1","isDagDeployEnabled":true,"status":"INITIALIZED","dagsUploadUrl":%q}`, uploadURL)
}

// TestUploadURLOnTheWire compares the request line that arrives with the URL that was given, byte for byte.
func TestUploadURLOnTheWire(t *testing.T) {
	for name, suffix := range map[string]string{
		"signed":                 "/org/dep?sv=2024-11-04&se=2026-01-01T00%3A00%3A00Z&sig=a%2Bb%2Fc%3D%3D",
		"raw equals sign":        "/org/dep?sig=abc==&x",
		"plus and lower-case":    "/org/dep?sig=a+b%2bc%2f",
		"order and empty values": "/org/dep?z=1&a=&&b&=",
		"encoded path":           "/a%2Fb/%7Ec/d%20e?sig=1",
		"needlessly encoded":     "/%61bc/dep?sig=1",
		"odd path":               "/a|b/\"c\"/{d}?sig=|\"{}",
		"semicolon and question": "/a;b?x=?;y",
		"no path":                "?sig=1",
		"double slash":           "/a//b?sig=1",
		"only a path":            "/a",
		"empty query":            "/a?",
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { listener.Close() })
			line := make(chan string, 1)
			go storeOnce(listener, line)
			api := always(200, nil, createAnswer("http://"+listener.Addr().String()+suffix))
			network := &http.Transport{}
			t.Cleanup(network.CloseIdleConnections)
			w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPut {
					return network.RoundTrip(r)
				}
				return api.RoundTrip(r)
			})})
			d, err := w.CreateDeploy(t.Context(), "")
			require.NoError(t, err)
			version, err := w.Upload(t.Context(), d, opens(archive), int64(len(archive)))
			require.NoError(t, err)
			require.Equal(t, "v1", version)
			want := suffix
			if strings.HasPrefix(suffix, "?") {
				want = "/" + suffix
			}
			require.Equal(t, "PUT "+want+" HTTP/1.1\r\n", <-line)
		})
	}
}

// storeOnce takes one request, tells its first line, and answers as the storage does.
func storeOnce(listener net.Listener, line chan<- string) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	first, _ := reader.ReadString('\n')
	request, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader("PUT / HTTP/1.1\r\n"), reader)))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, request.Body)
	_, _ = io.WriteString(conn, "HTTP/1.1 201 Created\r\nx-ms-version-id: v1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	line <- first
}

func TestUploadURLRefused(t *testing.T) {
	for name, test := range map[string]struct{ api, url, says string }{
		"plain http":                    {"https://api.astronomer.io/v1", "http://blob.example.com/x?sig=hunter2", "does not begin with https:// (plain http is only for a loopback host)"},
		"plain http to loopback":        {"https://api.astronomer.io/v1", "http://127.0.0.1/x?sig=hunter2", "does not begin with https:// (plain http is only for a loopback host)"},
		"plain http from loopback":      {"http://127.0.0.1/v1", "http://blob.example.com/x?sig=hunter2", "does not begin with https:// (plain http is only for a loopback host)"},
		"looks like loopback":           {"http://127.0.0.1/v1", "http://127.0.0.1.example.com/x?sig=hunter2", "does not begin with https:// (plain http is only for a loopback host)"},
		"https loopback API, http blob": {"https://127.0.0.1/v1", "http://127.0.0.1/x?sig=hunter2", "does not begin with https:// (plain http is only for a loopback host)"},
		"another scheme":                {"https://api.astronomer.io/v1", "ftp://blob.example.com/x?sig=hunter2", "does not begin with https:// (plain http is only for a loopback host)"},
		"file":                          {"https://api.astronomer.io/v1", "file:///etc/passwd", "malformed"},
		"no scheme":                     {"https://api.astronomer.io/v1", "blob.example.com/x?sig=hunter2", "malformed"},
		"user in it":                    {"https://api.astronomer.io/v1", "https://me:hunter2@blob.example.com/x", "malformed"},
		"space":                         {"https://api.astronomer.io/v1", "https://blob.example.com/x y?sig=hunter2", "malformed"},
		"line break":                    {"https://api.astronomer.io/v1", "https://blob.example.com/x\r\nHost: y?sig=hunter2", "malformed"},
		"fragment":                      {"https://api.astronomer.io/v1", "https://blob.example.com/x?sig=hunter2#a", "malformed"},
		"not ASCII":                     {"https://api.astronomer.io/v1", "https://blob.example.com/é?sig=hunter2", "malformed"},
		"bad escape":                    {"https://api.astronomer.io/v1", "https://blob.example.com/%zz?sig=hunter2", "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			puts := 0
			client, err := astro.New(astro.Options{BaseURL: test.api, Deployment: deploymentID,
				Token: func(context.Context, bool) (string, error) { return astrotest.Token(orgID, time.Time{}), nil },
				Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodPut {
						puts++
					}
					return always(200, nil, createAnswer(test.url)).RoundTrip(r)
				})})
			require.NoError(t, err)
			d, err := client.CreateDeploy(t.Context(), "")
			require.NoError(t, err)
			_, err = client.Upload(t.Context(), d, opens(archive), int64(len(archive)))
			require.ErrorContains(t, err, test.says)
			require.ErrorContains(t, err, "upload URL")
			require.True(t, failure(t, err).Permanent())
			require.NotContains(t, err.Error(), "hunter2")
			require.Zero(t, puts)
		})
	}
}

// TestUploadAnywhereOverHTTPS: the storage's host is not the API's.
func TestUploadAnywhereOverHTTPS(t *testing.T) {
	var host string
	w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodPut {
			return always(200, nil, createAnswer("https://blob.example.com:444/x?sig=1")).RoundTrip(r)
		}
		host = r.URL.Scheme + "://" + r.URL.Host
		_, err := io.Copy(io.Discard, r.Body)
		require.NoError(t, err)
		return always(201, http.Header{"X-Ms-Version-Id": {"v7"}}, "").RoundTrip(r)
	})})
	d, err := w.CreateDeploy(t.Context(), "")
	require.NoError(t, err)
	version, err := w.Upload(t.Context(), d, opens(archive), int64(len(archive)))
	require.NoError(t, err)
	require.Equal(t, "v7", version)
	require.Equal(t, "https://blob.example.com:444", host)
}

func TestUploadRefusals(t *testing.T) {
	xml := `<?xml version="1.0"?><Error><Code>OutOfRange</Code><Message>no` + "\n" + `RequestId:1</Message></Error>`
	for name, test := range map[string]struct {
		status    int
		header    http.Header
		body      string
		says      string
		permanent bool
		puts      int
	}{
		"signature ran out": {403, http.Header{"X-Ms-Error-Code": {"AuthenticationFailed"}, "X-Ms-Request-Id": {"r1"}}, xml,
			`it refuses the signed upload URL, which has probably expired: "AuthenticationFailed" (request r1); the next run makes a new deploy`, false, 1},
		"unauthorized":       {401, nil, "", "refuses the signed upload URL", false, 1},
		"code in the body":   {400, nil, xml, `HTTP 400 Bad Request from the storage: "OutOfRange"`, true, 1},
		"too large":          {413, http.Header{"X-Ms-Error-Code": {"RequestBodyTooLarge"}}, "", "RequestBodyTooLarge", true, 1},
		"no container":       {404, http.Header{"X-Ms-Error-Code": {"ContainerNotFound"}}, "", "ContainerNotFound", false, 1},
		"busy":               {503, http.Header{"X-Ms-Error-Code": {"ServerBusy"}}, "", `(tried 5 times): "ServerBusy"`, false, 5},
		"slow down":          {429, nil, "", "(tried 5 times)", false, 5},
		"no version":         {201, nil, "", "no usable version (x-ms-version-id)", false, 1},
		"version with a tab": {201, http.Header{"X-Ms-Version-Id": {"a\tb"}}, "", "no usable version", false, 1},
		"endless version":    {201, http.Header{"X-Ms-Version-Id": {strings.Repeat("1", 101)}}, "", "no usable version", false, 1},
		"200":                {200, http.Header{"X-Ms-Version-Id": {"v1"}}, "", "HTTP 200 OK from the storage, where 201 was expected; check that no proxy answers in the storage's place", false, 1},
		"redirect":           {307, http.Header{"Location": {"https://elsewhere.example"}}, "", "a redirect, which is not followed; check that no proxy answers in the storage's place", true, 1},
		"wild code":          {400, http.Header{"X-Ms-Error-Code": {strings.Repeat("\x07<b>", 500)}}, "", "<b>", true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				puts := 0
				w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.Method != http.MethodPut {
						return always(200, nil, createAnswer("https://blob.example.com/x?sig=1")).RoundTrip(r)
					}
					puts++
					return always(test.status, test.header, test.body).RoundTrip(r)
				})})
				d, err := w.CreateDeploy(t.Context(), "")
				require.NoError(t, err)
				_, err = w.Upload(t.Context(), d, opens(archive), int64(len(archive)))
				require.ErrorContains(t, err, test.says)
				require.Equal(t, test.permanent, failure(t, err).Permanent())
				require.Equal(t, test.puts, puts)
				require.Less(t, len(err.Error()), 500)
				require.NotRegexp(t, `[[:cntrl:]]`, err.Error())
			})
		})
	}
}

// TestUploadDoesNotWaitForABody: the version is in the header of a 201.
func TestUploadDoesNotWaitForABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := false
		w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodPut {
				return always(200, nil, createAnswer("https://blob.example.com/x?sig=1")).RoundTrip(r)
			}
			return &http.Response{StatusCode: 201, Header: http.Header{"X-Ms-Version-Id": {"v1"}}, Body: endlessBody{r.Context(), &closed}}, nil
		})})
		d, err := w.CreateDeploy(t.Context(), "")
		require.NoError(t, err)
		began := time.Now()
		version, err := w.Upload(t.Context(), d, opens(archive), int64(len(archive)))
		require.NoError(t, err)
		require.Equal(t, "v1", version)
		require.Zero(t, time.Since(began))
		require.True(t, closed)
	})
}

// endlessBody gives nothing before its context ends.
type endlessBody struct {
	ctx    context.Context
	closed *bool
}

func (e endlessBody) Read([]byte) (int, error) { <-e.ctx.Done(); return 0, e.ctx.Err() }
func (e endlessBody) Close() error             { *e.closed = true; return nil }

func TestUploadOverABadNetwork(t *testing.T) {
	op := func(name string, err error) error { return &net.OpError{Op: name, Net: "tcp", Err: err} }
	const reach = "; check that the function can reach blob.example.com:444 (DNS, VPC, proxy)"
	for name, test := range map[string]struct {
		err  error
		says string
	}{
		"reset":        {op("read", syscall.ECONNRESET), "the connection broke during the upload (tried 5 times)"},
		"broken pipe":  {op("write", syscall.EPIPE), "the connection broke during the upload (tried 5 times)"},
		"closed":       {op("readfrom", net.ErrClosed), "the connection broke during the upload (tried 5 times)"},
		"no answer":    {io.EOF, "the connection broke during the upload (tried 5 times)"},
		"unknown host": {op("dial", &net.DNSError{Err: "no such host", Name: "blob.example.com"}), "no answer (tried 5 times): dial tcp: lookup blob.example.com: no such host" + reach},
		"refused":      {op("dial", syscall.ECONNREFUSED), "no answer (tried 5 times): dial tcp: connection refused" + reach},
		"no TLS": {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"},
			"no answer (tried 5 times): tls: first record does not look like a TLS handshake" + reach},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.Method != http.MethodPut {
						return always(200, nil, createAnswer("https://blob.example.com:444/x?sig=1")).RoundTrip(r)
					}
					return nil, test.err
				})})
				d, err := w.CreateDeploy(t.Context(), "")
				require.NoError(t, err)
				_, err = w.Upload(t.Context(), d, opens(archive), int64(len(archive)))
				require.EqualError(t, err, "astro: upload the DAG bundle of deploy "+d.ID+": "+test.says)
				require.ErrorIs(t, err, test.err)
				require.False(t, failure(t, err).Permanent())
			})
		})
	}
}

func TestUploadURLExpires(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		d, err := w.CreateDeploy(t.Context(), "")
		require.NoError(t, err)
		time.Sleep(11 * time.Minute)
		_, err = w.Upload(t.Context(), d, opens(archive), int64(len(archive)))
		require.ErrorContains(t, err, "probably expired")
		require.False(t, failure(t, err).Permanent())
		require.Equal(t, 1, w.calls(astrotest.Upload))
	})
}

// TestExpiredURLOfALargeUpload: the storage says no before the body is sent, and that is what is told.
func TestExpiredURLOfALargeUpload(t *testing.T) {
	var later atomic.Int64
	server := astrotest.New(astrotest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
	require.NoError(t, server.Start())
	t.Cleanup(server.Close)
	client, err := astro.New(astro.Options{BaseURL: server.URL(), Deployment: deploymentID,
		Token: func(context.Context, bool) (string, error) { return astrotest.Token(orgID, time.Time{}), nil }})
	require.NoError(t, err)
	d, err := client.CreateDeploy(t.Context(), "")
	require.NoError(t, err)
	later.Store(int64(time.Hour))
	const size = 64 << 20
	_, err = client.Upload(t.Context(), d, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(spaces{}, size)), nil
	}, size)
	require.ErrorContains(t, err, "probably expired")
}

// TestLargeUploadsAreTimedAndAskedForByLength: the longer the bundle, the more time; a large one asks before it sends.
func TestLargeUploadsAreTimedAndAskedForByLength(t *testing.T) {
	for size, want := range map[int64]time.Duration{1300: 2 * time.Minute, 1 << 30: 2*time.Minute + 512*time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var first time.Duration
			w := newWorld(t, astrotest.Options{}, astro.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method != http.MethodPut {
					return always(200, nil, createAnswer("https://blob.example.com/x?sig=1")).RoundTrip(r)
				}
				require.Equal(t, size > 1300, r.Header.Get("Expect") == "100-continue")
				start := time.Now()
				<-r.Context().Done()
				first = time.Since(start)
				return nil, r.Context().Err()
			})})
			d, err := w.CreateDeploy(t.Context(), "")
			require.NoError(t, err)
			_, err = w.Upload(t.Context(), d, opens(nil), size)
			require.ErrorContains(t, err, "no complete answer within "+want.String())
			require.False(t, failure(t, err).Permanent())
			require.Equal(t, want, first)
		})
	}
}

func TestUploadNeedsADeployOfItsOwn(t *testing.T) {
	inBubble(t, astrotest.Options{}, func(t *testing.T, w *world) {
		d, err := w.CreateDeploy(t.Context(), "")
		require.NoError(t, err)
		_, err = w.Upload(t.Context(), d, opens(nil), 0)
		require.ErrorContains(t, err, "size is not known")
		read, err := w.Deploy(t.Context(), d.ID)
		require.NoError(t, err)
		_, err = w.Upload(t.Context(), read, opens(archive), int64(len(archive)))
		require.ErrorContains(t, err, "only a new deploy has one")
	})
}
