package event

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

const (
	generation    = "1772355600123456"
	oldGeneration = "1768464000654321"
	oddName       = "dags/a+b c%2B/é 🌷.py"
)

var (
	finalized = time.Date(2026, 3, 1, 9, 0, 0, 123456e3, time.UTC)
	gone      = time.Date(2026, 3, 1, 9, 0, 0, 987654e3, time.UTC) // the object resources say 15 January, which would count as covered
	published = time.Date(2026, 3, 1, 9, 0, 1, 456e6, time.UTC)

	etl    = inGCS(Created, "dags/etl.py", generation, finalized)
	oddGCS = inGCS(Created, oddName, generation, finalized)
	oldGCS = inGCS(Removed, "dags/old.py", oldGeneration, gone)
	all    = Event{Kind: Manual}
	prod   = Event{Kind: Manual, Route: "prod"}
	due    = Event{Kind: Schedule, Time: scheduled}
)

func inGCS(kind Kind, key, version string, when time.Time) Event {
	return Event{Kind: kind, Scheme: "gs", Bucket: "acme-dags", Key: key, Version: version, Time: when}
}

// expectedGoogle has an entry for every payload and every request of Google's.
var expectedGoogle = map[string]message{
	"cloudevent-binary-finalized.http":        good(etl),
	"cloudevent-binary-odd-key.http":          good(oddGCS),
	"cloudevent-binary-deleted.http":          good(oldGCS),
	"cloudevent-binary-archived.http":         good(oldGCS),
	"cloudevent-binary-metadata-updated.http": good(),
	"cloudevent-binary-protobuf.http":         fails("let the trigger deliver application/json"),
	"cloudevent-binary-pubsub.http":           good(etl),
	"cloudevent-binary-pubsub-route.http":     good(prod),
	"cloudevent-binary-scheduler.http":        good(due),
	"cloudevent-binary-audit-log.http": fails(`no known event type: "google.cloud.audit.log.v1.written"; let the triggers be ` +
		"google.cloud.storage.object.v1.finalized"),
	"cloudevent-structured.http":           good(etl),
	"cloudevent-structured-finalized.json": good(etl),
	"cloudevent-structured-odd-key.json":   good(inGCS(Removed, oddName, oldGeneration, gone)),
	"cloudevent-structured-base64.json":    good(etl),
	"cloudevent-structured-pubsub.json":    good(etl),
	"cloudevent-batch.http":                fails(`CloudEvents as "application/cloudevents-batch+json" are not read: deliver single events`),

	"pubsub-finalize.json":           good(etl),
	"pubsub-odd-key.json":            good(oddGCS),
	"pubsub-delete.json":             good(oldGCS),
	"pubsub-archive.json":            good(oldGCS),
	"pubsub-metadata-update.json":    good(),
	"pubsub-without-event-time.json": good(inGCS(Removed, "dags/old.py", oldGeneration, published)),
	"pubsub-unknown-event.json":      fails(`no known event of Cloud Storage: "OBJECT_FORGOTTEN"`),
	"pubsub-scheduler-all.json":      good(all),
	"pubsub-scheduler-route.json":    good(prod),
	"pubsub-text.json":               fails("the data of the Pub/Sub message is no JSON object"),
	"pubsub-no-notification.json":    fails(`without the attributes "eventType" and "bucketId" is no notification of Cloud Storage`),

	"pubsub-unwrapped.http":                  good(oldGCS),
	"pubsub-unwrapped-none.http":             good(inGCS(Created, "dags/a+b c%2B.py", generation, finalized)),
	"pubsub-unwrapped-odd-key.http":          good(oddGCS),
	"pubsub-unwrapped-odd-key-none.http":     fails("is not ASCII: switch payload unwrapping off"),
	"pubsub-unwrapped-scheduler.http":        good(prod),
	"pubsub-unwrapped-without-metadata.http": good(inGCS(Created, "dags/etl.py", generation, time.Time{})),
	"object-alone.json":                      good(inGCS(Created, oddName, generation, time.Time{})),

	"scheduler-empty.http":  good(due),
	"scheduler-object.http": good(due),
	"scheduler-text.http":   good(due),
	"scheduler-route.http":  good(prod),
	"manual-empty.http":     good(all),
	"manual-route.http":     good(prod),

	"background-finalize.json":        good(etl),
	"background-delete.json":          good(inGCS(Removed, oddName, oldGeneration, gone)),
	"background-archive.json":         good(oldGCS),
	"background-metadata-update.json": good(),
	"background-flat-change.json":     good(etl),
	"background-flat-removal.json":    good(oldGCS),
	"background-pubsub.json":          good(inGCS(Removed, "dags/old.py", oldGeneration, published)),
	"background-other.json":           fails(`no known event type: "google.firestore.document.write"`),
}

