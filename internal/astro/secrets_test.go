package astro_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

const (
	signature     = "c2lnbmF0dXJlLW9m+dGhlLXVybA==" // as it stands in the URL: with %2B and %3D
	signedURL     = "https://blob.example.com/org/dep?sv=2024-11-04&se=2026-01-01T00%3A00%3A00Z&sp=cw&sig=c2lnbmF0dXJlLW9m%2BdGhlLXVybA%3D%3D"
	signatureWire = "c2lnbmF0dXJlLW9m%2BdGhlLXVybA%3D%3D"
)

// leaks lists every way in which a value can be shown.
func leaks(value any) string {
	var shown strings.Builder
	fmt.Fprintf(&shown, "%v\n%+v\n%#v\n%s\n%q\n%x\n", value, value, value, value, value, value)
	encoded, _ := json.Marshal(value)
	shown.Write(encoded)
	for _, logger := range []*slog.Logger{slog.New(slog.NewJSONHandler(&shown, nil)), slog.New(slog.NewTextHandler(&shown, nil))} {
		logger.Info("shown", "value", value, slog.Group("group", slog.Any("value", value)))
	}
	if err, ok := value.(error); ok {
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(&shown, "%v\n%+v\n%#v\n", err, err, err)
		}
	}
	return shown.String()
}

func requireNoSecret(t *testing.T, token string, value any) {
	t.Helper()
	shown := leaks(value)
	secret := append(strings.Split(token, "."), token, signature, signatureWire, "sig=", "/org/dep?sv")
	for _, text := range append(secret, fmt.Sprintf("%x", signedURL), fmt.Sprintf("%x", token)) {
		if len(text) < 4 {
			continue // a part of a token that is none
		}
		require.False(t, strings.Contains(shown, text), "leaked %.12s… in\n%s", text, shown)
	}
}

// TestNoSecretInErrors drives every call into every kind of failure, the other side repeating the secrets it was told.
func TestNoSecretInErrors(t *testing.T) {
	leaky := func(r *http.Request) string {
		if r.Method == http.MethodPut { // only the upload knows its secrets without their shape
			return fmt.Sprintf("saw %s at %s with %s or %s", archive[:10], signedURL, signature, signatureWire)
		}
		return fmt.Sprintf("saw %q at %s (sig=%s)", r.Header.Get("Authorization"), signedURL, signature)
	}
	answers := map[string]func(*http.Request) (*http.Response, error){}
	for _, status := range []int{200, 201, 302, 400, 401, 403, 404, 409, 413, 418, 429, 500} {
		for kind, write := range map[string]func(string) string{
			"JSON": func(s string) string {
				b, _ := json.Marshal(map[string]string{"message": s, "requestId": s})
				return string(b)
			},
			"text": func(s string) string { return s },
			"XML": func(s string) string {
				return "<Error><Code>" + strings.ReplaceAll(s, "&", "&amp;") + "</Code></Error>"
			},
			"none": func(string) string { return "" },
		} {
			answers[fmt.Sprint(status, " ", kind)] = func(r *http.Request) (*http.Response, error) {
				said := leaky(r)
				return always(status, http.Header{"Location": {signedURL}, "Content-Type": {said}, "X-Ms-Error-Code": {said},
					"X-Ms-Request-Id": {said}, "X-Ms-Version-Id": {signedURL}, "Retry-After": {said}}, write(said)).RoundTrip(r)
			}
		}
	}
	answers["url.Error"] = func(r *http.Request) (*http.Response, error) {
		return nil, &url.Error{Op: "Put", URL: r.URL.String(), Err: &url.Error{Op: "Get", URL: signedURL, Err: errNetwork}}
	}
	answers["wrapped url.Error"] = func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("via proxy: %w", &url.Error{Op: "Put", URL: r.URL.String(), Err: io.ErrUnexpectedEOF})
	}
	answers["quoting error"] = func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("malformed answer %q", leaky(r))
	}
	answers["body error"] = func(r *http.Request) (*http.Response, error) {
		body := io.NopCloser(failing{fmt.Errorf("malformed chunk %q", leaky(r))})
		return &http.Response{StatusCode: 200 + len(r.Method)%2, Header: http.Header{}, Body: body}, nil // 200 for POST, 201 else
	}
	actions := map[string]func(context.Context, *world, astro.Deploy) error{
		"organization": func(ctx context.Context, w *world, _ astro.Deploy) error { _, err := w.Organization(ctx); return err },
		"deployment":   func(ctx context.Context, w *world, _ astro.Deploy) error { _, err := w.Deployment(ctx); return err },
		"deploys":      func(ctx context.Context, w *world, _ astro.Deploy) error { _, err := w.Deploys(ctx, 3); return err },
		"deploy":       func(ctx context.Context, w *world, d astro.Deploy) error { _, err := w.Deploy(ctx, d.ID); return err },
		"create": func(ctx context.Context, w *world, _ astro.Deploy) error {
			_, err := w.CreateDeploy(ctx, "")
			return err
		},
		"finalize": func(ctx context.Context, w *world, d astro.Deploy) error { return w.Finalize(ctx, d.ID, "v1") },
		"upload": func(ctx context.Context, w *world, d astro.Deploy) error {
			_, err := w.Upload(ctx, d, opens(archive), int64(len(archive)))
			return err
		},
		"upload of what cannot be read": func(ctx context.Context, w *world, d astro.Deploy) error {
			_, err := w.Upload(ctx, d, func(context.Context) (io.ReadCloser, error) { return nil, errors.New("no " + signedURL) }, 9)
			return err
		},
	}
	for name, answer := range answers {
		for did, act := range actions {
			t.Run(did+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					secretive := false
					w := newWorld(t, astrotest.Options{}, astro.Options{Organization: configured(did), Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
						if !secretive {
							return always(200, nil, createAnswer(signedURL)).RoundTrip(r)
						}
						return answer(r)
					})})
					if did == "organization" {
						w.token = astrotest.Token("", time.Time{})
					}
					d := astro.Deploy{}
					if did != "organization" {
						var err error
						d, err = w.CreateDeploy(t.Context(), "")
						require.NoError(t, err)
					}
					secretive = true
					err := act(t.Context(), w, d)
					require.Error(t, err)
					requireNoSecret(t, w.token, err)
					requireNoSecret(t, w.token, failure(t, err))
				})
			})
		}
	}
}

