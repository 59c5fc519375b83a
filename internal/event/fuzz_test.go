package event

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzDecode: whatever comes, Decode ends with an error or with sound messages, and leaves the message beside it in a queue alone.
func FuzzDecode(f *testing.F) {
	for _, dir := range []string{recorded, recordedGoogle} {
		for _, payload := range recordings(f, dir) {
			f.Add(payload)
		}
	}
	for _, payload := range []string{
		`{"Records":[{"eventSource":"aws:sqs","messageId":"","body":"{}"}]}`, `{"Records":[{"Sns":{"Type":"Notification"},"EventSource":"aws:sns"}]}`,
		"{\"Event\":\"s3:TestEvent\",\"Bucket\":\"\\u0000\",\"Time\":\"9999-12-31T23:59:59+14:00\"}", `{"source":"aws.s3","detail-type":"Object Created","detail":[]}`,
		`{"Type":"Notification","TopicArn":"t","Message":"{\"Type\":\"Notification\",\"TopicArn\":\"t\",\"Message\":\"{}\"}"}`, "{\"\\ud800\":1}", "{\"\xff\x1b[2J\":1}",
		`{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"%zz\n%"}}}]}`,
		`{"specversion":"1.0","type":"google.cloud.storage.object.v1.deleted","data_base64":"e30="}`, `{"message":{"data":"e30"}}`, `{"message":{},"subscription":1}`,
		`{"message":{"data":"eyJtZXNzYWdlIjp7ImRhdGEiOiJlMzA9In19"}}`, `{"context":{"eventType":"google.storage.object.delete","timestamp":"1"},"data":{"name":"\ud800"}}`,
	} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		requireSound(t, payload)
		if utf8.Valid(payload) { // a body is text
			requireNeighbourUnharmed(t, payload)
		}
	})
}

// requireSound decodes payload: to an error, or to messages that are each either good, with complete events, or failed.
func requireSound(t *testing.T, payload []byte) {
	batch, err := Decode(payload)
	again, errAgain := Decode(payload)
	require.Equal(t, batch, again, "a second answer")
	require.Equal(t, err, errAgain)
	if err != nil {
		require.Empty(t, batch.Messages)
		requireShown(t, err)
		return
	}
	requireBatchSound(t, batch, len(payload))
}

func requireBatchSound(t *testing.T, batch Batch, size int) {
	require.NotEmpty(t, batch.Messages)
	require.True(t, batch.Queue || len(batch.Messages) == 1)
	for _, m := range batch.Messages {
		require.True(t, m.Err == nil || len(m.Events) == 0)
		require.True(t, batch.Queue || m.ID == "")
		if m.Err != nil {
			requireShown(t, m.Err)
		}
		require.LessOrEqual(t, len(m.Events), max(1, size), "events grow with the payload only")
		for _, e := range m.Events {
			require.Equal(t, time.UTC, e.Time.Location())
			switch e.Kind {
			case Created, Removed, Restored:
				require.True(t, (e.Scheme == "s3" || e.Scheme == "gs") && e.Bucket != "" && e.Key != "" && e.Route == "")
			case Schedule, Manual:
				require.True(t, e.Scheme == "" && e.Bucket == "" && e.Key == "")
			case Test:
			default:
				t.Errorf("kind %q", e.Kind)
			}
		}
	}
}

// requireShown checks that an error can be logged: one line that can be printed, and is not long.
func requireShown(t *testing.T, err error) {
	text := err.Error()
	require.Less(t, len(text), 5_000)
	require.True(t, utf8.ValidString(text), "%q", text)
	require.NotRegexp(t, `[[:cntrl:]]`, text)
}

