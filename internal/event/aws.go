package event

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	schemeS3    = "s3"
	sourceSQS   = "aws:sqs"
	sourceSNS   = "aws:sns"
	sourceS3    = "aws:s3"
	s3TestEvent = "s3:TestEvent"
)

// decodeQueue reads the records of an SQS event source mapping, each for itself.
func decodeQueue(records []object) Batch {
	batch := Batch{Queue: true}
	for _, r := range records {
		// Without an ID the message cannot be acknowledged alone; Lambda takes the empty one as "all of them come again".
		m := Message{ID: r.text("messageId")}
		m.Events, m.Err = decodeQueued(r, m.ID)
		batch.Messages = append(batch.Messages, m)
	}
	return batch
}

func decodeQueued(r object, id string) ([]Event, error) {
	if source := r.text("eventSource"); source != sourceSQS {
		return nil, fmt.Errorf("a record of %s among those of a queue", brief(source))
	}
	if id == "" {
		return nil, errors.New(`a record of a queue without "messageId"`)
	}
	return decodeText(r.text("body"), "the body of the SQS message", 0)
}

// decodeRecords reads what S3 and SNS deliver as a list. One record that cannot be read fails them all: they are one message.
func decodeRecords(o object, depth int) ([]Event, error) {
	records, err := o.records()
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, errors.New(`"Records" is empty`)
	}
	var all []Event
	for i, r := range records {
		events, err := decodeRecord(r, depth)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
		all = append(all, events...)
	}
	return all, nil
}

func decodeRecord(r object, depth int) ([]Event, error) {
	switch {
	case r.text("eventSource") == sourceS3:
		return decodeS3(r)
	case r.text("EventSource") == sourceSNS: // SNS capitalises its fields
		return decodeNotification(r.child("Sns"), depth)
	case r.has("eventSource"):
		return nil, fmt.Errorf("a record of %s; only those of %q and %q are known here", brief(r.text("eventSource")), sourceS3, sourceSNS)
	}
	return nil, fmt.Errorf("no known record: %s", r.describe())
}

// decodeNotification reads what SNS makes of a message, for Lambda or for a queue (without raw delivery).
func decodeNotification(o object, depth int) ([]Event, error) {
	if kind := o.text("Type"); kind != "Notification" {
		return nil, fmt.Errorf("an SNS message of type %s; only \"Notification\" carries events: confirm subscriptions by hand", brief(kind))
	}
	return decodeText(o.text("Message"), "the message of the SNS notification", depth)
}

// decodeS3 reads one record of an S3 event notification, of any version 2.x.
func decodeS3(r object) ([]Event, error) {
	name := strings.TrimPrefix(r.text("eventName"), "s3:")
	kind, known := s3Kind(name)
	if !known {
		return nil, fmt.Errorf("no known S3 event: %s", brief(name))
	}
	if kind == "" {
		return nil, nil
	}
	s3 := r.child("s3")
	stored := s3.child("object")
	rawKey := stored.text("key")
	key, err := url.QueryUnescape(rawKey) // form-encoded: a space is a plus
	if err != nil {
		return nil, fmt.Errorf("the key %s of an S3 notification is not form-encoded", brief(rawKey))
	}
	return stores(Event{
		Kind: kind, Scheme: schemeS3, Bucket: s3.child("bucket").text("name"), Key: key,
		Version: stored.text("versionId"), Time: parseTime(r.text("eventTime")),
	})
}

// s3Kind is what the name of an S3 event, without "s3:", means; "" for a change that leaves the contents as they are.
func s3Kind(name string) (kind Kind, known bool) {
	family, action, _ := strings.Cut(name, ":")
	switch family {
	case "ObjectCreated":
		return Created, true
	case "ObjectRemoved", "LifecycleExpiration":
		return Removed, true
	case "ObjectRestore":
		if action == "Completed" {
			return Restored, true
		}
		return "", true
	case "ObjectTagging", "ObjectAcl", "ObjectAnnotation", "ObjectRetention", "Replication", "LifecycleTransition", "IntelligentTiering",
		"ReducedRedundancyLostObject":
		return "", true
	}
	return "", false
}

// decodeEventBridge reads an event of EventBridge or EventBridge Scheduler.
func decodeEventBridge(o object) ([]Event, error) {
	source, detailType, when := o.text("source"), o.text("detail-type"), parseTime(o.text("time"))
	switch {
	case detailType == "Scheduled Event" && (source == "aws.events" || source == "aws.scheduler"):
		return []Event{{Kind: Schedule, Time: when}}, nil
	case source != "aws.s3":
		return nil, fmt.Errorf("no known EventBridge event: %s of %s", brief(detailType), brief(source))
	}
	kind, known := eventBridgeKind(detailType)
	if !known {
		return nil, fmt.Errorf("no known S3 event of EventBridge: %s", brief(detailType))
	}
	if kind == "" {
		return nil, nil
	}
	detail := o.child("detail")
	stored := detail.child("object")
	return stores(Event{
		Kind: kind, Scheme: schemeS3, Bucket: detail.child("bucket").text("name"), Key: stored.text("key"), // not encoded
		Version: stored.text("version-id"), Time: when,
	})
}

// eventBridgeKind is what a detail-type of aws.s3 means; "" for a change that leaves the contents as they are.
func eventBridgeKind(detailType string) (kind Kind, known bool) {
	switch detailType {
	case "Object Created":
		return Created, true
	case "Object Deleted":
		return Removed, true
	case "Object Restore Completed":
		return Restored, true
	case "Object Restore Initiated", "Object Restore Expired", "Object Storage Class Changed", "Object Access Tier Changed",
		"Object ACL Updated", "Object Tags Added", "Object Tags Deleted":
		return "", true
	}
	// What S3 may say of annotations and retention periods is documented for its notifications only, so any verb will do.
	if strings.HasPrefix(detailType, "Object Annotation ") || strings.HasPrefix(detailType, "Object Retention ") {
		return "", true
	}
	return "", false
}

// stores is e as a list, or an error if it does not say which object it is about.
func stores(e Event) ([]Event, error) {
	switch {
	case e.Bucket == "":
		return nil, errors.New("an S3 event without the name of its bucket")
	case e.Key == "":
		return nil, errors.New("an S3 event without the key of its object")
	}
	return []Event{e}, nil
}

// parseTime reads AWS's times. One that cannot be read counts as missing: an event without a time is always acted on.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
