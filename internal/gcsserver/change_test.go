package gcsserver_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestChangesAreTold(t *testing.T) {
	c := start(t)
	first := c.put("a b+c/é.py", "12345")
	second := c.put("a b+c/é.py", "123")
	status, _, _ := c.do(http.MethodPost, uploadPath("dags", "refused")+"&ifGenerationMatch=1", "x")
	require.Equal(t, http.StatusPreconditionFailed, status)
	status, _, _ = c.do(http.MethodDelete, objectPath("never-was"), "")
	require.Equal(t, http.StatusNotFound, status)
	status, _, _ = c.do(http.MethodPatch, objectPath("a b+c/é.py"), `{"metadata": {"owner": "me"}}`)
	require.Equal(t, http.StatusOK, status)
	status, _, _ = c.do(http.MethodDelete, objectPath("a b+c/é.py"), "")
	require.Equal(t, http.StatusNoContent, status)
	require.Equal(t, []string{
		"OBJECT_FINALIZE dags/a b+c/é.py 5", "OBJECT_DELETE dags/a b+c/é.py 5", "OBJECT_FINALIZE dags/a b+c/é.py 3", "OBJECT_DELETE dags/a b+c/é.py 3",
	}, c.events())
	for i, want := range []struct{ generation, overwrote, overwrittenBy string }{{first, "", ""}, {first, "", second}, {second, first, ""}, {second, "", ""}} {
		got := c.changes[i]
		require.Equal(t, []string{want.generation, want.overwrote, want.overwrittenBy}, []string{got.Generation, got.Overwrote, got.OverwrittenBy})
	}
}

func TestNotification(t *testing.T) {
	c := start(t)
	first := c.put("a b+c/é.py", "12345")
	second := c.put("a b+c/é.py", "hello")
	change := c.changes[2]
	document, err := json.Marshal(change.Notification())
	require.NoError(t, err)
	var pushed struct{ Message struct{ Data []byte } }
	require.NoError(t, json.Unmarshal(document, &pushed))
	require.JSONEq(t, fmt.Sprintf(`{
		"message": {
			"attributes": {
				"notificationConfig": "projects/_/buckets/dags/notificationConfigs/1", "eventType": "OBJECT_FINALIZE", "payloadFormat": "JSON_API_V1",
				"bucketId": "dags", "objectId": "a b+c/é.py", "objectGeneration": %q, "overwroteGeneration": %q, "eventTime": %q
			},
			"data": %q, "messageId": "3", "message_id": "3", "publishTime": %q, "publish_time": %[5]q
		},
		"subscription": "projects/demo/subscriptions/dagbucket"
	}`, second, first, change.Time.Format("2006-01-02T15:04:05.000000Z"), base64.StdEncoding.EncodeToString(pushed.Message.Data),
		change.Time.Format("2006-01-02T15:04:05.000Z")), string(document))

	microseconds, err := strconv.ParseInt(second, 10, 64)
	require.NoError(t, err)
	var created struct{ TimeCreated time.Time }
	require.NoError(t, json.Unmarshal(pushed.Message.Data, &created))
	require.WithinDuration(t, time.UnixMicro(microseconds), created.TimeCreated, time.Second)
	at := created.TimeCreated.Format("2006-01-02T15:04:05.000Z")
	_, shown, _ := c.do(http.MethodGet, objectPath("a b+c/é.py"), "")
	require.JSONEq(t, shown, string(pushed.Message.Data))
	var etag struct{ ETag string }
	require.NoError(t, json.Unmarshal(pushed.Message.Data, &etag))
	require.JSONEq(t, fmt.Sprintf(`{
		"kind": "storage#object", "id": "dags/a b+c/é.py/%s", "name": "a b+c/é.py", "bucket": "dags", "generation": %[1]q, "metageneration": "1",
		"selfLink": "https://www.googleapis.com/storage/v1/b/dags/o/a%%20b+c%%2F%%C3%%A9.py",
		"mediaLink": "https://storage.googleapis.com/download/storage/v1/b/dags/o/a%%20b+c%%2F%%C3%%A9.py?generation=%[1]s&alt=media",
		"contentType": "text/plain", "storageClass": "STANDARD", "size": "5", "md5Hash": "XUFAKrxLKna5cZ2REBfFkg==", "crc32c": "mnG7TA==", "etag": %q,
		"timeCreated": %q, "updated": %[3]q, "timeStorageClassUpdated": %[3]q
	}`, second, etag.ETag, at), string(pushed.Message.Data))

	overwritten, err := json.Marshal(c.changes[1].Notification())
	require.NoError(t, err)
	require.Contains(t, string(overwritten), `"overwrittenByGeneration":"`+second+`"`)
	require.Contains(t, string(overwritten), `"eventType":"OBJECT_DELETE"`)
}

func TestWritesOfOneObjectAreLimited(t *testing.T) {
	c := start(t)
	c.server.WriteInterval = time.Hour
	generation := c.put("a", "first")
	c.put("b", "another object")
	want := `{"error":{"code":429,"message":"The object dags/a exceeded the rate limit for object mutation operations (create, update, and delete). ` +
		`Please reduce your request rate. See https://cloud.google.com/storage/docs/gcs429.","errors":[{"message":"The object dags/a exceeded the rate limit ` +
		`for object mutation operations (create, update, and delete). Please reduce your request rate. See https://cloud.google.com/storage/docs/gcs429.",` +
		`"domain":"usageLimits","reason":"rateLimitExceeded"}]}}`
	for _, request := range [][2]string{{http.MethodPost, uploadPath("dags", "a")}, {http.MethodDelete, objectPath("a")}} {
		status, answer, _ := c.do(request[0], request[1], "x")
		require.Equal(t, http.StatusTooManyRequests, status)
		require.JSONEq(t, want, answer)
	}
	status, _, _ := c.do(http.MethodPost, uploadPath("dags", "a")+"&ifGenerationMatch=1", "x")
	require.Equal(t, http.StatusPreconditionFailed, status)
	_, content, _ := c.do(http.MethodGet, "/dags/a?generation="+generation, "")
	require.Equal(t, "first", content)

	// A resumable upload is not lost by it.
	address := c.begin("a", "")
	status, _, _ = c.do(http.MethodPut, address, "second")
	require.Equal(t, http.StatusTooManyRequests, status)
	c.server.WriteInterval = time.Nanosecond
	status, _, _ = c.do(http.MethodPut, address, "second")
	require.Equal(t, http.StatusOK, status)
	status, _, _ = c.do(http.MethodDelete, objectPath("a"), "")
	require.Equal(t, http.StatusNoContent, status)
	c.server.WriteInterval = time.Hour
	status, _, _ = c.do(http.MethodPost, uploadPath("dags", "a"), "x")
	require.Equal(t, http.StatusTooManyRequests, status, "so soon after it was deleted")
}
