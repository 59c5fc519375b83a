package doctor_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/functions/apiv2/functionspb"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/doctor"
	"github.com/dagbucket/dagbucket/internal/doctor/awsdoctor"
	"github.com/dagbucket/dagbucket/internal/doctor/gcpdoctor"
	"github.com/dagbucket/dagbucket/internal/gcpwire"
	"github.com/dagbucket/dagbucket/internal/gcsserver"
)

const (
	gcpConfig        = "gs://acme-state/dagbucket.yaml"
	gcpTopic         = "projects/acme/topics/dagbucket-events"
	gcpSubscription  = "projects/acme/subscriptions/dagbucket-events"
	gcpFunction      = "projects/acme/locations/europe-west1/functions/dagbucket"
	gcpAddress       = "https://dagbucket-abc123-ew.a.run.app"
	gcpNotifications = "/storage/v1/b/acme-dags/notificationConfigs"
)

// google is a healthy set-up on Google Cloud as infra/gcp makes it: Cloud Storage with the bucket's notifications, and Pub/Sub and Cloud
// Functions over gRPC, as far as doctor and a run ask them. Faults change its fields between calls.
type google struct {
	*setup
	pubsubpb.UnimplementedPublisherServer
	pubsubpb.UnimplementedSubscriberServer
	functionspb.UnimplementedFunctionServiceServer
	storage *gcsserver.Server

	mu            sync.Mutex
	refused       map[string]codes.Code // by permission
	says          string                // what Pub/Sub says of it, instead of naming the permission
	versions      bool                  // the source bucket keeps them
	notifications []object
	topics        []string
	subscriptions []*pubsubpb.Subscription
	functions     []*functionspb.Function
}

func healthyGoogle(t *testing.T) *google {
	storage, err := gcsserver.New("acme-dags", "acme-state")
	require.NoError(t, err)
	g := &google{setup: newSetup(t), storage: storage, refused: map[string]codes.Code{}}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", server.URL)
	t.Setenv("GOOGLE_API_GO_EXPERIMENTAL_ENABLE_NEW_AUTH_LIB", "")
	options := g.serve(server.URL)
	clients := gcpwire.New(g.getenv)
	g.buckets, g.secrets = clients.Buckets(), clients.Secrets()
	g.clouds = func() map[string]doctor.Cloud { return map[string]doctor.Cloud{"gs": gcpdoctor.New(g.getenv, options)} }
	g.place, g.env["DAGBUCKET_CONFIG"], g.env["TOKEN"] = gcpConfig, gcpConfig, g.token
	g.settings = settings{Source: "gs://acme-dags/dags/", State: "gs://acme-state/", Deployment: astrotest.DeploymentID, Token: "env:TOKEN", MaxWait: "3m"}
	g.wire()
	g.configure(g.settings.yaml())
	g.put("gs://acme-dags/dags/a.py", "a = 1")
	require.Equal(t, "deployed", string(g.sync().Outcome))
	return g
}

// serve starts Pub/Sub and Cloud Functions, and returns doctor's clients of them.
func (g *google) serve(storage string) *gcpdoctor.Options {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(g.t, err)
	server := grpc.NewServer()
	pubsubpb.RegisterPublisherServer(server, g)
	pubsubpb.RegisterSubscriberServer(server, g)
	functionspb.RegisterFunctionServiceServer(server, g)
	go func() { _ = server.Serve(listener) }()
	g.t.Cleanup(server.Stop)
	rpc := []option.ClientOption{option.WithEndpoint(listener.Addr().String()), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials()))}
	return &gcpdoctor.Options{
		Storage: []option.ClientOption{option.WithEndpoint(storage + "/storage/v1/"), option.WithoutAuthentication()}, PubSub: rpc, Functions: rpc,
	}
}

// wire makes everything from the bucket to the function as infra/gcp does.
func (g *google) wire() {
	g.notifications = []object{notification("1", gcpTopic, "dags/", "OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE")}
	g.topics = []string{gcpTopic}
	g.subscriptions = []*pubsubpb.Subscription{subscriptionOf(gcpSubscription, gcpTopic, gcpAddress)}
	g.functions = []*functionspb.Function{{Name: gcpFunction, State: functionspb.Function_ACTIVE, Url: "https://europe-west1-acme.cloudfunctions.net/dagbucket",
		ServiceConfig: &functionspb.ServiceConfig{Uri: gcpAddress, TimeoutSeconds: 540,
			EnvironmentVariables: map[string]string{"DAGBUCKET_CONFIG": gcpConfig, "CLOUD_RUN_TIMEOUT_SECONDS": "540"}}}}
}

