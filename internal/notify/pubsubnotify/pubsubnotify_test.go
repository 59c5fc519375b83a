package pubsubnotify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"github.com/cenkalti/backoff/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/dagbucket/dagbucket/internal/notify"
	"github.com/dagbucket/dagbucket/internal/notify/notifytest"
	"github.com/dagbucket/dagbucket/internal/state"
)

const topic = "projects/acme/topics/dags"

func patience() notify.Patience {
	return notify.Patience{Tries: 3, Pauses: func() backoff.BackOff { return &backoff.ZeroBackOff{} },
		Sleep: func(context.Context, time.Duration) error { return nil }}
}

// newServer is Google's own fake of Pub/Sub, which speaks gRPC, behind the mapping of its methods to REST that Google's front ends apply:
// protobuf's JSON, strictly, and errors as https://cloud.google.com/apis/design/errors has them.
func newServer(t *testing.T) (*pstest.Server, *httptest.Server) {
	server := pstest.NewServer()
	t.Cleanup(func() { _ = server.Close() })
	conn, err := grpc.NewClient(server.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	client := pubsubpb.NewPublisherClient(conn)
	_, err = client.CreateTopic(t.Context(), &pubsubpb.Topic{Name: topic})
	require.NoError(t, err)
	rest := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, method, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), ":")
		content, _ := io.ReadAll(r.Body)
		in := &pubsubpb.PublishRequest{}
		err := protojson.Unmarshal(content, in)
		var out *pubsubpb.PublishResponse
		switch {
		case r.Method != http.MethodPost || method != "publish":
			err = status.Error(codes.NotFound, "no such method")
		case err != nil:
			err = status.Error(codes.InvalidArgument, "Invalid JSON payload received.")
		default:
			in.Topic = name
			out, err = client.Publish(r.Context(), in)
		}
		answer(w, out, err)
	}))
	t.Cleanup(rest.Close)
	return server, rest
}

func answer(w http.ResponseWriter, out *pubsubpb.PublishResponse, err error) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	if err == nil {
		content, _ := protojson.Marshal(out)
		_, _ = w.Write(content)
		return
	}
	code := map[codes.Code]int{codes.NotFound: 404, codes.InvalidArgument: 400}[status.Code(err)]
	_, _ = io.WriteString(w, refusal(w, max(code, 400), status.Code(err).String(), status.Convert(err).Message()))
}

func refusal(w http.ResponseWriter, code int, word, message string) string {
	w.WriteHeader(code)
	return fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q,"details":[{"reason":"SECRET"}]}}`, code, message, word)
}

func TestEachKindIsPublished(t *testing.T) {
	server, rest := newServer(t)
	send := New(Options{Emulator: strings.TrimPrefix(rest.URL, "http://")})(topic)
	for kind, n := range notifytest.Notices() {
		server.ClearMessages()
		require.NoError(t, send(t.Context(), n))
		require.Len(t, server.Messages(), 1, kind)
		got := server.Messages()[0]
		require.Equal(t, map[string]string{"id": n.ID, "kind": kind, "route": "prod"}, got.Attributes)
		require.Equal(t, string(notify.Body(n)), string(got.Data))
		var body map[string]any
		require.NoError(t, json.Unmarshal(got.Data, &body))
		require.Equal(t, notify.Text(n), body["text"])
	}
}

func TestATopicThatIsNotThere(t *testing.T) {
	_, rest := newServer(t)
	send := New(Options{Emulator: strings.TrimPrefix(rest.URL, "http://")})("projects/acme/topics/none")
	err := send(t.Context(), notifytest.Notices()[state.NoticeHeld])
	require.ErrorContains(t, err, "there is no such topic: correct its name, or make it: Google answered 404 topic")
	require.True(t, isPermanent(err))
}

func isPermanent(err error) bool {
	var permanent interface{ Permanent() bool }
	return errors.As(err, &permanent) && permanent.Permanent()
}

// fakeGoogle answers in turn, the last answer for ever, to requests with an access token.
func fakeGoogle(t *testing.T, answers ...http.HandlerFunc) (notify.Send, *atomic.Int64) {
	requests := new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/"+topic+":publish" || r.Header.Get("Authorization") != "Bearer TOKEN" {
			t.Errorf("asked %s as %q", r.URL.Path, r.Header.Get("Authorization"))
		}
		answers[min(int(requests.Add(1)), len(answers))-1](w, r)
	}))
	t.Cleanup(server.Close)
	credentials := auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: token{}})
	p := &publisher{Options: Options{Patience: patience()}, as: []option.ClientOption{option.WithEndpoint(server.URL), option.WithAuthCredentials(credentials)}}
	return p.topic(topic), requests
}

type token struct{}

func (token) Token(context.Context) (*auth.Token, error) {
	return &auth.Token{Value: "TOKEN", Type: "Bearer", Expiry: time.Now().Add(time.Hour)}, nil
}

func refuses(code int, word, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, refusal(w, code, word, message))
	}
}

func accepts(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"messageIds":["1"]}`)
}

func cuts(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answers   []http.HandlerFunc
		want      string
		permanent bool
		requests  int64
	}{
		"accepted": {[]http.HandlerFunc{accepts}, "", false, 1},
		"denied": {[]http.HandlerFunc{refuses(403, "PERMISSION_DENIED", "User not authorized to perform this action.")},
			"access is denied: allow roles/pubsub.publisher on the topic to this function's service account", true, 1},
		"unknown":      {[]http.HandlerFunc{refuses(401, "UNAUTHENTICATED", "Invalid credentials.")}, "Google does not accept the credentials: ", true, 1},
		"not accepted": {[]http.HandlerFunc{refuses(400, "INVALID_ARGUMENT", "Message failed schema validation.")}, "Pub/Sub does not accept the notice: ", true, 1},
		"busy once":    {[]http.HandlerFunc{refuses(429, "RESOURCE_EXHAUSTED", "Quota exceeded."), accepts}, "", false, 2},
		"down":         {[]http.HandlerFunc{refuses(503, "UNAVAILABLE", "Not now.")}, "Pub/Sub did not take it: Google answered 503 Not now. (tried 3 times)", false, 3},
		"cut once":     {[]http.HandlerFunc{cuts, accepts}, "", false, 2},
		"cut":          {[]http.HandlerFunc{cuts}, "Pub/Sub could not be asked: the connection broke (tried 3 times)", false, 3},
		"not Google": {[]http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>SECRET") }},
			"its answer broke off or cannot be understood", false, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			send, requests := fakeGoogle(t, c.answers...)
			err := send(t.Context(), notifytest.Notices()[state.NoticeHeld])
			require.Equal(t, c.requests, requests.Load())
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "SECRET")
			require.NotContains(t, err.Error(), "TOKEN")
			require.NotContains(t, err.Error(), "\n")
			require.Equal(t, c.permanent, isPermanent(err))
		})
	}
}

func TestPubSubThatHangs(t *testing.T) {
	stop := make(chan struct{})
	send, requests := fakeGoogle(t, func(http.ResponseWriter, *http.Request) { <-stop })
	defer close(stop)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("not within 10s"))
	defer cancel()
	require.EqualError(t, send(ctx, notifytest.Notices()[state.NoticeHeld]), "Pub/Sub could not be asked: not within 10s")
	require.EqualValues(t, 1, requests.Load())
}

func TestWithoutCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", t.TempDir()+"/none.json")
	err := New(Options{Patience: patience()})(topic)(t.Context(), notifytest.Notices()[state.NoticeHeld])
	require.ErrorContains(t, err, "there are no usable Google credentials: run gcloud auth application-default login")
	require.True(t, isPermanent(err))
}
