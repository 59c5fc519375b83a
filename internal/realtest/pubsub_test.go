package realtest_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/gcsserver"
)

const (
	pubsubProject = "acme-data"
	topicName     = "projects/acme-data/topics/dags"
	subscription  = "projects/acme-data/subscriptions/dagbucket"
)

// startPubsub starts Pub/Sub's own stand-in, with a topic and a subscription to it. It keeps no push subscriptions.
func startPubsub(t *testing.T) *pubsub.Client {
	t.Helper()
	server := pstest.NewServer()
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	t.Setenv("PUBSUB_EMULATOR_HOST", server.Addr) // for the storage's client too
	client, err := pubsub.NewClient(t.Context(), pubsubProject)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	_, err = client.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: topicName})
	require.NoError(t, err)
	_, err = client.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: subscription, Topic: topicName})
	require.NoError(t, err)
	return client
}

// pushBody is a message as Pub/Sub pushes it (docs.cloud.google.com/pubsub/docs/push).
func pushBody(m *pubsub.Message) object {
	published := m.PublishTime.UTC().Format(time.RFC3339Nano)
	return object{"message": object{"attributes": m.Attributes, "data": base64.StdEncoding.EncodeToString(m.Data),
		"messageId": m.ID, "message_id": m.ID, "publishTime": published, "publish_time": published}, "subscription": subscription}
}

// push does what a push subscription does, until the test ends: whatever is not acknowledged by 200 comes again. It returns the
// events that were, such as "OBJECT_FINALIZE dags/a.py".
func (f *cloudFunction) push(client *pubsub.Client) <-chan string {
	acknowledged := make(chan string, 100)
	ctx, cancel := context.WithCancel(context.Background()) // the test's own ends too early for the last push
	ended := make(chan error, 1)
	go func() {
		ended <- client.Subscriber(subscription).Receive(ctx, func(ctx context.Context, m *pubsub.Message) {
			got, err := f.try(context.WithoutCancel(ctx), jsonRequest([]byte(text(pushBody(m)))))
			if err != nil || got.status != http.StatusOK {
				m.Nack()
				return
			}
			m.Ack()
			acknowledged <- m.Attributes["eventType"] + " " + m.Attributes["objectId"]
		})
	}()
	f.t.Cleanup(func() {
		cancel()
		require.NoError(f.t, <-ended)
	})
	return acknowledged
}

// TestCloudFunctionFollowsPubsub has an upload become a notification that Pub/Sub's client library publishes and receives, and nothing
// else wake the function.
func TestCloudFunctionFollowsPubsub(t *testing.T) {
	client := startPubsub(t)
	f := newCloudFunction(t, cloudOptions{storage: gcsserver.Options{Events: fakestorage.EventManagerOptions{
		ProjectID: pubsubProject, TopicName: "dags", Bucket: "acme-dags", NotifyOn: fakestorage.EventNotificationOptions{Finalize: true, Delete: true},
	}}})
	acknowledged := f.push(client)
	for _, step := range []struct {
		name  string
		event string
		do    func()
		live  map[string]string
	}{
		{"create", "OBJECT_FINALIZE " + oddName, func() { f.put(oddName, "first") }, map[string]string{oddName: "first"}},
		{"create another", "OBJECT_FINALIZE dags/b.py", func() { f.put("dags/b.py", "b") }, map[string]string{oddName: "first", "dags/b.py": "b"}},
		{"overwrite", "OBJECT_FINALIZE " + oddName, func() { f.put(oddName, "second") }, map[string]string{oddName: "second", "dags/b.py": "b"}},
		{"delete", "OBJECT_DELETE dags/b.py", func() { f.delete("dags/b.py") }, map[string]string{oddName: "second"}},
	} {
		step.do()
		for event := ""; event != step.event; {
			select {
			case event = <-acknowledged:
			case <-time.After(30 * time.Second):
				require.Fail(t, step.name+": no notification was acknowledged", "%s", f.Logs())
			}
		}
		require.Equal(t, step.live, f.live(), step.name)
	}
}