// throughEventarc is the other way that infra/gcp has: a topic and a subscription for each kind of event.
func (g *google) throughEventarc() {
	g.notifications, g.topics, g.subscriptions = nil, nil, nil
	for i, kind := range []string{"OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE"} {
		name := "eventarc-europe-west1-dagbucket-" + strings.ToLower(kind)
		topic := "projects/acme/topics/" + name
		g.notifications = append(g.notifications, notification(string(rune('1'+i)), topic, "", kind))
		g.topics = append(g.topics, topic)
		s := subscriptionOf("projects/acme/subscriptions/"+name, topic, gcpAddress+"?__GCP_CloudEventsMode=GCS_NOTIFICATION")
		s.DeadLetterPolicy = nil
		g.subscriptions = append(g.subscriptions, s)
	}
}

func notification(id, topic, prefix string, kinds ...string) object {
	return object{"kind": "storage#notification", "id": id, "topic": "//pubsub.googleapis.com/" + topic, "event_types": kinds,
		"object_name_prefix": prefix, "payload_format": "JSON_API_V1"}
}

func subscriptionOf(name, topic, address string) *pubsubpb.Subscription {
	return &pubsubpb.Subscription{Name: name, Topic: topic, AckDeadlineSeconds: 600,
		PushConfig: &pubsubpb.PushConfig{PushEndpoint: address, AuthenticationMethod: &pubsubpb.PushConfig_OidcToken_{
			OidcToken: &pubsubpb.PushConfig_OidcToken{ServiceAccountEmail: "dagbucket-trigger@acme.iam.gserviceaccount.com"}}},
		RetryPolicy:      &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(30 * time.Second), MaximumBackoff: durationpb.New(10 * time.Minute)},
		DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: "projects/acme/topics/dagbucket-dead-letters", MaxDeliveryAttempts: 20}}
}

func (g *google) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	right := ""
	switch {
	case r.URL.Path == gcpNotifications:
		right = "storage.buckets.get"
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/b/acme-dags/o"):
		right = "storage.objects.list"
	case r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/upload/"):
		right = "storage.objects.create"
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case g.refused[right] != 0:
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(object{"error": object{"code": 403, "message": "ops@acme.example does not have " + right + " access", "errors": []object{{"reason": "forbidden"}}}})
	case r.URL.Path == gcpNotifications:
		_ = json.NewEncoder(w).Encode(object{"kind": "storage#notifications", "items": g.notifications})
	case g.versions && r.URL.Path == "/storage/v1/b/acme-dags":
		_ = json.NewEncoder(w).Encode(object{"kind": "storage#bucket", "name": "acme-dags", "versioning": object{"enabled": true}})
	default:
		w.Header().Del("Content-Type")
		g.storage.ServeHTTP(w, r)
	}
}

func (g *google) refusal(right string) error {
	if code := g.refused[right]; code != 0 && g.says != "" {
		return status.Error(code, g.says)
	} else if code != 0 {
		return status.Errorf(code, "User not authorized to perform this action (%s).", right)
	}
	return nil
}

func (g *google) ListTopicSubscriptions(_ context.Context, in *pubsubpb.ListTopicSubscriptionsRequest) (*pubsubpb.ListTopicSubscriptionsResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.refusal("pubsub.topics.get"); err != nil {
		return nil, err
	}
	if !slices.Contains(g.topics, in.Topic) {
		return nil, status.Errorf(codes.NotFound, "Resource not found (resource=%s).", in.Topic)
	}
	answer := &pubsubpb.ListTopicSubscriptionsResponse{}
	for _, s := range g.subscriptions {
		if s.Topic == in.Topic {
			answer.Subscriptions = append(answer.Subscriptions, s.Name)
		}
	}
	return answer, nil
}

func (g *google) GetSubscription(_ context.Context, in *pubsubpb.GetSubscriptionRequest) (*pubsubpb.Subscription, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.refusal("pubsub.subscriptions.get"); err != nil {
		return nil, err
	}
	for _, s := range g.subscriptions {
		if s.Name == in.Subscription {
			return s, nil
		}
	}
	return nil, status.Error(codes.NotFound, "Resource not found.")
}

func (g *google) ListFunctions(_ context.Context, in *functionspb.ListFunctionsRequest) (*functionspb.ListFunctionsResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.refusal("cloudfunctions.functions.list"); err != nil {
		return nil, err
	}
	answer := &functionspb.ListFunctionsResponse{}
	for _, f := range g.functions {
		if strings.HasPrefix(f.Name, strings.TrimSuffix(in.Parent, "-")) {
			answer.Functions = append(answer.Functions, f)
		}
	}
	return answer, nil
}