func TestDecodeGoogleRecorded(t *testing.T) {
	payloads, reqs := recordings(t, recordedGoogle), requests(t)
	require.Len(t, expectedGoogle, len(payloads)+len(reqs), "an expectation for each file, and a file for each expectation")
	for file, payload := range payloads {
		t.Run(file, func(t *testing.T) {
			batch, err := Decode(payload)
			requireExpected(t, file, batch, err)
			batch, err = DecodeRequest(map[string][]string{"Content-Type": {"application/json"}}, payload)
			requireExpected(t, file, batch, err)
		})
	}
	for file, r := range reqs {
		t.Run(file, func(t *testing.T) {
			batch, err := DecodeRequest(r.header, r.body)
			requireExpected(t, file, batch, err)
		})
	}
}

func requireExpected(t *testing.T, file string, batch Batch, err error) {
	want, ok := expectedGoogle[file]
	require.True(t, ok, "no expectation for this file")
	require.NoError(t, err)
	if m := batch.Messages[0]; m.Err != nil {
		require.NotContains(t, m.Err.Error(), "hunter2", "contents stay out of errors")
	}
	requireOne(t, want, batch)
}

func requireOne(t *testing.T, want message, batch Batch) {
	require.False(t, batch.Queue)
	require.Len(t, batch.Messages, 1)
	m := batch.Messages[0]
	require.Empty(t, m.ID)
	require.Equal(t, want.events, m.Events)
	if want.err == "" {
		require.NoError(t, m.Err)
		return
	}
	require.ErrorContains(t, m.Err, want.err)
	require.Less(t, len(m.Err.Error()), 1000)
}

// TestDecodeRequestOfAWS: what has no mark in its header means what Decode reads in it, but nothing acknowledges the messages of a queue.
func TestDecodeRequestOfAWS(t *testing.T) {
	for file, payload := range recordings(t, recorded) {
		batch, err := DecodeRequest(nil, payload)
		require.NoError(t, err)
		if strings.HasPrefix(file, "sqs") {
			requireOne(t, fails(`a record of "aws:sqs"`), batch)
			continue
		}
		want, err := Decode(payload)
		require.NoError(t, err)
		require.Equal(t, want, batch, file)
	}
}

