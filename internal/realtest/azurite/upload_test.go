//go:build azurite

package azurite

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro"
	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
)

// Azurite's account and its key are the same everywhere, and documented by it.
const (
	account    = "devstoreaccount1"
	accountKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	sasVersion = "2021-12-02"
	container  = "dagdeploy"
)

// startAzurite starts the emulator on a free port, in memory, and returns its URL.
func startAzurite(t *testing.T) string {
	t.Helper()
	script := os.Getenv("DAGBUCKET_AZURITE")
	if script == "" {
		script = filepath.Join("..", "..", "..", "build", "azurite", "node_modules", ".bin", "azurite-blob")
	}
	script, err := filepath.Abs(script)
	require.NoError(t, err)
	if _, err := os.Stat(script); err != nil {
		t.Fatalf("Azurite is not installed (%v): run `make test-azurite`, or set DAGBUCKET_AZURITE to the path of its azurite-blob", err)
	}
	command := exec.Command("node", script, "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry")
	command.Dir = t.TempDir()
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	command.Stderr = os.Stderr
	require.NoError(t, command.Start(), "Azurite needs node: install it, version 20 or later")
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	giveUp := time.AfterFunc(time.Minute, func() { _ = command.Process.Kill() })
	defer giveUp.Stop()
	listening := regexp.MustCompile(`listens on (http://127\.0\.0\.1:\d+)`)
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if found := listening.FindStringSubmatch(lines.Text()); found != nil {
			go func() { _, _ = io.Copy(io.Discard, output) }() // its access log
			return found[1]
		}
	}
	t.Fatal("Azurite ended without listening")
	return ""
}

// storage is Azurite behind a proxy that gives each new blob a version, as the real storage does.
type storage struct {
	*httptest.Server
	puts atomic.Int64
}

func startStorage(t *testing.T) *storage {
	t.Helper()
	target, err := url.Parse(startAzurite(t))
	require.NoError(t, err)
	s := &storage{}
	proxy := &httputil.ReverseProxy{
		ErrorLog: log.New(io.Discard, "", 0), // broken uploads are part of the test
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(resp *http.Response) error {
			if resp.Request.Method == http.MethodPut && resp.StatusCode == http.StatusCreated {
				resp.Header.Set("x-ms-version-id", fmt.Sprintf("2026-01-01T00:00:00.%07dZ", s.puts.Add(1)))
			}
			return nil
		},
	}
	s.Server = httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	s.do(t, http.MethodPut, "/"+container+"?restype=container", http.StatusCreated)
	return s
}

func sign(lines ...string) string {
	key, _ := base64.StdEncoding.DecodeString(accountKey)
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(strings.Join(lines, "\n")))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// do makes a request with a signature for the whole account: to create the container and to read back.
func (s *storage) do(t *testing.T, method, path string, want int) []byte {
	t.Helper()
	ends := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	signature := sign(account, "rwdlc", "b", "sco", "", ends, "", "", sasVersion, "", "")
	query := url.Values{"sp": {"rwdlc"}, "ss": {"b"}, "srt": {"sco"}, "se": {ends}, "sv": {sasVersion}, "sig": {signature}}.Encode()
	joint := "?"
	if strings.Contains(path, "?") {
		joint = "&"
	}
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/"+account+path+joint+query, nil)
	require.NoError(t, err)
	resp, err := s.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, want, resp.StatusCode, "%s", body)
	return body
}

// uploadURL signs a URL for one blob as Astro does. Its signature has a '+', so that the URL has a "%2B".
func (s *storage) uploadURL(blob string, ends time.Time) string {
	until := ends.UTC().Format(time.RFC3339)
	for second := range 1000 {
		starts := time.Now().Add(-2*time.Hour - time.Duration(second)*time.Second).UTC().Format(time.RFC3339)
		signature := sign("cw", starts, until, "/blob/"+account+"/"+container+"/"+blob, "", "", "", sasVersion, "b", "", "", "", "", "", "", "")
		if strings.Contains(signature, "+") {
			query := url.Values{"sp": {"cw"}, "st": {starts}, "se": {until}, "sv": {sasVersion}, "sr": {"b"}, "sig": {signature}}
			return s.URL + "/" + account + "/" + container + "/" + blob + "?" + query.Encode()
		}
	}
	panic("no signature with a '+' among a thousand")
}

