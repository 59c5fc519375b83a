package event

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	recorded       = "../../testdata/events/aws"
	recordedGoogle = "../../testdata/events/google"
)

const (
	putVersion     = "096fKKXTRTtl3on89fVO.nfljtsv6qko"
	createdVersion = "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"
	oddKey         = "dags/a+b c%2B/é.py"
)

var (
	notified  = time.Date(2026, 3, 1, 9, 0, 0, 123e6, time.UTC) // of the S3 notifications
	bridged   = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)     // of the EventBridge events
	scheduled = time.Date(2026, 3, 1, 9, 5, 0, 0, time.UTC)

	put     = stored(Created, "dags/etl.py", putVersion, notified)
	odd     = stored(Created, oddKey, "", notified)
	created = stored(Created, "dags/etl.py", createdVersion, bridged)
	tested  = Event{Kind: Test, Scheme: "s3", Bucket: "acme-dags", Time: time.Date(2026, 3, 1, 8, 59, 30, 89e6, time.UTC)}
)

func stored(kind Kind, key, version string, when time.Time) Event {
	return Event{Kind: kind, Scheme: "s3", Bucket: "acme-dags", Key: key, Version: version, Time: when}
}

// message is what is expected of one Message: its events, or a part of its error.
type message struct {
	events []Event
	err    string
}

func good(events ...Event) message    { return message{events: events} }
func fails(because string) message    { return message{err: because} }
func alone(m message) []message       { return []message{m} }
func queue(ms ...message) []message   { return ms }
func made(key string) Event           { return stored(Created, key, "", notified) }
func removed(key, ver string) Event   { return stored(Removed, key, ver, notified) }
func bridgeGone(version string) Event { return stored(Removed, "dags/old.py", version, bridged) }

// expected has an entry for every recorded payload. The name of a queue's payload begins with "sqs".
var expected = map[string][]message{
	"s3-put":     alone(good(put)),
	"s3-created": alone(good(made("dags/put.py"), made("dags/post.py"), made("dags/copy.py"), made("dags/completemultipartupload.py"))),
	"s3-odd-keys": alone(good(odd, made("dags/red flower.py"), made(`dags/100%&"'=?#.py`), made("dags/🌷.py"),
		made("dags/\xff.py"), made("dags//x.py"))),
	"s3-name-with-prefix": alone(good(made("dags/etl.py"), removed("dags/old.py", ""))),
	"s3-version-2.5":      alone(good(made("dags/etl.py"))),
	"s3-without-time":     alone(good(stored(Created, "dags/etl.py", "", time.Time{}))),
	"s3-removed":          alone(good(removed("dags/old.py", ""), removed("dags/old er.py", "Bmp8wLEjSaVDDWqA3.ZyKxNCxxs1IdGb"))),
	"s3-lifecycle-expiration": alone(good(removed("dags/old.py", ""),
		removed("dags/older.py", "mtB0cV.jejK63XkRNceanNMC.qXPWLeK"))),
	"s3-restore-completed": alone(good(stored(Restored, "dags/archive.py", "KKsjUC1.6gIjqtvhfg5AdMI0eCePIiT3", notified))),
	"s3-no-change":         alone(good()),
	"s3-unknown-event":     alone(fails(`record 0: no known S3 event: "ObjectForgotten:Put"`)),
	"s3-bad-key":           alone(fails(`record 1: the key "dags/100%.py" of an S3 notification is not form-encoded`)),
	"s3-test-event":        alone(good(tested)),

	"eventbridge-created":              alone(good(created)),
	"eventbridge-odd-key":              alone(good(stored(Created, oddKey, "", bridged))),
	"eventbridge-deleted":              alone(good(bridgeGone(""))),
	"eventbridge-delete-marker":        alone(good(bridgeGone("1QW9g1Z99LUNbvaaYVpW9xDlOLU.qxgF"))),
	"eventbridge-lifecycle-expiration": alone(good(bridgeGone("mtB0cV.jejK63XkRNceanNMC.qXPWLeK"))),
	"eventbridge-restore-completed":    alone(good(stored(Restored, "dags/archive.py", "KKsjUC1.6gIjqtvhfg5AdMI0eCePIiT3", bridged))),
	"eventbridge-no-change":            alone(good()),
	"eventbridge-unknown-event":        alone(fails(`no known S3 event of EventBridge: "Object Forgotten"`)),
	"eventbridge-without-bucket":       alone(fails("without the name of its bucket")),
	"eventbridge-of-another-service":   alone(fails(`"EC2 Instance State-change Notification" of "aws.ec2"`)),
	"schedule-eventbridge-rule":        alone(good(Event{Kind: Schedule, Time: scheduled})),
	"schedule-eventbridge-scheduler":   alone(good(Event{Kind: Schedule, Time: scheduled})),
	"manual-all":                       alone(good(Event{Kind: Manual})),
	"manual-route":                     alone(good(Event{Kind: Manual, Route: "prod"})),
	"manual-bad-route":                 alone(fails(`"route" must be the name of a route`)),

	"sns-s3":            alone(good(put)),
	"sns-eventbridge":   alone(good(created)),
	"sns-s3-test-event": alone(good(tested)),
	"sns-no-event":      alone(fails("the message of the SNS notification is no JSON object")),

	"sqs-s3":                queue(good(put), good(odd)),
	"sqs-s3-test-event":     queue(good(tested)),
	"sqs-sns-s3":            queue(good(odd)),
	"sqs-sns-raw-s3":        queue(good(odd)),
	"sqs-sns-eventbridge":   queue(good(created)),
	"sqs-sns-s3-test-event": queue(good(tested)),
	"sqs-sns-subscription":  queue(fails(`an SNS message of type "SubscriptionConfirmation"`)),
	"sqs-eventbridge":       queue(good(created)),
	"sqs-schedule":          queue(good(Event{Kind: Schedule, Time: scheduled})),
	"sqs-manual":            queue(good(Event{Kind: Manual, Route: "prod"}), good(Event{Kind: Manual})),
	"sqs-batch-one-undecodable": queue(good(put), fails("the body of the SQS message is no JSON object"),
		good(created), good(odd)),
	"sqs-in-sqs":             queue(fails(`a record of "aws:sqs"`)),
	"sqs-without-message-id": queue(fails(`without "messageId"`)),

	"unknown-api-gateway": alone(fails(`an object with the fields "body", "headers", "httpMethod", "isBase64Encoded", "multiValueHeaders", ` +
		`"path", "pathParameters", "queryStringParameters", and 3 more`)),
	"unknown-dynamodb": alone(fails(`a record of "aws:dynamodb"`)),
}

