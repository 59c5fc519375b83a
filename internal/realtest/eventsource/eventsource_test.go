package eventsource

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/realtest/lambdaruntime"
)

const visibility = 30 * time.Second

func newQueue(messages int) *Queue {
	q := NewQueue(QueueOptions{Name: "dags", Visibility: visibility, MaxReceives: 3, Seed: 1})
	for i := range messages {
		q.Send(fmt.Sprint("body ", i), 0)
	}
	return q
}

func bodies(messages []Message) []string {
	var list []string
	for _, m := range messages {
		list = append(list, m.Body)
	}
	return list
}

func TestReceivedMessagesAreHiddenUntilTheirTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(3)
		require.Len(t, q.Receive(2), 2)
		rest := q.Receive(10)
		require.Len(t, rest, 1)
		q.Delete(rest)
		require.Empty(t, q.Receive(10))
		time.Sleep(visibility)
		again := q.Receive(10)
		require.Len(t, again, 2, "what was deleted does not come again")
		require.Equal(t, 2, again[0].Receives)
		require.Equal(t, "2", q.record(again[0])["attributes"].(map[string]string)["ApproximateReceiveCount"])
		require.Equal(t, 2, q.Len())
	})
}

func TestMessagesComeInNoOrder(t *testing.T) {
	var sent []string
	for i := range 20 {
		sent = append(sent, fmt.Sprint("body ", i))
	}
	received := bodies(newQueue(20).Receive(20))
	require.ElementsMatch(t, sent, received)
	require.NotEqual(t, sent, received)
}

func TestDelayedMessagesComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(0)
		q.Send("late", time.Second)
		require.Empty(t, q.Receive(10))
		time.Sleep(time.Second)
		require.Equal(t, []string{"late"}, bodies(q.Receive(10)))
	})
}

func TestMessagesDieOfTooManyReceives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		for range 3 {
			require.Len(t, q.Receive(1), 1)
			require.Empty(t, q.DeadLetters())
			time.Sleep(visibility)
		}
		require.Empty(t, q.Receive(1))
		require.Equal(t, []string{"body 0"}, bodies(q.DeadLetters()))
		require.Zero(t, q.Len())
	})
}

func TestABatchIsDueWhenItIsFullOrHasWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := MappingOptions{Window: 2 * time.Second, MaxBatch: 3}
		q := newQueue(2)
		require.False(t, q.due(o))
		q.Send("the third", 0)
		require.True(t, q.due(o), "it is full")
		q.Delete(q.Receive(1))
		require.False(t, q.due(o))
		time.Sleep(o.Window)
		require.True(t, q.due(o), "it has waited")
	})
}

func TestWhatAnAnswerLetsBeDeleted(t *testing.T) {
	batch := []Message{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	for name, c := range map[string]struct {
		result lambdaruntime.Result
		want   []string
	}{
		"all":                 {lambdaruntime.Result{Response: []byte(`{"batchItemFailures":[]}`)}, []string{"a", "b", "c"}},
		"null":                {lambdaruntime.Result{Response: []byte(`null`)}, []string{"a", "b", "c"}},
		"one failed":          {lambdaruntime.Result{Response: []byte(`{"batchItemFailures":[{"itemIdentifier":"b"}]}`)}, []string{"a", "c"}},
		"unknown":             {lambdaruntime.Result{Response: []byte(`{"batchItemFailures":[{"itemIdentifier":"x"}]}`)}, nil},
		"empty identifier":    {lambdaruntime.Result{Response: []byte(`{"batchItemFailures":[{"itemIdentifier":""}]}`)}, nil},
		"not understood":      {lambdaruntime.Result{Response: []byte(`"well"`)}, nil},
		"an error":            {lambdaruntime.Result{Response: []byte(`{}`), FunctionError: "{}"}, nil},
		"killed or timed out": {lambdaruntime.Result{FunctionError: "{}", Crashed: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var ids []string
			for _, m := range succeeded(batch, Invocation{Result: c.result}) {
				ids = append(ids, m.ID)
			}
			require.Equal(t, c.want, ids)
		})
	}
}

func TestScheduledEvent(t *testing.T) {
	var event struct {
		DetailType string `json:"detail-type"`
		Time       time.Time
	}
	at := time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)
	require.NoError(t, json.Unmarshal(ScheduledEvent(at), &event))
	require.Equal(t, "Scheduled Event", event.DetailType)
	require.Equal(t, at, event.Time)
}
