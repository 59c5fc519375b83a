package s3server

import (
	"fmt"
	"strings"
	"time"
)

// Change is one object created or removed.
type Change struct {
	Bucket string
	Key    string // plain, not encoded
	Size   int64  // bytes; 0 if removed
	ETag   string // without quotes; "" if removed
	Event  string // S3's name of the event, such as "ObjectCreated:Put"
	Time   time.Time

	sequencer string
}

func newChange(event, bucket, key string, o object, sequencer uint64) Change {
	return Change{
		Bucket: bucket, Key: key, Size: o.size, ETag: strings.Trim(o.etag, `"`), Event: event,
		Time: time.Now().UTC(), sequencer: fmt.Sprintf("%018X", sequencer),
	}
}

type notification struct {
	Records []record
}

type record struct {
	EventVersion      string            `json:"eventVersion"`
	EventSource       string            `json:"eventSource"`
	AWSRegion         string            `json:"awsRegion"`
	EventTime         string            `json:"eventTime"`
	EventName         string            `json:"eventName"`
	UserIdentity      map[string]string `json:"userIdentity"`
	RequestParameters map[string]string `json:"requestParameters"`
	ResponseElements  map[string]string `json:"responseElements"`
	S3                entity            `json:"s3"`
}

type entity struct {
	SchemaVersion   string       `json:"s3SchemaVersion"`
	ConfigurationID string       `json:"configurationId"`
	Bucket          bucketEntity `json:"bucket"`
	Object          objectEntity `json:"object"`
}

type bucketEntity struct {
	Name          string            `json:"name"`
	OwnerIdentity map[string]string `json:"ownerIdentity"`
	ARN           string            `json:"arn"`
}

type objectEntity struct {
	Key       string `json:"key"`
	Size      *int64 `json:"size,omitempty"`
	ETag      string `json:"eTag,omitempty"`
	Sequencer string `json:"sequencer"`
}

// Notification is c as the document that S3 sends to a queue, ready for json.Marshal: the key is form-encoded, and removed
// objects have neither size nor ETag.
func (c Change) Notification() any {
	o := objectEntity{Key: formEncoded(c.Key), ETag: c.ETag, Sequencer: c.sequencer}
	if strings.HasPrefix(c.Event, "ObjectCreated:") {
		o.Size = &c.Size
	}
	return notification{Records: []record{{
		EventVersion: "2.1", EventSource: "aws:s3", AWSRegion: "us-east-1",
		EventTime: c.Time.UTC().Format("2006-01-02T15:04:05.000Z"), EventName: c.Event,
		UserIdentity:      map[string]string{"principalId": "AWS:DEMO"},
		RequestParameters: map[string]string{"sourceIPAddress": "127.0.0.1"},
		ResponseElements:  map[string]string{"x-amz-request-id": c.sequencer},
		S3: entity{
			SchemaVersion: "1.0", ConfigurationID: "dagbucket",
			Bucket: bucketEntity{Name: c.Bucket, OwnerIdentity: map[string]string{"principalId": "DEMO"}, ARN: "arn:aws:s3:::" + c.Bucket},
			Object: o,
		},
	}}}
}