func TestDecodeRequestOddities(t *testing.T) {
	const (
		deleted  = "google.cloud.storage.object.v1.deleted"
		resource = `{"bucket":"acme-dags","name":"dags/old.py","generation":"1768464000654321","updated":"2026-01-15T08:00:00Z"}`
	)
	nested := `{"route":"prod"}`
	for range maxEnvelopes {
		nested = fmt.Sprintf(`{"message":{"data":%q}}`, base64.StdEncoding.EncodeToString([]byte(nested)))
	}
	undated := inGCS(Removed, "dags/old.py", oldGeneration, time.Time{})
	for _, c := range []struct {
		name   string
		header string
		body   string
		want   message
	}{
		{"a quoted, encoded attribute", "Ce-Type: \"google.cloud.storage.object.v1%2edeleted\"\nCe-Time: 2026-03-01T10:00:00.987654%2B01:00", resource, good(oldGCS)},
		{"an attribute that is not encoded", "Ce-Type: 100%", resource, fails(`no known event type: "100%"`)},
		{"a removal without a time", "Ce-Type: " + deleted, resource, good(undated)},
		{"a removal with a bad time", "Ce-Type: " + deleted + "\nCe-Time: yesterday", resource, good(undated)},
		{"no data", "Ce-Type: " + deleted, "", fails("is no JSON object")},
		{"data without a bucket", "Ce-Type: " + deleted, `{"name":"x"}`, fails("without the name of its bucket")},
		{"data without a name", "Ce-Type: " + deleted, `{"bucket":"acme-dags"}`, fails("without the name of its object")},
		{"a Pub/Sub CloudEvent without a message", "Ce-Type: google.cloud.pubsub.topic.v1.messagePublished", `{}`, fails(`without "data"`)},
		{"a notification without times of its own", "Ce-Type: google.cloud.pubsub.topic.v1.messagePublished\nCe-Time: 2026-03-01T09:00:01.456Z",
			`{"message":{"attributes":{"eventType":"OBJECT_DELETE","bucketId":"acme-dags","objectId":"dags/old.py"}}}`,
			good(inGCS(Removed, "dags/old.py", "", published))},
		{"structured, in another case", "Content-Type: Application/CloudEvents+JSON", `{"type":"` + deleted + `","data":` + resource + `}`, good(undated)},
		{"structured, no object", "Content-Type: application/cloudevents+json", `[]`, fails("the CloudEvent is a JSON array")},
		{"structured, without a type", "Content-Type: application/cloudevents+json", `{}`, fails(`no known event type: ""`)},
		{"structured, bad base64", "", `{"specversion":"1.0","type":"` + deleted + `","data_base64":"?"}`, fails(`"data_base64" of the CloudEvent: illegal base64`)},
		{"structured, not as JSON", "Content-Type: application/cloudevents+avro", "", fails(`"application/cloudevents+avro" are not read`)},
		{"a message with bad base64", "", `{"message":{"data":"?"}}`, fails(`"data" of the Pub/Sub message: illegal base64`)},
		{"a message of an API", "", `{"message":"Forbidden"}`, fails(`no known event: an object with the fields "message"`)},
		{"messages nested too deeply", "", nested, fails("more than 4 envelopes")},
		{"an object in a message", "", `{"message":{"data":"eyJraW5kIjoic3RvcmFnZSNvYmplY3QiLCJidWNrZXQiOiJhY21lLWRhZ3MiLCJuYW1lIjoiayJ9"}}`,
			good(inGCS(Created, "k", "", time.Time{}))},
		{"unwrapped, nothing", "X-Goog-Pubsub-Message-Id: 1", "", fails("switch payload unwrapping off")},
		{"unwrapped, text", "X-Goog-Pubsub-Message-Id: 1", "hello", fails("the data of the Pub/Sub message is no JSON object")},
		{"unwrapped, unknown", "X-Goog-Pubsub-Message-Id: 1\nEventtype: X\nBucketid: b", "", fails(`no known event of Cloud Storage: "X"`)},
		{"unwrapped, metadata", "X-Goog-Pubsub-Message-Id: 1\nEventtype: OBJECT_METADATA_UPDATE\nBucketid: b", "", good()},
		{"unwrapped, by publication", "X-Goog-Pubsub-Message-Id: 1\nX-Goog-Pubsub-Publish-Time: 2026-03-01T09:00:01.456Z\nEventtype: OBJECT_DELETE\nBucketid: acme-dags\nObjectid: k",
			"", good(inGCS(Removed, "k", "", published))},
		{"scheduled, a bad route", "X-Cloudscheduler: true", `{"route":7}`, fails(`"route" must be the name of a route`)},
		{"scheduled, something else", "X-Cloudscheduler: true", `{"colour":"red"}`, good(Event{Kind: Schedule})},
		{"scheduled, an event", "X-Cloudscheduler: true", `{"specversion":"1.0","type":"` + deleted + `","data":` + resource + `}`, good(undated)},
		{"white space", "", " \r\n", good(all)},
		{"text", "", "hello", fails("the body is no JSON object")},
		{"a list", "", "[]", fails("the body is a JSON array")},
		{"data of another context", "", `{"context":{"colour":"red"},"data":{}}`, fails(`no known event: an object with the fields "context", "data"`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			header, err := textproto.NewReader(bufio.NewReader(strings.NewReader(c.header + "\n\n"))).ReadMIMEHeader()
			require.NoError(t, err)
			batch, err := DecodeRequest(header, []byte(c.body))
			require.NoError(t, err)
			requireOne(t, c.want, batch)
		})
	}
	_, err := DecodeRequest(nil, bytes.Repeat([]byte(" "), maxPayload+1))
	require.ErrorContains(t, err, "at most 8388608 are read")
}

