// Package eventsource simulates what AWS puts between a bucket and a Lambda function: an SQS queue with its dead-letter queue, the event
// source mapping that makes invocations of messages, a schedule, and the function's execution environments, which are real
// processes (lambdaruntime).
//
// It differs from AWS in this: no message is lost or doubled by the queue itself (send it twice), an invocation never waits for
// capacity longer than the environments are busy, and the number of pollers is the number of environments.
package eventsource

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// QueueOptions are the settings of a queue and of its redrive policy.
type QueueOptions struct {
	Name        string
	Visibility  time.Duration // for which a received message is hidden; AWS wants at least the function's time-out
	MaxReceives int           // a message that was received this often goes to the dead-letter queue
	Seed        uint64        // of the order in which messages are received
}

// Message is a message as it was received or is dead.
type Message struct {
	ID, Body string
	Receives int
	Sent     time.Time
	First    time.Time // when it was received first
}

type message struct {
	Message
	visible time.Time // from then on it can be received
}

// Queue is a standard queue: messages are received in no order. Its methods may be called concurrently.
type Queue struct {
	options QueueOptions

	mu       sync.Mutex
	random   *rand.Rand
	messages []*message
	dead     []Message
	sent     int
	most     int // receives of one message
}

// NewQueue returns an empty queue.
func NewQueue(o QueueOptions) *Queue {
	return &Queue{options: o, random: rand.New(rand.NewPCG(o.Seed, 0))}
}

// Send puts a message into the queue, which can be received after delay.
func (q *Queue) Send(body string, delay time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent++
	now := time.Now()
	id := fmt.Sprintf("%s-%06d", q.options.Name, q.sent)
	q.messages = append(q.messages, &message{Message: Message{ID: id, Body: body, Sent: now}, visible: now.Add(delay)})
}

// Receive hides up to limit messages for the visibility time-out and returns them. Those that were received too often go to the
// dead-letter queue.
func (q *Queue) Receive(limit int) []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.random.Shuffle(len(q.messages), func(i, j int) { q.messages[i], q.messages[j] = q.messages[j], q.messages[i] })
	var received []Message
	var rest []*message
	for _, m := range q.messages {
		ready := !now.Before(m.visible) && len(received) < limit
		if ready && m.Receives >= q.options.MaxReceives {
			q.dead = append(q.dead, m.Message)
			continue
		}
		rest = append(rest, m)
		if !ready {
			continue
		}
		if m.Receives++; m.Receives == 1 {
			m.First = now
		}
		q.most = max(q.most, m.Receives)
		m.visible = now.Add(q.options.Visibility)
		received = append(received, m.Message)
	}
	q.messages = rest
	return received
}

// ready counts the messages that can be received, and tells since when the first of them can.
func (q *Queue) ready() (count int, since time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, m := range q.messages {
		if now.Before(m.visible) {
			continue
		}
		if count++; count == 1 || m.visible.Before(since) {
			since = m.visible
		}
	}
	return count, since
}

// Delete removes messages.
func (q *Queue) Delete(messages []Message) {
	gone := map[string]bool{}
	for _, m := range messages {
		gone[m.ID] = true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var rest []*message
	for _, m := range q.messages {
		if !gone[m.ID] {
			rest = append(rest, m)
		}
	}
	q.messages = rest
}

// Len is the number of messages, hidden ones included.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages)
}

// Sent is the number of messages that were ever sent.
func (q *Queue) Sent() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sent
}

// MostReceives is how often one message was received at most.
func (q *Queue) MostReceives() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.most
}

// DeadLetters are the messages that were given up.
func (q *Queue) DeadLetters() []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]Message{}, q.dead...)
}

// record is a message as the function gets it.
func (q *Queue) record(m Message) map[string]any {
	millis := func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
	sum := md5.Sum([]byte(m.Body))
	return map[string]any{
		"messageId": m.ID, "receiptHandle": fmt.Sprintf("%s/%d", m.ID, m.Receives), "body": m.Body,
		"attributes": map[string]string{
			"ApproximateReceiveCount": strconv.Itoa(m.Receives), "SentTimestamp": millis(m.Sent),
			"SenderId": "AIDAIENQZJOLO23YVJ4VO", "ApproximateFirstReceiveTimestamp": millis(m.First),
		},
		"messageAttributes": map[string]any{}, "md5OfBody": hex.EncodeToString(sum[:]), "eventSource": "aws:sqs",
		"eventSourceARN": "arn:aws:sqs:us-east-1:111122223333:" + q.options.Name, "awsRegion": "us-east-1",
	}
}
