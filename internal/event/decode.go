package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	maxPayload   = 8 << 20 // bytes; Lambda itself delivers at most 6 MiB
	maxEnvelopes = 4       // the deepest real nesting is three: SQS, SNS, storage; or CloudEvent, Pub/Sub, a request
)

// Decode reads one invocation's payload. A batch from a queue becomes one Message for each of its messages; anything else becomes
// one Message. What cannot be understood is that Message's Err, and the others stay good: its only own error is for a payload
// that is no JSON object at all or larger than 8 MiB. Unknown fields are ignored, and of doubled ones the last counts. Errors show
// field names and types, never contents other than the name of an event or a key, cut short.
func Decode(payload []byte) (Batch, error) {
	if err := checkSize(payload); err != nil {
		return Batch{}, err
	}
	o, err := parseObject(payload)
	if err != nil {
		return Batch{}, fmt.Errorf("the payload is %w", err)
	}
	records, err := o.records()
	if err == nil && len(records) > 0 && records[0].text("eventSource") == sourceSQS {
		return decodeQueue(records), nil
	}
	return one(decode(o, 0)), nil
}

func checkSize(payload []byte) error {
	if len(payload) > maxPayload {
		return fmt.Errorf("the payload has %d bytes; at most %d are read", len(payload), maxPayload)
	}
	return nil
}

// one is a batch of one Message.
func one(events []Event, err error) Batch {
	if err != nil {
		return Batch{Messages: []Message{{Err: err}}}
	}
	return Batch{Messages: []Message{{Events: events}}}
}

// decode recognises one envelope by its marks: fields that its sender documents and that no other sender uses. What Google's
// senders write into the header of a request is read before, in decodeRequest.
func decode(o object, depth int) ([]Event, error) {
	if depth >= maxEnvelopes {
		return nil, fmt.Errorf("more than %d envelopes one inside the other", maxEnvelopes)
	}
	switch {
	case o.has("Records"):
		return decodeRecords(o, depth)
	case o.has("Type") && o.has("TopicArn"):
		return decodeNotification(o, depth)
	case o.text("Event") == s3TestEvent:
		return []Event{{Kind: Test, Scheme: schemeS3, Bucket: o.text("Bucket"), Time: parseTime(o.text("Time"))}}, nil
	case o.has("source") && o.has("detail-type"):
		return decodeEventBridge(o)
	case o.has("specversion") && o.has("type"):
		return decodeCloudEvent(o, depth)
	case o.child("message") != nil && (o.has("subscription") || len(o) == 1):
		return decodeMessage(o.child("message"), time.Time{}, depth)
	case o.has("data") && (o.has("eventType") || o.child("context").has("eventType")):
		return decodeBackgroundEvent(o, depth)
	case o.text("kind") == objectKind: // its event is lost: a notification without its attributes, or a CloudEvent without its header
		return decodeResource(Created, time.Time{}, o)
	case len(o) == 0 || len(o) == 1 && o.has("route"):
		return decodeManual(o)
	}
	return nil, fmt.Errorf("no known event: %s", o.describe())
}

// decodeText decodes an envelope that came as a string inside another one, which outer names.
func decodeText(text, outer string, depth int) ([]Event, error) {
	o, err := parseObject([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s is %w", outer, err)
	}
	events, err := decode(o, depth+1)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", outer, err)
	}
	return events, nil
}

func decodeManual(o object) ([]Event, error) {
	e := Event{Kind: Manual}
	if raw, ok := o["route"]; ok {
		var name *string
		if err := json.Unmarshal(raw, &name); err != nil || name == nil {
			return nil, errors.New(`"route" must be the name of a route, as in {"route":"prod"}`)
		}
		e.Route = *name
	}
	return []Event{e}, nil
}

// object is a JSON object whose fields are not read yet. Unlike a struct it tells "event" from "Event".
type object map[string]json.RawMessage

func parseObject(data []byte) (object, error) {
	var o object
	if err := json.Unmarshal(data, &o); err != nil {
		if wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, fmt.Errorf("a JSON %s, not an object", wrongType.Value)
		}
		return nil, fmt.Errorf("no JSON object: %w", err)
	}
	if o == nil {
		return nil, errors.New("a JSON null, not an object")
	}
	return o, nil
}

func (o object) has(field string) bool {
	_, ok := o[field]
	return ok
}

// text is a field's string, "" if it is missing or none.
func (o object) text(field string) string {
	var s string
	if json.Unmarshal(o[field], &s) != nil {
		return ""
	}
	return s
}

// child is the object in a field, an empty one if it is missing or none.
func (o object) child(field string) object {
	var c object
	if json.Unmarshal(o[field], &c) != nil {
		return nil
	}
	return c
}

func (o object) records() ([]object, error) {
	var records []object
	if err := json.Unmarshal(o["Records"], &records); err != nil {
		return nil, errors.New(`"Records" is no list of objects`)
	}
	return records, nil
}

// describe names the first fields, never what they hold.
func (o object) describe() string {
	const most = 8
	if len(o) == 0 {
		return "an empty object"
	}
	names := slices.Sorted(maps.Keys(o))
	shown := make([]string, 0, most)
	for _, name := range names[:min(most, len(names))] {
		shown = append(shown, brief(name))
	}
	if len(names) > most {
		shown = append(shown, fmt.Sprintf("and %d more", len(names)-most))
	}
	return "an object with the fields " + strings.Join(shown, ", ")
}

// brief quotes s for an error, cut short.
func brief(s string) string {
	const most = 80 // bytes
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
