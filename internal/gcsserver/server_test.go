package gcsserver_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/storage"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/gcsserver"
)

// client is a plain HTTP client, as curl is, beside Google's.
type client struct {
	t       *testing.T
	server  *gcsserver.Server
	base    string
	google  *storage.Client
	mu      sync.Mutex
	changes []gcsserver.Change
}

func start(t *testing.T) *client {
	t.Helper()
	server, err := gcsserver.New("dags", "state")
	require.NoError(t, err)
	c := &client{t: t, server: server}
	server.OnChange = func(change gcsserver.Change) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changes = append(c.changes, change)
	}
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	c.base = listener.URL
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(c.base, "http://"))
	c.google, err = storage.NewClient(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.google.Close()) })
	return c
}

func (c *client) do(method, path, body string, headers ...string) (int, string, http.Header) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	require.NoError(c.t, err)
	request.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(c.t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	return response.StatusCode, string(answer), response.Header
}

// put stores an object in the bucket "dags" and returns its generation.
func (c *client) put(key, body string) (generation string) {
	c.t.Helper()
	status, answer, _ := c.do(http.MethodPost, uploadPath("dags", key), body, "Content-Type", "text/plain")
	require.Equal(c.t, http.StatusOK, status, answer)
	var stored struct{ Generation string }
	require.NoError(c.t, json.Unmarshal([]byte(answer), &stored))
	return stored.Generation
}

func uploadPath(bucket, key string) string {
	return "/upload/storage/v1/b/" + bucket + "/o?uploadType=media&name=" + url.QueryEscape(key)
}

func objectPath(key string) string { return "/storage/v1/b/dags/o/" + url.PathEscape(key) }

// keys lists the bucket "dags".
func (c *client) keys() string {
	c.t.Helper()
	status, answer, _ := c.do(http.MethodGet, "/storage/v1/b/dags/o", "")
	require.Equal(c.t, http.StatusOK, status, answer)
	var listed struct{ Items []struct{ Name string } }
	require.NoError(c.t, json.Unmarshal([]byte(answer), &listed))
	names := []string{}
	for _, o := range listed.Items {
		names = append(names, o.Name)
	}
	return strings.Join(names, " ")
}

func (c *client) events() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := []string{}
	for _, change := range c.changes {
		names = append(names, fmt.Sprintf("%s %s/%s %d", change.Event, change.Bucket, change.Key, change.Size))
	}
	return names
}

const (
	conditionNotMet = `{"error":{"code":412,"message":"At least one of the pre-conditions you specified did not hold.","errors":[{` +
		`"message":"At least one of the pre-conditions you specified did not hold.","domain":"global","reason":"conditionNotMet",` +
		`"locationType":"header","location":"If-Match"}]}}`
	preconditionFailed = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>PreconditionFailed</Code>" +
		"<Message>At least one of the pre-conditions you specified did not hold.</Message></Error>"
)