func TestDecodeBackground(t *testing.T) {
	const resource = `{"bucket":"acme-dags","name":"dags/old.py","generation":"1768464000654321","updated":"2026-01-15T08:00:00Z"}`
	berlin := gone.In(time.FixedZone("", 3600))
	for _, c := range []struct {
		eventType string
		when      time.Time
		data      string
		want      message
	}{
		{"google.storage.object.delete", berlin, resource, good(oldGCS)},
		{"google.storage.object.archive", berlin, resource, good(oldGCS)},
		{"google.storage.object.delete", time.Time{}, resource, good(inGCS(Removed, "dags/old.py", oldGeneration, time.Time{}))},
		{"google.storage.object.finalize", finalized, `{"bucket":"acme-dags","name":"dags/etl.py","generation":"` + generation + `"}`, good(etl)},
		{"google.storage.object.metadataUpdate", gone, resource, good()},
		{objectChange, gone, `{"resourceState":"not_exists",` + resource[1:], good(oldGCS)},
		{"google.pubsub.topic.publish", published, `{"data":"eyJyb3V0ZSI6InByb2QifQ=="}`, good(prod)},
		{"providers/cloud.pubsub/eventTypes/topic.publish", gone,
			`{"attributes":{"eventType":"OBJECT_DELETE","bucketId":"acme-dags","objectId":"dags/old.py","objectGeneration":"1768464000654321"}}`, good(oldGCS)},
		{"google.firestore.document.write", gone, `{}`, fails(`no known event type: "google.firestore.document.write"; let the triggers be`)},
		{"google.storage.object.delete", gone, `null`, fails("is a JSON null, not an object")},
	} {
		t.Run(c.eventType, func(t *testing.T) {
			batch, err := DecodeBackground(c.eventType, c.when, []byte(c.data))
			require.NoError(t, err)
			requireOne(t, c.want, batch)
		})
	}
	_, err := DecodeBackground("google.storage.object.delete", gone, make([]byte, maxPayload+1))
	require.ErrorContains(t, err, "at most 8388608 are read")
}

// FuzzDecodeRequest: whatever a request or a background event says, it becomes one sound message, and the same one again.
func FuzzDecodeRequest(f *testing.F) {
	for _, r := range requests(f) {
		f.Add(first(r.header, "Content-Type"), first(r.header, "Ce-Type"), first(r.header, "Ce-Time"), first(r.header, "X-Goog-Pubsub-Message-Id"),
			first(r.header, "Eventtype"), first(r.header, "Objectid"), first(r.header, "X-Cloudscheduler"), r.body)
	}
	for _, dir := range []string{recorded, recordedGoogle} {
		for _, payload := range recordings(f, dir) {
			f.Add("application/json", "", "", "", "", "", "", payload)
		}
	}
	f.Fuzz(func(t *testing.T, contentType, ceType, ceTime, pubsub, eventType, object, scheduler string, body []byte) {
		header := map[string][]string{"Bucketid": {"acme-dags"}, "Accept": nil}
		for name, value := range map[string]string{"Content-Type": contentType, "Ce-Type": ceType, "Ce-Time": ceTime, "X-Goog-Pubsub-Message-Id": pubsub,
			"Eventtype": eventType, "Objectid": object, "X-Cloudscheduler": scheduler} {
			header[name] = []string{value}
		}
		requireRequestSound(t, header, body)
		batch, err := DecodeBackground(ceType, parseTime(ceTime), body)
		require.NoError(t, err)
		require.False(t, batch.Queue)
		requireBatchSound(t, batch, len(body))
	})
}

func requireRequestSound(t *testing.T, header map[string][]string, body []byte) {
	batch, err := DecodeRequest(header, body)
	require.NoError(t, err)
	again, err := DecodeRequest(header, body)
	require.NoError(t, err)
	require.Equal(t, batch, again, "a second answer")
	require.False(t, batch.Queue)
	requireBatchSound(t, batch, len(body))
}