func TestDecodeRecorded(t *testing.T) {
	payloads := recordings(t, recorded)
	require.Len(t, payloads, len(expected), "an expectation for each file, and a file for each expectation")
	for file, payload := range payloads {
		name := strings.TrimSuffix(file, ".json")
		t.Run(name, func(t *testing.T) {
			want, ok := expected[name]
			require.True(t, ok, "no expectation for this file")
			batch, err := Decode(payload)
			require.NoError(t, err)
			require.Equal(t, strings.HasPrefix(name, "sqs"), batch.Queue)
			require.Len(t, batch.Messages, len(want))
			for i, m := range batch.Messages {
				id := ""
				if batch.Queue && name != "sqs-without-message-id" {
					id = fmt.Sprintf("059f36b4-87a3-44ab-83d2-66197%07d", i+1)
				}
				require.Equal(t, id, m.ID)
				require.Equal(t, want[i].events, m.Events)
				if want[i].err == "" {
					require.NoError(t, m.Err)
					continue
				}
				require.ErrorContains(t, m.Err, want[i].err)
				require.NotContains(t, m.Err.Error(), "hunter2", "contents stay out of errors")
			}
		})
	}
}

// TestRecordingsSayWhereTheyCameFrom: the first column of a README's table names each file, or a pattern that it matches.
func TestRecordingsSayWhereTheyCameFrom(t *testing.T) {
	for _, dir := range []string{recorded, recordedGoogle} {
		patterns := readmePatterns(t, dir)
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		for _, file := range files {
			if filepath.Base(file) == "README.md" {
				continue
			}
			name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
			require.True(t, slices.ContainsFunc(patterns, func(pattern string) bool {
				matched, err := filepath.Match(pattern, name)
				require.NoError(t, err)
				return matched
			}), "%s is not in the README's table", file)
		}
	}
}

func readmePatterns(t *testing.T, dir string) []string {
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	require.NoError(t, err)
	var patterns []string
	for line := range strings.Lines(string(readme)) {
		cells := strings.Split(line, "|")
		if len(cells) > 2 {
			for i, part := range strings.Split(cells[1], "`") {
				if i%2 == 1 { // between backquotes
					patterns = append(patterns, part)
				}
			}
		}
	}
	return patterns
}

