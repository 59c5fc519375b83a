package event

import (
	"encoding/json"
	"net/url"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzDecode: whatever comes, Decode ends with an error or with sound messages.
func FuzzDecode(f *testing.F) {
	for _, payload := range recordings(f) {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) { requireSound(t, payload) })
}

// requireSound decodes payload: to an error, or to messages that are each either good, with complete events, or failed.
func requireSound(t *testing.T, payload []byte) {
	batch, err := Decode(payload)
	if err != nil {
		require.Empty(t, batch.Messages)
		return
	}
	require.NotEmpty(t, batch.Messages)
	require.True(t, batch.Queue || len(batch.Messages) == 1)
	for _, m := range batch.Messages {
		require.True(t, m.Err == nil || len(m.Events) == 0)
		require.True(t, batch.Queue || m.ID == "")
		for _, e := range m.Events {
			require.Equal(t, time.UTC, e.Time.Location())
			switch e.Kind {
			case Created, Removed, Restored:
				require.True(t, e.Scheme == "s3" && e.Bucket != "" && e.Key != "" && e.Route == "")
			case Schedule, Manual:
				require.True(t, e.Scheme == "" && e.Bucket == "" && e.Key == "")
			case Test:
			default:
				t.Errorf("kind %q", e.Kind)
			}
		}
	}
}

// FuzzKey: every key comes out as it is in the bucket: any bytes out of an S3 notification, any text out of EventBridge, through SNS and
// SQS too.
func FuzzKey(f *testing.F) {
	for _, seed := range []string{oddKey, "dags/red flower.py", "%2B", "+", "a\x00b", "\xff\xfe", `"\`, "🌷", "<&>"} {
		f.Add(seed)
	}
	type fields = map[string]any
	f.Fuzz(func(t *testing.T, key string) {
		if key == "" {
			return
		}
		text := func(v any) string {
			data, err := json.Marshal(v)
			require.NoError(t, err)
			return string(data)
		}
		check := func(envelope fields) {
			notification := text(fields{"Type": "Notification", "TopicArn": "t", "Message": text(envelope)})
			for _, payload := range []string{text(envelope), text(fields{"Records": []fields{{"eventSource": "aws:sqs", "messageId": "1", "body": notification}}})} {
				batch, err := Decode([]byte(payload))
				require.NoError(t, err)
				require.NoError(t, batch.Messages[0].Err)
				require.Equal(t, []Event{{Kind: Created, Scheme: "s3", Bucket: "b", Key: key}}, batch.Messages[0].Events)
			}
		}
		check(fields{"Records": []fields{{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
			"s3": fields{"bucket": fields{"name": "b"}, "object": fields{"key": url.QueryEscape(key)}}}}})
		if utf8.ValidString(key) {
			check(fields{"source": "aws.s3", "detail-type": "Object Created",
				"detail": fields{"bucket": fields{"name": "b"}, "object": fields{"key": key}}})
		}
	})
}
