package gcsbucket_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bucket/gcsbucket"
)

// useCredentials makes a file the Application Default Credentials.
func useCredentials(t *testing.T, document map[string]string) {
	t.Helper()
	content, err := json.Marshal(document)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "credentials.json")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	t.Setenv("STORAGE_EMULATOR_HOST", "")
}

// credentials are those that have tokens of an endpoint: a service account's key, and the metadata server's. (A person's are always of
// Google's own.)
var credentials = map[string]func(t *testing.T, endpoint string){
	"a key": func(t *testing.T, endpoint string) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
		useCredentials(t, map[string]string{"type": "service_account", "client_email": "x@acme.iam.gserviceaccount.com", "private_key_id": "1",
			"private_key": string(text), "token_uri": endpoint, "project_id": "acme"})
	},
	"the function's own": func(t *testing.T, endpoint string) {
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
		t.Setenv("HOME", t.TempDir())
		t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(endpoint, "http://"))
		t.Setenv("STORAGE_EMULATOR_HOST", "")
	},
}

// tokens answers as all their endpoints do.
func tokens(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		w.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(r.URL.Path, "/computeMetadata/") && !strings.Contains(r.URL.Path, "/token") {
			fmt.Fprint(w, "acme")
			return
		}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// withCredentials returns a bucket that wants a token, over a storage that answers everything with an empty listing.
func withCredentials(t *testing.T, ctx context.Context) *gcsbucket.Bucket {
	t.Helper()
	client, err := gcsbucket.NewClient(ctx, gcsbucket.Options{Transport: transport(func(r *http.Request) (*http.Response, error) {
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer tok") {
			return recorded(refusal(401, "required", "Anonymous caller does not have access."), r)
		}
		return recorded(answer(200, "application/json", `{"kind":"storage#objects"}`), r)
	})})
	require.NoError(t, err)
	return gcsbucket.New(client, "acme")
}

const goodToken = `{"access_token":"tok-en","token_type":"Bearer","expires_in":11}` // which is nearly over

func TestCredentialsThatAreRefusedAreNotThoseThatMayPass(t *testing.T) {
	for name, use := range credentials {
		for kind, c := range map[string]struct {
			answer    http.HandlerFunc
			permanent bool
		}{
			"good":    {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, goodToken) }, false},
			"busy":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, false},
			"too few": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, false},
			"refused": {func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/computeMetadata/") { // a machine without a service account
					w.WriteHeader(404)
					return
				}
				w.WriteHeader(400)
				fmt.Fprint(w, `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`)
			}, true},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				use(t, tokens(t, c.answer))
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // the libraries try again what may pass
				defer cancel()
				_, err := withCredentials(t, ctx).List(ctx, "")
				if kind == "good" {
					require.NoError(t, err)
					return
				}
				require.Equal(t, c.permanent, bucket.Permanent(err), "%v", err)
				require.NotContains(t, err.Error(), "\n")
				if c.permanent {
					require.ErrorIs(t, err, bucket.ErrDenied)
					require.ErrorContains(t, err, "there are no valid Google credentials: run gcloud auth application-default login")
				}
			})
		}
	}
}

func TestNoCredentialsAtAll(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "missing.json"))
	_, err := gcsbucket.NewClient(t.Context(), gcsbucket.Options{})
	require.ErrorIs(t, err, bucket.ErrDenied)
	require.ErrorContains(t, err, "run gcloud auth application-default login, or give the function a service account")
}

// TestATokenIsFetchedForTheCallThatNeedsIt: a call ends with its own context, though its token does not come; and a client outlives the
// request that made it.
func TestATokenIsFetchedForTheCallThatNeedsIt(t *testing.T) {
	for name, use := range credentials {
		t.Run(name, func(t *testing.T) {
			silent, over := make(chan struct{}, 1), make(chan struct{})
			use(t, tokens(t, func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-silent:
					select { // the library may go on to wait in the background
					case <-r.Context().Done():
					case <-over:
					}
				default:
					fmt.Fprint(w, goodToken)
				}
			}))
			t.Cleanup(func() { close(over) })
			first, cancel := context.WithCancel(t.Context())
			b := withCredentials(t, first)
			_, err := b.List(first, "")
			require.NoError(t, err)
			cancel()
			silent <- struct{}{}
			b = withCredentials(t, t.Context())
			short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				_, err := b.List(short, "")
				ended <- err
			}()
			select {
			case err := <-ended:
				require.Error(t, err)
				require.False(t, bucket.Permanent(err))
			case <-time.After(20 * time.Second):
				require.Fail(t, "the call does not end with its context")
			}
			_, err = b.List(t.Context(), "")
			require.NoError(t, err)
		})
	}
}

// TestAClientOutlivesTheRequestThatMadeIt: also when its first token is used up.
func TestAClientOutlivesTheRequestThatMadeIt(t *testing.T) {
	for name, use := range credentials {
		t.Run(name, func(t *testing.T) {
			use(t, tokens(t, func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, `{"access_token":"tok-en","token_type":"Bearer","expires_in":1}`) // over before it is there
			}))
			first, cancel := context.WithCancel(t.Context())
			b := withCredentials(t, first)
			_, err := b.List(first, "")
			require.NoError(t, err)
			cancel()
			_, err = b.List(t.Context(), "")
			require.NoError(t, err)
		})
	}
}