// TestGoogleFaults has every single fault of a set-up on Google Cloud that is not the same on AWS.
func TestGoogleFaults(t *testing.T) {
	rewire := func(g *google) { g.wire() }
	denied := func(right string) func(*google) {
		return func(g *google) { g.refused[right] = codes.PermissionDenied }
	}
	allowed := func(right string) func(*google) { return func(g *google) { delete(g.refused, right) } }
	reconfigure := func(source string) func(*google) {
		return func(g *google) { g.settings.Source = source; g.configure(g.settings.yaml()) }
	}
	sub := func(change func(*pubsubpb.Subscription)) func(*google) {
		return func(g *google) { change(g.subscriptions[0]) }
	}
	fn := func(change func(*functionspb.Function)) func(*google) {
		return func(g *google) { change(g.functions[0]) }
	}
	variable := func(name, value string) func(*google) {
		return fn(func(f *functionspb.Function) { f.ServiceConfig.EnvironmentVariables[name] = value })
	}
	const connect = "gcloud storage buckets notifications create gs://acme-dags"
	const push = "give " + gcpTopic + " a push subscription"
	runTable(t, []row[*google]{
		{"the source bucket does not exist", reconfigure("gs://acme-dag/dags/"), false, 1, "source", "no such bucket", "correct its name", reconfigure("gs://acme-dags/dags/")},
		{"the source may not be listed", denied("storage.objects.list"), false, 1, "source", "the service account needs", "list the source", allowed("storage.objects.list")},
		{"the state may not be written", denied("storage.objects.create"), false, 1, "state", "the service account needs", "write", allowed("storage.objects.create")},
		{"the bucket tells nobody", func(g *google) { g.notifications = nil }, false, 1, "notifications", "tells nobody", connect, rewire},
		{"the notification is for a part of the prefix", func(g *google) { g.notifications[0]["object_name_prefix"] = "dags/team/" }, false,
			1, "notifications", `is for "dags/team/" only`, "--object-prefix=dags/", rewire},
		{"the notification leaves deletions out", func(g *google) { g.notifications[0]["event_types"] = []string{"OBJECT_FINALIZE"} }, false,
			1, "notifications", "nobody is told of deletions", "OBJECT_DELETE", rewire},
		{"the bucket keeps versions, and the notification leaves their archiving out", func(g *google) {
			g.versions = true
			g.notifications[0]["event_types"] = []string{"OBJECT_FINALIZE", "OBJECT_DELETE"}
		}, false, 1, "notifications", "nobody is told of deletions", "OBJECT_ARCHIVE", rewire},
		{"Eventarc's trigger for new files is gone", func(g *google) { g.throughEventarc(); g.notifications = g.notifications[1:] }, false,
			1, "notifications", "nobody is told of new files", connect, func(g *google) { g.throughEventarc() }},
		{"Eventarc's subscription has its short deadline", func(g *google) { g.throughEventarc(); g.subscriptions[1].AckDeadlineSeconds = 10 }, false,
			2, "subscription", "waits 10s", "--ack-deadline=600", func(g *google) { g.throughEventarc() }},
		{"doctor may not look at the notifications", denied("storage.buckets.get"), false, 2, "notifications", "may not look", "allow storage.buckets.get", allowed("storage.buckets.get")},
		{"the project does not use Pub/Sub's API", func(g *google) {
			g.refused["pubsub.topics.get"], g.says = codes.PermissionDenied, "Cloud Pub/Sub API has not been used in project 1 before or it is disabled."
		}, false, 2, "subscription", "has not been used", "enable that API", func(g *google) { delete(g.refused, "pubsub.topics.get") }},
		{"the topic does not exist", func(g *google) { g.topics = nil }, false, 1, "subscription", "does not exist", "make the topic " + gcpTopic, rewire},
		{"the topic has no subscription", func(g *google) { g.subscriptions = nil }, false, 1, "subscription", "has no subscription", push, rewire},
		{"the subscription pushes nowhere", sub(func(s *pubsubpb.Subscription) { s.PushConfig = nil }), false, 1, "subscription", "pushes to no function", push, rewire},
		{"the subscription is detached", sub(func(s *pubsubpb.Subscription) { s.Detached = true }), false, 1, "subscription", "is detached", push, rewire},
		{"the subscription has a filter", sub(func(s *pubsubpb.Subscription) { s.Filter = `hasPrefix(attributes.objectId, "x")` }), false,
			2, "subscription", "has a filter", "without a filter", rewire},
		{"the acknowledgement deadline is too short", sub(func(s *pubsubpb.Subscription) { s.AckDeadlineSeconds = 60 }), false,
			2, "subscription", "waits 1m0s", "--ack-deadline=600", rewire},
		{"failed events come again at once", sub(func(s *pubsubpb.Subscription) { s.RetryPolicy = nil }), false, 2, "subscription", "again after 0s", "--min-retry-delay=30s", rewire},
		{"pushes have no token", sub(func(s *pubsubpb.Subscription) { s.PushConfig.AuthenticationMethod = nil }), false,
			2, "subscription", "without a token", "--push-auth-service-account", rewire},
		{"there is no dead-letter topic", sub(func(s *pubsubpb.Subscription) { s.DeadLetterPolicy = nil }), false, 2, "subscription", "no dead-letter topic", "--dead-letter-topic", rewire},
		{"the subscription pushes to a former address", sub(func(s *pubsubpb.Subscription) { s.PushConfig.PushEndpoint = "https://dagbucket-old-ew.a.run.app" }), false,
			1, "function", "where the project acme has no function", "--push-endpoint=", rewire},
		{"the function's build failed", fn(func(f *functionspb.Function) {
			f.State, f.StateMessages = functionspb.Function_FAILED, []*functionspb.StateMessage{{Message: "Build failed: exit status 1"}}
		}), false, 1, "function", "FAILED; Build failed", "deploy the function again", rewire},
		{"the function reads another configuration", variable("DAGBUCKET_CONFIG", "gs://old/dagbucket.yaml"), false,
			1, "function", "it reads gs://old/dagbucket.yaml", "DAGBUCKET_CONFIG=gs://old/dagbucket.yaml", rewire},
		{"the function has no configuration", variable("DAGBUCKET_CONFIG", ""), false, 1, "function", "DAGBUCKET_CONFIG is not set", "set DAGBUCKET_CONFIG of the function", rewire},
		{"the function's time-out is too short", fn(func(f *functionspb.Function) {
			f.ServiceConfig.TimeoutSeconds, f.ServiceConfig.EnvironmentVariables["CLOUD_RUN_TIMEOUT_SECONDS"] = 60, "60"
		}), false, 2, "function", "the time-out of dagbucket is 1m0s", "at least 300 s", rewire},
		{"the function does not know its time-out", variable("CLOUD_RUN_TIMEOUT_SECONDS", ""), false,
			2, "function", "CLOUD_RUN_TIMEOUT_SECONDS is (not set)", "CLOUD_RUN_TIMEOUT_SECONDS to 540", rewire},
		{"the functions may not be listed", denied("cloudfunctions.functions.list"), false, 2, "function", "may not look", "allow cloudfunctions.functions.list",
			allowed("cloudfunctions.functions.list")},
	}, healthyGoogle)
}