func configured(did string) string {
	if did == "organization" {
		return ""
	}
	return orgID
}

// TestNoSecretInValues: what the client returns, and the client, can be printed.
func TestNoSecretInValues(t *testing.T) {
	w := newWorld(t, astrotest.Options{}, astro.Options{Transport: always(200, nil, createAnswer(signedURL))})
	d, err := w.CreateDeploy(t.Context(), "")
	require.NoError(t, err)
	for _, value := range []any{d, &d, []astro.Deploy{d}, map[string]astro.Deploy{"x": d}, struct{ d astro.Deploy }{d}} {
		requireNoSecret(t, w.token, value)
	}
	for _, refresh := range []string{w.token[:len(w.token)-90], "a." + w.token, w.token + "\n" + w.token} {
		w := newWorld(t, astrotest.Options{}, astro.Options{Token: func(context.Context, bool) (string, error) { return refresh, nil }})
		_, err := w.Deployment(t.Context())
		require.Error(t, err)
		requireNoSecret(t, refresh, err)
	}
}

// TestSecretsByTheirShape: an answer may hold secrets that this client never knew.
func TestSecretsByTheirShape(t *testing.T) {
	foreign := astrotest.Token("clmforeign", time.Time{})
	for name, message := range map[string]string{
		"token":     "your colleague's token " + foreign + " has ended",
		"half":      "cut: " + foreign[:80],
		"URL":       "see https://blob.example.com/x?sv=1&q=c2VjcmV0LXNlY3JldA for more",
		"signature": "X-Amz-Signature=c2VjcmV0LXNlY3JldA is wrong",
	} {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(map[string]string{"message": message})
			require.NoError(t, err)
			w := newWorld(t, astrotest.Options{}, astro.Options{Transport: always(400, nil, string(body))})
			_, err = w.Deployment(t.Context())
			require.ErrorContains(t, err, message[:3])
			requireNoSecret(t, foreign[:80], err)
			require.NotContains(t, err.Error(), "c2VjcmV0")
		})
	}
}

// TestBrokenNetworkLeaksNothing has the real transport's own errors, which like to quote.
func TestBrokenNetworkLeaksNothing(t *testing.T) {
	token := astrotest.Token(orgID, time.Time{})
	for name, reply := range map[string]string{
		"not HTTP":         "%s\r\n\r\n",
		"odd status":       "HTTP/1.1 %s\r\n\r\n",
		"odd header":       "HTTP/1.1 200 OK\r\n%s\r\n\r\n",
		"odd length":       "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"odd location":     "HTTP/1.1 302 Found\r\nLocation: ://%s\r\n\r\n",
		"odd encoding":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
		"odd chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
		"endless header":   "HTTP/1.1 200 OK\r\nA: %s" + strings.Repeat("a", 100<<10),
		"too short answer": "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n%s",
	} {
		t.Run(name, func(t *testing.T) {
			address := replyWith(t, func(request []byte) string {
				return fmt.Sprintf(reply, bytes.ReplaceAll(request, []byte("\r\n"), []byte(" "))) // the token is in there
			})
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // no time for a repeat's pause
			defer cancel()
			client, err := astro.New(astro.Options{BaseURL: "http://" + address, Deployment: deploymentID,
				Token: func(context.Context, bool) (string, error) { return token, nil }})
			require.NoError(t, err)
			_, err = client.Deployment(ctx)
			require.Error(t, err)
			requireNoSecret(t, token, err)
			require.Less(t, len(err.Error()), 1000)
		})
	}
}