// requireNeighbourUnharmed puts payload into a queue beside a good message. It means there what it means alone, if it may be there.
func requireNeighbourUnharmed(t *testing.T, payload []byte) {
	body := func(id, text string) fields { return fields{"eventSource": sourceSQS, "messageId": id, "body": text} }
	batch, err := Decode([]byte(asJSON(t, fields{"Records": []fields{body("1", string(payload)), body("2", `{"route":"prod"}`)}})))
	require.NoError(t, err)
	require.True(t, batch.Queue)
	require.Len(t, batch.Messages, 2)
	require.Equal(t, Message{ID: "2", Events: []Event{{Kind: Manual, Route: "prod"}}}, batch.Messages[1])
	alone, err := Decode(payload)
	switch m := batch.Messages[0]; {
	case err != nil || alone.Queue:
		require.Error(t, m.Err)
	case m.Err != nil && strings.Contains(m.Err.Error(), "more than"): // one envelope more
	default:
		require.Equal(t, alone.Messages[0].Events, m.Events)
		require.Equal(t, alone.Messages[0].Err == nil, m.Err == nil)
	}
}

type fields = map[string]any

func asJSON(t *testing.T, v any) string {
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return string(data)
}

// FuzzKey: every key comes out as it is in the bucket: any bytes out of an S3 notification, any text out of EventBridge, in every
// envelope around them.
func FuzzKey(f *testing.F) {
	for _, seed := range []string{
		oddKey, "dags/red flower.py", "%2B", "+", "a\x00b", "\xff\xfe", `"\`, "🌷", "<&>", "%", "a%zz", "\u2028", "é", "e\u0301", "../x", "/", "a//b", `{"Records":[]}`,
		strings.Repeat("🌷", 256), "a\r\nb", "a=b&c=d;e",
	} {
		f.Add(seed, "acme-dags", "v1")
	}
	f.Fuzz(func(t *testing.T, key, bucket, version string) {
		if key == "" || bucket == "" || !utf8.ValidString(bucket) || !utf8.ValidString(version) {
			return
		}
		requireKey := func(payload string, want Event) {
			for name, wrapped := range envelopes(t, payload) {
				batch, err := Decode([]byte(wrapped))
				require.NoError(t, err, name)
				require.NoError(t, batch.Messages[0].Err, name)
				require.Equal(t, []Event{want}, batch.Messages[0].Events, name)
			}
		}
		for _, encoded := range []string{url.QueryEscape(key), strings.ReplaceAll(url.QueryEscape(key), "+", "%20"), percentEncoded(key)} {
			object := fields{"key": encoded, "versionId": version}
			requireKey(asJSON(t, fields{"Records": []fields{{"eventSource": "aws:s3", "eventName": "ObjectRemoved:Delete",
				"s3": fields{"bucket": fields{"name": bucket}, "object": object}}}}), Event{Kind: Removed, Scheme: "s3", Bucket: bucket, Key: key, Version: version})
		}
		if utf8.ValidString(key) {
			object := fields{"key": key, "version-id": version}
			requireKey(asJSON(t, fields{"source": "aws.s3", "detail-type": "Object Created", "detail": fields{"bucket": fields{"name": bucket}, "object": object}}),
				Event{Kind: Created, Scheme: "s3", Bucket: bucket, Key: key, Version: version})
		}
	})
}

// envelopes are the ways on which a payload arrives.
func envelopes(t *testing.T, payload string) map[string]string {
	notification := fields{"Type": "Notification", "TopicArn": "t", "Message": payload}
	queued := func(body string) string {
		return asJSON(t, fields{"Records": []fields{{"eventSource": sourceSQS, "messageId": "1", "body": body}}})
	}
	var spaced bytes.Buffer
	require.NoError(t, json.Indent(&spaced, []byte(payload), "\t", " "))
	return map[string]string{
		"alone":             payload,
		"with spaces":       spaced.String(),
		"SQS, or SNS raw":   queued(payload),
		"SNS in SQS":        queued(asJSON(t, notification)),
		"SNS to a function": asJSON(t, fields{"Records": []fields{{"EventSource": sourceSNS, "Sns": notification}}}),
		"SNS to SNS to SQS": queued(asJSON(t, fields{"Type": "Notification", "TopicArn": "t", "Message": asJSON(t, notification)})),
	}
}

// percentEncoded encodes every byte, in lower case.
func percentEncoded(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		b.Write([]byte{'%', digits[s[i]>>4], digits[s[i]&15]})
	}
	return b.String()
}
