package event

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	schemeGS      = "gs"
	objectKind    = "storage#object" // "kind" of an object resource
	objectChange  = "providers/cloud.storage/eventTypes/object.change"
	cloudEvents   = "application/cloudevents"
	pubsubRemedy  = `switch payload unwrapping off, or let the notification have the payload format JSON_API_V1`
	triggerRemedy = "let the triggers be google.cloud.storage.object.v1.finalized, .deleted and .archived " +
		"(1st generation: google.storage.object.finalize, .delete and .archive), or messages of Pub/Sub"
)

// DecodeRequest reads one HTTP request of a Cloud Run function. The names in header are canonical, as net/http has them. There is
// always one Message, which fails by failing the request. What cannot be understood is its Err: the only error of the function
// itself is for a body larger than 8 MiB. An empty body without a mark in the header is a person's request for every route.
func DecodeRequest(header map[string][]string, body []byte) (Batch, error) {
	if err := checkSize(body); err != nil {
		return Batch{}, err
	}
	return one(decodeRequest(header, body)), nil
}

// DecodeBackground reads what a background function of the 1st generation gets: the type and the time from its context, and
// data, the object resource or the Pub/Sub message. Its only own error is for data larger than 8 MiB.
func DecodeBackground(eventType string, timestamp time.Time, data []byte) (Batch, error) {
	if err := checkSize(data); err != nil {
		return Batch{}, err
	}
	return one(decodeTyped(eventType, timestamp.UTC(), data, 0)), nil
}

// decodeRequest recognises an envelope by its header; what has no mark there is recognised by its body.
func decodeRequest(header map[string][]string, body []byte) ([]Event, error) {
	// Before the attributes: a structured CloudEvent may carry those as well.
	switch media := mediaType(header); {
	case media == cloudEvents+"+json":
		o, err := parseObject(body)
		if err != nil {
			return nil, fmt.Errorf("the CloudEvent is %w", err)
		}
		return decodeCloudEvent(o, 0)
	case strings.HasPrefix(media, cloudEvents):
		return nil, fmt.Errorf("CloudEvents as %s are not read: deliver single events, in binary mode or as %s+json", brief(media), cloudEvents)
	}
	switch {
	case has(header, "Ce-Type"):
		return decodeTyped(attribute(header, "Ce-Type"), parseTime(attribute(header, "Ce-Time")), body, 0)
	case has(header, "X-Goog-Pubsub-Message-Id"), has(header, "X-Goog-Pubsub-Subscription-Name"):
		return decodeUnwrapped(header, body)
	case has(header, "X-Cloudscheduler"):
		return decodeScheduled(parseTime(first(header, "X-Cloudscheduler-Scheduletime")), body)
	case blank(body):
		return []Event{{Kind: Manual}}, nil
	}
	o, err := parseObject(body)
	if err != nil {
		return nil, fmt.Errorf("the body is %w", err)
	}
	return decode(o, 0)
}

// decodeCloudEvent reads a CloudEvent in structured mode.
func decodeCloudEvent(o object, depth int) ([]Event, error) {
	data := []byte(o["data"])
	if o.has("data_base64") {
		var err error
		if data, err = base64.StdEncoding.DecodeString(o.text("data_base64")); err != nil {
			return nil, fmt.Errorf(`"data_base64" of the CloudEvent: %w`, err)
		}
	}
	return decodeTyped(o.text("type"), parseTime(o.text("time")), data, depth)
}

// decodeBackgroundEvent reads an event of the 1st generation with its context around it or, in its older form, beside the data.
func decodeBackgroundEvent(o object, depth int) ([]Event, error) {
	about := o
	if o.has("context") {
		about = o.child("context")
	}
	return decodeTyped(about.text("eventType"), parseTime(about.text("timestamp")), o["data"], depth)
}

// decodeTyped reads the data of an event whose type and time came outside of it. Only that time is the event's: those in an object
// resource are older than its removal, so that the removal would count as covered.
func decodeTyped(eventType string, when time.Time, data []byte, depth int) ([]Event, error) {
	if eventType == "google.cloud.scheduler.job.v1.executed" {
		return []Event{{Kind: Schedule, Time: when}}, nil
	}
	kind, ofStorage := storageKind(eventType)
	ofPubsub := eventType == "google.cloud.pubsub.topic.v1.messagePublished"
	ofPubsubBackground := eventType == "google.pubsub.topic.publish" || eventType == "providers/cloud.pubsub/eventTypes/topic.publish"
	switch {
	case !ofStorage && !ofPubsub && !ofPubsubBackground:
		return nil, fmt.Errorf("no known event type: %s; %s", brief(eventType), triggerRemedy)
	case ofStorage && kind == "":
		return nil, nil
	}
	o, err := parseObject(data)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the data of the event %s is %w; let the trigger deliver application/json", brief(eventType), err)
	case ofPubsub:
		return decodeMessage(o.child("message"), when, depth)
	case ofPubsubBackground:
		return decodeMessage(o, when, depth)
	case eventType == objectChange && o.text("resourceState") == "not_exists":
		kind = Removed
	}
	return decodeResource(kind, when, o)
}

// storageKind is what a type of event of Cloud Storage means, by the names it has in a CloudEvent, in the 1st generation, and in a
// notification; "" for a change that leaves the contents as they are.
func storageKind(eventType string) (kind Kind, known bool) {
	switch eventType {
	case "google.cloud.storage.object.v1.finalized", "google.storage.object.finalize", "OBJECT_FINALIZE", objectChange:
		return Created, true
	case "google.cloud.storage.object.v1.deleted", "google.storage.object.delete", "OBJECT_DELETE",
		// Overwritten or deleted in a bucket that keeps noncurrent generations.
		"google.cloud.storage.object.v1.archived", "google.storage.object.archive", "OBJECT_ARCHIVE":
		return Removed, true
	case "google.cloud.storage.object.v1.metadataUpdated", "google.storage.object.metadataUpdate", "OBJECT_METADATA_UPDATE":
		return "", true
	}
	return "", false
}

