// Package event reads what a cloud delivers when something happened: every envelope of the design, alone, in batches
// and nested, becomes a list of messages with their events. An event is a hint that something changed, never the
// truth about what the bucket holds.
package event

import "time"

// Kind is what an event tells.
type Kind string

const (
	Created  Kind = "created"  // an object was written
	Removed  Kind = "removed"  // an object, or one version of it, was removed
	Restored Kind = "restored" // an archived object can be read again
	Schedule Kind = "schedule" // the periodic reconcile: every route is due
	Manual   Kind = "manual"   // a person asks for a run: of Route, or of every route
	Test     Kind = "test"     // a storage says that its notifications work; nothing is due
)

// Event is one hint.
type Event struct {
	Kind    Kind
	Scheme  string    // "s3" or "gs" for Created, Removed and Restored, else ""
	Bucket  string    // bucket name
	Key     string    // decoded: as a listing would show it
	Version string    // version ID or generation, "" if the event has none; never compared with bucket.Object.Version
	Time    time.Time // by the storage's clock, UTC, never before the change; zero if the event has none
	Route   string    // Manual: the route's name, "" for all
}

// Message is what is acknowledged or comes again as a whole.
type Message struct {
	ID     string  // SQS message ID; "" outside a queue
	Events []Event // may be empty without an error: nothing is due
	Err    error   // it could not be decoded, now or ever; Events is empty then
}

// Batch is one invocation's payload.
type Batch struct {
	// Queue is true for an SQS batch: its messages are acknowledged one by one. Otherwise there is one message,
	// and it fails by failing the invocation.
	Queue    bool
	Messages []Message
}