// TestGoogleThroughEventarc is the other way that infra/gcp has.
func TestGoogleThroughEventarc(t *testing.T) {
	g := healthyGoogle(t)
	g.throughEventarc()
	report := g.diagnose(false)
	requireWell(t, report)
	require.Contains(t, textOf(report), "eventarc-europe-west1-dagbucket-object_delete pushes to dagbucket-abc123-ew.a.run.app")
	t.Log(textOf(report))
}

// TestGoogleTellsOfEverything has a notification without a list of events, which is for all of them.
func TestGoogleTellsOfEverything(t *testing.T) {
	g := healthyGoogle(t)
	delete(g.notifications[0], "event_types")
	requireWell(t, g.diagnose(false))
}

// TestGoogleRights sees that each refusal alone is a warning that names the right.
func TestGoogleRights(t *testing.T) {
	for _, right := range gcpdoctor.Rights {
		t.Run(right, func(t *testing.T) {
			g := healthyGoogle(t)
			g.refused[right] = codes.PermissionDenied
			requireRefusal(t, g.diagnose(false), right)
		})
	}
}

// TestGoogleStandIn has no Google beside the storage.
func TestGoogleStandIn(t *testing.T) {
	g := healthyGoogle(t)
	g.clouds = func() map[string]doctor.Cloud { return map[string]doctor.Cloud{"gs": gcpdoctor.New(g.getenv, nil)} }
	report := g.diagnose(false)
	requireWell(t, report)
	require.Equal(t, doctor.Skipped, statuses(report.Routes[0].Checks)["notifications"])
}

// TestGoogleAddresses has a function called by its older address, which it shares with all others of its region but for the path.
func TestGoogleAddresses(t *testing.T) {
	g := healthyGoogle(t)
	address := &g.subscriptions[0].PushConfig.PushEndpoint
	*address = "https://europe-west1-acme.cloudfunctions.net/dagbucket/"
	requireWell(t, g.diagnose(false))
	*address = "https://europe-west1-acme.cloudfunctions.net/other"
	report := g.diagnose(false)
	require.Equal(t, "function", report.First.Name)
	require.Equal(t, 1, report.ExitCode())
}

// TestReadmeNamesTheRights: who gives doctor rights reads them there.
func TestReadmeNamesTheRights(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	for _, right := range slices.Concat(awsdoctor.Rights, gcpdoctor.Rights) {
		require.Contains(t, string(readme), "`"+right+"`")
	}
}