func TestPreconditions(t *testing.T) {
	const match, notMatch = "ifGenerationMatch=", "ifGenerationNotMatch="
	for _, test := range []struct {
		name, method, path string // GEN in a path or header is the generation of a
		header             string // of the XML API
		status             int
		answer             string // contained in it
		objects            string // left in the bucket
	}{
		{"get matches", "GET", "/storage/v1/b/dags/o/a?alt=media&" + match + "GEN", "", 200, "hello", "a"},
		{"get does not match", "GET", "/storage/v1/b/dags/o/a?alt=media&" + match + "1", "", 412, conditionNotMet, "a"},
		{"get if absent", "GET", "/storage/v1/b/dags/o/a?alt=media&" + match + "0", "", 412, conditionNotMet, "a"},
		{"get if changed", "GET", "/storage/v1/b/dags/o/a?alt=media&" + notMatch + "1", "", 200, "hello", "a"},
		{"get if changed, but it did not", "GET", "/storage/v1/b/dags/o/a?alt=media&" + notMatch + "GEN", "", 304, "", "a"},
		{"get of nothing", "GET", "/storage/v1/b/dags/o/b?alt=media&" + match + "1", "", 404, "No such object: dags/b", "a"},
		{"get one generation", "GET", "/storage/v1/b/dags/o/a?alt=media&generation=GEN", "", 200, "hello", "a"},
		{"get another generation", "GET", "/storage/v1/b/dags/o/a?alt=media&generation=1", "", 404, "No such object: dags/a", "a"},
		{"get with no number", "GET", "/storage/v1/b/dags/o/a?" + match + "x", "", 400, `"invalid"`, "a"},
		{"metadata matches", "GET", "/storage/v1/b/dags/o/a?" + match + "GEN", "", 200, `"size":"5"`, "a"},
		{"metadata does not match", "GET", "/storage/v1/b/dags/o/a?" + match + "1", "", 412, conditionNotMet, "a"},
		{"metadata did not change", "GET", "/storage/v1/b/dags/o/a?" + notMatch + "GEN", "", 304, "", "a"},
		{"metageneration does not match", "GET", "/storage/v1/b/dags/o/a?ifMetagenerationMatch=2", "", 412, conditionNotMet, "a"},
		{"XML get matches", "GET", "/dags/a", "X-Goog-If-Generation-Match: GEN", 200, "hello", "a"},
		{"XML get does not match", "GET", "/dags/a", "X-Goog-If-Generation-Match: 1", 412, preconditionFailed, "a"},
		{"XML get did not change", "GET", "/dags/a", "X-Goog-If-Generation-Not-Match: GEN", 304, "", "a"},
		{"XML head does not match", "HEAD", "/dags/a", "X-Goog-If-Generation-Match: 1", 412, "", "a"},
		{"XML get of nothing", "GET", "/dags/b", "X-Goog-If-Generation-Match: 1", 404, "NoSuchKey", "a"},
		{"XML get another generation", "GET", "/dags/a?generation=1", "", 404, "NoSuchKey", "a"},
		{"put matches", "POST", uploadPath("dags", "a") + "&" + match + "GEN", "", 200, `"a"`, "a"},
		{"put does not match", "POST", uploadPath("dags", "a") + "&" + match + "1", "", 412, conditionNotMet, "a"},
		{"put in place of nothing", "POST", uploadPath("dags", "b") + "&" + match + "1", "", 412, conditionNotMet, "a"},
		{"put if absent", "POST", uploadPath("dags", "b") + "&" + match + "0", "", 200, `"b"`, "a b"},
		{"put if absent, but there", "POST", uploadPath("dags", "a") + "&" + match + "0", "", 412, conditionNotMet, "a"},
		{"put if other", "POST", uploadPath("dags", "a") + "&" + notMatch + "GEN", "", 412, conditionNotMet, "a"},
		{"put into no bucket", "POST", uploadPath("none", "a") + "&" + match + "1", "", 404, "The specified bucket does not exist.", "a"},
		{"patch does not match", "PATCH", "/storage/v1/b/dags/o/a?" + match + "1", "", 412, conditionNotMet, "a"},
		{"copy over it", "POST", "/storage/v1/b/dags/o/a/rewriteTo/b/dags/o/a?" + match + "0", "", 412, conditionNotMet, "a"},
		{"delete matches", "DELETE", "/storage/v1/b/dags/o/a?" + match + "GEN", "", 204, "", ""},
		{"delete does not match", "DELETE", "/storage/v1/b/dags/o/a?" + match + "1", "", 412, conditionNotMet, "a"},
		{"delete if absent", "DELETE", "/storage/v1/b/dags/o/a?" + match + "0", "", 412, conditionNotMet, "a"},
		{"delete if changed, but it did not", "DELETE", "/storage/v1/b/dags/o/a?" + notMatch + "GEN", "", 412, conditionNotMet, "a"},
		{"delete another generation", "DELETE", "/storage/v1/b/dags/o/a?generation=1", "", 404, "No such object", "a"},
		{"delete one generation", "DELETE", "/storage/v1/b/dags/o/a?generation=GEN", "", 204, "", ""},
		{"delete of nothing", "DELETE", "/storage/v1/b/dags/o/b?" + match + "1", "", 404, "No such object: dags/b", "a"},
		{"delete of nothing if absent", "DELETE", "/storage/v1/b/dags/o/b?" + match + "0", "", 404, "No such object: dags/b", "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t)
			generation := c.put("a", "hello")
			before := c.events()
			fill := func(s string) string { return strings.ReplaceAll(s, "GEN", generation) }
			name, value, _ := strings.Cut(fill(test.header), ": ")
			var headers []string
			if name != "" {
				headers = []string{name, value}
			}
			status, answer, _ := c.do(test.method, fill(test.path), "{}", headers...)
			require.Equal(t, test.status, status, answer)
			require.Contains(t, answer, test.answer)
			require.Equal(t, test.objects, c.keys())
			if status >= 300 {
				require.Equal(t, before, c.events())
				_, content, header := c.do(http.MethodGet, "/dags/a", "")
				require.Equal(t, "hello", content)
				require.Equal(t, generation, header.Get("X-Goog-Generation"))
				require.Equal(t, "1", header.Get("X-Goog-Metageneration"))
			}
		})
	}
}

func TestOneOfManyWritersWins(t *testing.T) {
	for _, test := range []struct {
		name   string
		exists bool
		send   func(c *client, condition string) int
	}{
		{"put if absent", false, func(c *client, condition string) int {
			status, _, _ := c.do(http.MethodPost, uploadPath("dags", "a")+condition, "mine")
			return status
		}},
		{"put in its place", true, func(c *client, condition string) int {
			status, _, _ := c.do(http.MethodPost, uploadPath("dags", "a")+condition, "mine")
			return status
		}},
		{"delete", true, func(c *client, condition string) int {
			status, _, _ := c.do(http.MethodDelete, objectPath("a")+"?"+condition, "")
			return status
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t)
			condition := "&ifGenerationMatch=0"
			if test.exists {
				condition = "&ifGenerationMatch=" + c.put("a", "first")
			}
			statuses := make(chan int, 32)
			for range cap(statuses) {
				go func() { statuses <- test.send(c, condition) }()
			}
			won := 0
			for range cap(statuses) {
				if status := <-statuses; status < 300 {
					won++
				}
			}
			require.Equal(t, 1, won)
		})
	}
}