// upload makes a deploy with this upload URL and uploads to it.
func upload(t *testing.T, uploadURL string, open func(context.Context) (io.ReadCloser, error), size int64) (version string, err error) {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"id":"clv1","status":"INITIALIZED","isDagDeployEnabled":true,"dagsUploadUrl":%q}`, uploadURL)
	}))
	t.Cleanup(api.Close)
	client, err := astro.New(astro.Options{BaseURL: api.URL, Deployment: astrotest.DeploymentID,
		Token: func(context.Context, bool) (string, error) {
			return astrotest.Token(astrotest.OrganizationID, time.Time{}), nil
		}})
	require.NoError(t, err)
	d, err := client.CreateDeploy(t.Context(), "test")
	require.NoError(t, err)
	return client.Upload(t.Context(), d, open, size)
}

func opens(content []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
}

func randomBytes(size int) []byte {
	content := make([]byte, size)
	_, _ = rand.Read(content)
	return content
}

// TestUpload has all cases in one test, so that Azurite starts once.
func TestUpload(t *testing.T) {
	s := startStorage(t)
	later := time.Now().Add(10 * time.Minute)

	for name, size := range map[string]int{"small": 700, "large": 40 << 20} {
		t.Run(name, func(t *testing.T) {
			blob, content := "org/"+name, randomBytes(size)
			target := s.uploadURL(blob, later)
			require.Contains(t, target, "%2B")
			version, err := upload(t, target, opens(content), int64(size))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("2026-01-01T00:00:00.%07dZ", s.puts.Load()), version)
			require.True(t, bytes.Equal(content, s.do(t, http.MethodGet, "/"+container+"/"+blob, http.StatusOK)), "read back what was uploaded")
		})
	}
	t.Run("again over the first", func(t *testing.T) {
		target, content := s.uploadURL("org/twice", later), randomBytes(5000)
		first, err := upload(t, target, opens(randomBytes(9000)), 9000)
		require.NoError(t, err)
		second, err := upload(t, target, opens(content), 5000)
		require.NoError(t, err)
		require.NotEqual(t, first, second)
		require.True(t, bytes.Equal(content, s.do(t, http.MethodGet, "/"+container+"/org/twice", http.StatusOK)))
	})
	t.Run("a bundle that breaks off once", func(t *testing.T) {
		content, tries := randomBytes(3<<20), 0
		_, err := upload(t, s.uploadURL("org/broken", later), func(ctx context.Context) (io.ReadCloser, error) {
			if tries++; tries == 1 {
				return io.NopCloser(io.MultiReader(bytes.NewReader(content[:2<<20]), brokenReader{})), nil
			}
			return opens(content)(ctx)
		}, int64(len(content)))
		require.NoError(t, err)
		require.Equal(t, 2, tries)
		require.True(t, bytes.Equal(content, s.do(t, http.MethodGet, "/"+container+"/org/broken", http.StatusOK)))
	})
	refused := map[string]string{
		"expired":         s.uploadURL("org/none", time.Now().Add(-time.Minute)),
		"later end":       strings.Replace(s.uploadURL("org/none", later), "se=20", "se=21", 1),
		"other signature": strings.Replace(s.uploadURL("org/none", later), "sig=", "sig=A", 1),
		"another blob":    strings.Replace(s.uploadURL("org/none", later), "/org/none", "/org/small", 1),
	}
	for name, target := range refused {
		for _, size := range []int{700, 8 << 20} {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				puts := s.puts.Load()
				_, err := upload(t, target, opens(randomBytes(size)), int64(size))
				require.ErrorContains(t, err, "it refuses the signed upload URL, which has probably expired")
				require.ErrorContains(t, err, "the next run makes a new deploy")
				var failed *astro.Error
				require.True(t, errors.As(err, &failed))
				require.Equal(t, http.StatusForbidden, failed.Status)
				require.NotEmpty(t, failed.Message, "the storage's error code")
				require.False(t, failed.Permanent())
				require.NotContains(t, err.Error(), "sig=")
				require.Equal(t, puts, s.puts.Load())
			})
		}
	}
	s.do(t, http.MethodGet, "/"+container+"/org/none", http.StatusNotFound)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the storage went away") }