// decodeResource reads an object resource of the JSON API. Names are plain there.
func decodeResource(kind Kind, when time.Time, o object) ([]Event, error) {
	return storesGoogle(Event{Kind: kind, Bucket: o.text("bucket"), Key: o.text("name"), Version: o.text("generation"), Time: when})
}

// decodeMessage reads a message of Pub/Sub: a notification of Cloud Storage by its attributes, anything else by its data. The time
// around the message is that of its publication, if it says none itself.
func decodeMessage(m object, when time.Time, depth int) ([]Event, error) {
	for _, field := range []string{"publish_time", "publishTime"} {
		if t := parseTime(m.text(field)); !t.IsZero() {
			when = t
		}
	}
	attributes := m.child("attributes")
	if attributes.has("eventType") && attributes.has("bucketId") {
		return decodeAttributes(attributes, when)
	}
	if m.text("data") == "" {
		return nil, errors.New(`a message of Pub/Sub without "data" and without the attributes "eventType" and "bucketId" is no notification ` +
			`of Cloud Storage; to ask for a run, publish {} or {"route":"prod"}`)
	}
	data, err := base64.StdEncoding.DecodeString(m.text("data"))
	if err != nil {
		return nil, fmt.Errorf(`"data" of the Pub/Sub message: %w`, err)
	}
	return decodeText(string(data), "the data of the Pub/Sub message", depth)
}

// decodeAttributes reads a notification of Cloud Storage, with or without a payload.
func decodeAttributes(attributes object, published time.Time) ([]Event, error) {
	kind, known := storageKind(attributes.text("eventType"))
	switch {
	case !known:
		return nil, fmt.Errorf("no known event of Cloud Storage: %s", brief(attributes.text("eventType")))
	case kind == "":
		return nil, nil
	}
	e := Event{
		Kind: kind, Bucket: attributes.text("bucketId"), Key: attributes.text("objectId"), Version: attributes.text("objectGeneration"),
		Time: parseTime(attributes.text("eventTime")),
	}
	if e.Time.IsZero() {
		e.Time = published
	}
	return storesGoogle(e)
}

// decodeUnwrapped reads a message of a push subscription with payload unwrapping, whose metadata and attributes are in the header.
func decodeUnwrapped(header map[string][]string, body []byte) ([]Event, error) {
	eventType, bucket, key := first(header, "Eventtype"), first(header, "Bucketid"), first(header, "Objectid")
	if eventType == "" || bucket == "" {
		if blank(body) {
			return nil, errors.New("a message of Pub/Sub without data, and without attributes in the header: " + pubsubRemedy)
		}
		return decodeText(string(body), "the data of the Pub/Sub message", 0)
	}
	kind, known := storageKind(eventType)
	switch {
	case !known:
		return nil, fmt.Errorf("no known event of Cloud Storage: %s", brief(eventType))
	case kind == "":
		return nil, nil
	}
	when := parseTime(first(header, "Eventtime"))
	if when.IsZero() {
		when = parseTime(first(header, "X-Goog-Pubsub-Publish-Time"))
	}
	if o, err := parseObject(body); err == nil && o.text("kind") == objectKind {
		return decodeResource(kind, when, o) // whose name went through no header
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r > '~' }) {
		// How such names are written into a header is not documented.
		return nil, fmt.Errorf("the header ObjectId %s is not ASCII: %s", brief(key), pubsubRemedy)
	}
	return storesGoogle(Event{Kind: kind, Bucket: bucket, Key: key, Version: first(header, "Objectgeneration"), Time: when})
}

// decodeScheduled reads a request of Cloud Scheduler. A job may have any body, or none; only an envelope changes what it means.
func decodeScheduled(when time.Time, body []byte) ([]Event, error) {
	schedule := []Event{{Kind: Schedule, Time: when}}
	o, err := parseObject(body)
	if err != nil || len(o) == 0 {
		return schedule, nil
	}
	events, err := decode(o, 0)
	if err != nil && !o.has("route") {
		return schedule, nil
	}
	return events, err
}

// storesGoogle is e of Cloud Storage as a list, or an error if it does not say which object it is about.
func storesGoogle(e Event) ([]Event, error) {
	e.Scheme = schemeGS
	switch {
	case e.Bucket == "":
		return nil, errors.New("an event of Cloud Storage without the name of its bucket")
	case e.Key == "":
		return nil, errors.New("an event of Cloud Storage without the name of its object")
	}
	return []Event{e}, nil
}

func has(header map[string][]string, name string) bool { return first(header, name) != "" }

func first(header map[string][]string, name string) string {
	if values := header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// attribute is an attribute of a CloudEvent in binary mode: perhaps in quotes, then percent-encoded once.
func attribute(header map[string][]string, name string) string {
	value := strings.Trim(first(header, name), `"`)
	if decoded, err := url.PathUnescape(value); err == nil {
		return decoded
	}
	return value
}

// mediaType is the content type without its parameters, in lower case.
func mediaType(header map[string][]string) string {
	media, _, _ := strings.Cut(first(header, "Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(media))
}

func blank(body []byte) bool { return strings.TrimSpace(string(body)) == "" }