// TestEventBridgeChangesThatLeaveTheContents: a rule for everything of S3 delivers these too.
func TestEventBridgeChangesThatLeaveTheContents(t *testing.T) {
	for _, detailType := range []string{
		"Object Restore Initiated", "Object Restore Expired", "Object Storage Class Changed", "Object Access Tier Changed",
		"Object ACL Updated", "Object Tags Added", "Object Tags Deleted", "Object Annotation Added", "Object Retention Updated",
	} {
		batch, err := Decode(fmt.Appendf(nil, `{"source":"aws.s3","detail-type":%q,"detail":{}}`, detailType))
		require.NoError(t, err)
		require.Equal(t, Batch{Messages: []Message{{}}}, batch, detailType)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ name, payload, says string }{
		{"nothing", "", "no JSON object"},
		{"text", "hello", "no JSON object"},
		{"cut short", `{"Records":[`, "no JSON object"},
		{"two objects", `{}{}`, "no JSON object"},
		{"a list", `[{}]`, "a JSON array, not an object"},
		{"a string", `"{}"`, "a JSON string, not an object"},
		{"null", `null`, "a JSON null, not an object"},
		{"deep", strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000), "no JSON object"},
		{"large", strings.Repeat(" ", maxPayload) + "{}", "at most 8388608 are read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode([]byte(c.payload))
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestDecodeOddities(t *testing.T) {
	nested := `{"route":"prod"}`
	for range maxEnvelopes {
		nested = fmt.Sprintf(`{"Type":"Notification","TopicArn":"t","Message":%q}`, nested)
	}
	record := `{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":%s}}}`
	manual := good(Event{Kind: Manual, Route: "prod"})
	for _, c := range []struct {
		name, payload string
		want          message
	}{
		{"nested too deeply", nested, fails("more than 4 envelopes")},
		{"a doubled field", `{"route":"dev","route":"prod"}`, manual},
		{"an event name in another case", `{"event":"s3:TestEvent"}`, fails(`no known event: an object with the fields "event"`)},
		{"another event of that form", `{"Service":"Amazon S3","Event":"s3:Other"}`, fails(`the fields "Event", "Service"`)},
		{"a time of another zone", `{"source":"aws.events","detail-type":"Scheduled Event","time":"2026-03-01T10:05:00+01:00"}`,
			good(Event{Kind: Schedule, Time: scheduled})},
		{"a route and more", `{"route":"prod","colour":"red"}`, fails(`the fields "colour", "route"`)},
		{"a null route", `{"route":null}`, fails(`"route" must be`)},
		{"records of another type", `{"Records":{"a":1}}`, fails(`"Records" is no list of objects`)},
		{"null records", `{"Records":null}`, fails(`"Records" is empty`)},
		{"no records", `{"Records":[]}`, fails(`"Records" is empty`)},
		{"an empty record", `{"Records":[{}]}`, fails("no known record: an empty object")},
		{"a null record", `{"Records":[null]}`, fails("no known record: an empty object")},
		{"no key", `{"Records":[` + fmt.Sprintf(record, "null") + `]}`, fails("without the key")},
		{"a key that is a number", `{"Records":[` + fmt.Sprintf(record, "7") + `]}`, fails("without the key")},
		{"a message that follows an object", `{"Records":[` + fmt.Sprintf(record, `"k"`) + `,{"eventSource":"aws:sqs"}]}`, fails(`record 1: a record of "aws:sqs"`)},
		{"names that go on", `{"` + strings.Repeat("x", 500) + `":1}`, fails(`"` + strings.Repeat("x", 80) + `"…`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			batch, err := Decode([]byte(c.payload))
			require.NoError(t, err)
			require.False(t, batch.Queue)
			require.Len(t, batch.Messages, 1)
			require.Equal(t, c.want.events, batch.Messages[0].Events)
			if c.want.err != "" {
				require.ErrorContains(t, batch.Messages[0].Err, c.want.err)
				require.Less(t, len(batch.Messages[0].Err.Error()), 1000)
				return
			}
			require.NoError(t, batch.Messages[0].Err)
		})
	}
}

func TestQueueWithAStranger(t *testing.T) {
	batch, err := Decode([]byte(`{"Records":[{"eventSource":"aws:sqs","messageId":"1","body":"{}"},{"eventSource":"aws:s3","messageId":"2"},null]}`))
	require.NoError(t, err)
	require.True(t, batch.Queue)
	require.Equal(t, Message{ID: "1", Events: []Event{{Kind: Manual}}}, batch.Messages[0])
	require.ErrorContains(t, batch.Messages[1].Err, `a record of "aws:s3" among those of a queue`)
	require.Equal(t, "2", batch.Messages[1].ID)
	require.Error(t, batch.Messages[2].Err)
}
