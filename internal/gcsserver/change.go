package gcsserver

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"time"
)

// The events that Server tells of.
const (
	Finalized = "OBJECT_FINALIZE"
	Deleted   = "OBJECT_DELETE"
)

// Change is one object created or removed. An overwrite is two changes: the old object is removed, then the new one created.
type Change struct {
	Bucket     string
	Key        string
	Size       int64  // bytes, of the object that came or went
	Generation string // of the same
	Event      string // Cloud Storage's name of the event, such as "OBJECT_FINALIZE"
	Time       time.Time

	// Overwrote is the generation that a Finalized object replaced, and OverwrittenBy the one that replaced a Deleted one; else "".
	Overwrote, OverwrittenBy string

	resource resource
	sequence uint64
}

// changesOf returns the changes that turn one object into another; either may be nil.
func (s *Server) changesOf(before, after *object) []Change {
	var changes []Change
	add := func(event string, o *object) *Change {
		s.sequence++
		changes = append(changes, Change{
			Bucket: o.bucket, Key: o.key, Size: int64(len(o.content)), Generation: strconv.FormatInt(o.generation, 10), Event: event,
			Time: time.Now().UTC(), resource: o.resource(), sequence: s.sequence,
		})
		return &changes[len(changes)-1]
	}
	if before != nil && after != nil && before.generation == after.generation {
		return nil // its metadata changed
	}
	if before != nil {
		c := add(Deleted, before)
		if after != nil {
			c.OverwrittenBy = strconv.FormatInt(after.generation, 10)
		}
	}
	if after != nil {
		c := add(Finalized, after)
		if before != nil {
			c.Overwrote = strconv.FormatInt(before.generation, 10)
		}
	}
	return changes
}

type push struct {
	Message      message `json:"message"`
	Subscription string  `json:"subscription"`
}

// message has some of its fields under two names, as Google's has.
type message struct {
	Attributes   map[string]string `json:"attributes"`
	Data         string            `json:"data"`
	MessageID    string            `json:"messageId"`
	MessageID2   string            `json:"message_id"`
	PublishTime  string            `json:"publishTime"`
	PublishTime2 string            `json:"publish_time"`
}

// Notification is c as the body that Pub/Sub pushes for a notification of the bucket, ready for json.Marshal.
func (c Change) Notification() any {
	attributes := map[string]string{
		"notificationConfig": fmt.Sprintf("projects/_/buckets/%s/notificationConfigs/1", c.Bucket),
		"eventType":          c.Event, "payloadFormat": "JSON_API_V1", "bucketId": c.Bucket, "objectId": c.Key,
		"objectGeneration": c.Generation, "eventTime": c.Time.Format("2006-01-02T15:04:05.000000Z"),
	}
	if c.Overwrote != "" {
		attributes["overwroteGeneration"] = c.Overwrote
	}
	if c.OverwrittenBy != "" {
		attributes["overwrittenByGeneration"] = c.OverwrittenBy
	}
	id, published := strconv.FormatUint(c.sequence, 10), timestamp(c.Time)
	return push{
		Message: message{
			Attributes: attributes, Data: base64.StdEncoding.EncodeToString(encoded(c.resource)),
			MessageID: id, MessageID2: id, PublishTime: published, PublishTime2: published,
		},
		Subscription: "projects/demo/subscriptions/dagbucket",
	}
}
