package gcsserver_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/dagbucket/dagbucket/internal/gcsserver"
)

// topic is as much of Pub/Sub as publishing needs.
type topic struct {
	pubsubpb.UnimplementedPublisherServer
	mu     sync.Mutex
	events map[string]int
	count  int
}

func (p *topic) Publish(_ context.Context, request *pubsubpb.PublishRequest) (*pubsubpb.PublishResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := &pubsubpb.PublishResponse{}
	for _, message := range request.Messages {
		a := message.Attributes
		p.events[a["eventType"]+" "+a["objectGeneration"]+" "+a["overwroteGeneration"]+a["overwrittenByGeneration"]]++
		p.count++
		answer.MessageIds = append(answer.MessageIds, strconv.Itoa(p.count))
	}
	return answer, nil
}

// TestPublishedEvents has the fake publish: it must not tell of the objects that are only put back into it and taken out again.
func TestPublishedEvents(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	published := &topic{events: map[string]int{}}
	broker := grpc.NewServer()
	pubsubpb.RegisterPublisherServer(broker, published)
	go func() { _ = broker.Serve(listener) }()
	t.Cleanup(broker.Stop)
	t.Setenv("PUBSUB_EMULATOR_HOST", listener.Addr().String())
	server, err := gcsserver.NewWithOptions(gcsserver.Options{Buckets: []string{"dags"}, Events: fakestorage.EventManagerOptions{
		ProjectID: "demo", TopicName: "dags", NotifyOn: fakestorage.EventNotificationOptions{Finalize: true, Delete: true, MetadataUpdate: true},
	}})
	require.NoError(t, err)
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	c := &client{t: t, base: web.URL}

	first := c.put("a", "one")
	second := c.put("a", "two")
	status, _, _ := c.do(http.MethodPatch, objectPath("a"), `{"metadata": {"owner": "me"}}`)
	require.Equal(t, http.StatusOK, status)
	status, _, _ = c.do(http.MethodDelete, objectPath("a"), "")
	require.Equal(t, http.StatusNoContent, status)
	want := map[string]int{
		"OBJECT_FINALIZE " + first + " ": 1, "OBJECT_DELETE " + first + " " + second: 1, "OBJECT_FINALIZE " + second + " " + first: 1,
		"OBJECT_METADATA_UPDATE " + second + " ": 1, "OBJECT_DELETE " + second + " ": 1,
	}
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		published.mu.Lock()
		defer published.mu.Unlock()
		assert.Equal(t, want, published.events)
	}, 10*time.Second, time.Millisecond)
}