func TestErrors(t *testing.T) {
	c := start(t)
	for _, test := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"GET", "/storage/v1/b/dags/o/x%2Fy", "", 404, jsonError(404, "No such object: dags/x/y", "notFound")},
		{"GET", "/storage/v1/b/dags/o/x?alt=media", "", 404, jsonError(404, "No such object: dags/x", "notFound")},
		{"DELETE", "/storage/v1/b/dags/o/x", "", 404, jsonError(404, "No such object: dags/x", "notFound")},
		{"PATCH", "/storage/v1/b/dags/o/x", "{}", 404, jsonError(404, "No such object: dags/x", "notFound")},
		{"POST", "/storage/v1/b/dags/o/x/rewriteTo/b/dags/o/y", "", 404, jsonError(404, "No such object: dags/x", "notFound")},
		{"GET", "/storage/v1/b/none/o/x", "", 404, jsonError(404, "The specified bucket does not exist.", "notFound")},
		{"GET", "/storage/v1/b/none/o", "", 404, jsonError(404, "The specified bucket does not exist.", "notFound")},
		{"GET", "/storage/v1/b/none", "", 404, jsonError(404, "The specified bucket does not exist.", "notFound")},
		{"DELETE", "/storage/v1/b/none/o/x", "", 404, jsonError(404, "The specified bucket does not exist.", "notFound")},
		{"POST", uploadPath("none", "x"), "x", 404, jsonError(404, "The specified bucket does not exist.", "notFound")},
		{"POST", "/upload/storage/v1/b/none/o?uploadType=resumable&name=x", "", 404, jsonError(404, "The specified bucket does not exist.", "notFound")},
		{"POST", uploadPath("dags", ""), "x", 400, jsonError(400, "Required", "required")},
		{"GET", "/storage/v1/b/dags/o?maxResults=x", "", 400, jsonError(400, `Invalid value for maxResults: \"x\"`, "invalid")},
		{"GET", "/storage/v1/b/dags/o?pageToken=x", "", 400, jsonError(400, "Invalid page token", "invalid")},
		{"GET", "/dags/x%2Fy", "", 404, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code>" +
			"<Message>The specified key does not exist.</Message><Details>No such object: dags/x/y</Details></Error>"},
		{"GET", "/none/x", "", 404, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchBucket</Code>" +
			"<Message>The specified bucket does not exist.</Message></Error>"},
		{"HEAD", "/none/x", "", 404, ""},
		{"POST", "/_internal/delete_all", "", 400, "<Code>NotSupported</Code>"},
		{"POST", "/batch/storage/v1", "", 400, "<Code>NotSupported</Code>"},
		{"GET", "/dags", "", 400, "<Code>NotSupported</Code>"},
		{"GET", "/storage/v1/b/dags/nothing", "", 400, "notSupported"},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			status, answer, _ := c.do(test.method, test.path, test.body)
			require.Equal(t, test.status, status, answer)
			require.Contains(t, answer, test.answer)
		})
	}
}

func jsonError(code int, message, reason string) string {
	return fmt.Sprintf(`{"error":{"code":%d,"message":"%s","errors":[{"message":"%s","domain":"global","reason":"%s"}]}}`, code, message, message, reason)
}

func TestBuckets(t *testing.T) {
	c := start(t)
	require.NoError(t, c.google.Bucket("more").Create(t.Context(), "project", nil))
	require.ErrorContains(t, c.google.Bucket("versioned").Create(t.Context(), "project", &storage.BucketAttrs{VersioningEnabled: true}), "notSupported")
	attrs, err := c.google.Bucket("more").Attrs(t.Context())
	require.NoError(t, err)
	require.Equal(t, "more", attrs.Name)
	_, err = c.google.Bucket("none").Attrs(t.Context())
	require.ErrorIs(t, err, storage.ErrBucketNotExist)

	c.put("a", "hello")
	require.ErrorContains(t, c.google.Bucket("dags").Delete(t.Context()), "The bucket you tried to delete is not empty.")
	require.Equal(t, "a", c.keys())
	require.NoError(t, c.google.Bucket("more").Delete(t.Context()))
	require.ErrorContains(t, c.google.Bucket("more").Delete(t.Context()), "The specified bucket does not exist.")

	c.server.RemoveBucket("dags")
	status, _, _ := c.do(http.MethodGet, "/dags/a", "")
	require.Equal(t, http.StatusNotFound, status)
	c.server.CreateBucket("dags")
	require.Empty(t, c.keys(), "it came back")
}