// FuzzGoogleKey: every name comes out of every envelope of Google's as it is in the bucket, with the envelope's time.
func FuzzGoogleKey(f *testing.F) {
	for _, seed := range []string{
		oddName, "dags/red flower.py", "%2B", "+", "a\x00b", `"\`, "🌷", "<&>", "%", "a%zz", "\u2028", "e\u0301", "../x", "/", "a//b", `{"route":"x"}`, "a\r\nb",
	} {
		f.Add(seed, "acme-dags", generation)
	}
	f.Fuzz(func(t *testing.T, name, bucket, version string) {
		if name == "" || bucket == "" || !utf8.ValidString(name) || !utf8.ValidString(bucket) || !utf8.ValidString(version) {
			return
		}
		want := Event{Kind: Removed, Scheme: "gs", Bucket: bucket, Key: name, Version: version, Time: gone}
		resource := fields{"kind": "storage#object", "bucket": bucket, "name": name, "generation": version, "updated": "2026-01-15T08:00:00Z"}
		for way, r := range googleEnvelopes(t, resource) {
			batch, err := DecodeRequest(r.header, r.body)
			require.NoError(t, err, way)
			require.Equal(t, Batch{Messages: []Message{{Events: []Event{want}}}}, batch, way)
		}
		batch, err := DecodeBackground("google.storage.object.delete", gone, []byte(asJSON(t, resource)))
		require.NoError(t, err)
		require.Equal(t, []Event{want}, batch.Messages[0].Events)
		want.Kind, want.Time = Created, time.Time{}
		batch, err = Decode([]byte(asJSON(t, resource)))
		require.NoError(t, err)
		require.Equal(t, []Event{want}, batch.Messages[0].Events)
	})
}

// googleEnvelopes are the ways on which the removal of an object arrives.
func googleEnvelopes(t *testing.T, resource fields) map[string]request {
	when := gone.Format(time.RFC3339Nano)
	data := base64.StdEncoding.EncodeToString([]byte(asJSON(t, resource)))
	attributes := fields{"eventType": "OBJECT_DELETE", "eventTime": when, "bucketId": resource["bucket"], "objectId": resource["name"],
		"objectGeneration": resource["generation"]}
	event := func(more fields) fields {
		more["specversion"], more["type"], more["time"] = "1.0", "google.cloud.storage.object.v1.deleted", when
		return more
	}
	push := func(message fields) fields { return fields{"message": message, "subscription": "s"} }
	body := func(v fields) request { return request{body: []byte(asJSON(t, v))} }
	inMessage := fields{"data": base64.StdEncoding.EncodeToString([]byte(asJSON(t, event(fields{"data": resource}))))}
	return map[string]request{
		"binary":             {map[string][]string{"Ce-Type": {"google.cloud.storage.object.v1.archived"}, "Ce-Time": {when}}, []byte(asJSON(t, resource))},
		"structured":         body(event(fields{"data": resource})),
		"structured, base64": body(event(fields{"data_base64": data})),
		"push":               body(push(fields{"attributes": attributes, "data": data, "publishTime": published})),
		"push, no payload":   body(push(fields{"attributes": attributes, "publishTime": published})),
		"event in a push":    body(push(inMessage)),
		"push in an event": {map[string][]string{"Ce-Type": {"google.cloud.pubsub.topic.v1.messagePublished"}, "Ce-Time": {published.Format(time.RFC3339)}},
			[]byte(asJSON(t, push(fields{"attributes": attributes})))},
		"unwrapped": {map[string][]string{"X-Goog-Pubsub-Message-Id": {"1"}, "Eventtype": {"OBJECT_DELETE"}, "Bucketid": {"b"}, "Eventtime": {when}},
			[]byte(asJSON(t, resource))},
		"1st generation": body(fields{"context": fields{"eventType": "google.storage.object.delete", "timestamp": when}, "data": resource}),
		"older":          body(fields{"eventType": "google.storage.object.archive", "timestamp": when, "data": resource}),
	}
}

type request struct {
	header map[string][]string
	body   []byte
}

// requests are the recorded requests by file name, their headers as net/http would have read them.
func requests(t testing.TB) map[string]request {
	files, err := filepath.Glob(filepath.Join(recordedGoogle, "*.http"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	reqs := map[string]request{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		in := bufio.NewReader(bytes.NewReader(data))
		header, err := textproto.NewReader(in).ReadMIMEHeader()
		require.NoError(t, err, file)
		body, err := io.ReadAll(in)
		require.NoError(t, err)
		reqs[filepath.Base(file)] = request{header, body}
	}
	return reqs
}
