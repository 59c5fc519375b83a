package lambdahandler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/lambdahandler"
	"github.com/dagbucket/dagbucket/internal/service"
)

const queued = `{"Records":[{"messageId":"1","eventSource":"aws:sqs","body":"{}"},{"messageId":"2","eventSource":"aws:sqs","body":"nonsense"}]}`

// handler fails to wire with err.
func handler(err error) *lambdahandler.Handler {
	return lambdahandler.New(func(context.Context) (*service.Service, error) { return nil, err }, "dagbucket", slog.New(slog.DiscardHandler))
}

func TestWiringThatMayPassComesAgain(t *testing.T) {
	passing := errors.New("the network is down")
	answer, err := handler(passing).Handle(t.Context(), json.RawMessage(queued))
	require.NoError(t, err)
	requireJSON(t, `{"batchItemFailures":[{"itemIdentifier":"1"},{"itemIdentifier":"2"}]}`, answer)
	_, err = handler(passing).Handle(t.Context(), json.RawMessage(`{}`))
	require.ErrorContains(t, err, "the network is down")
}

func TestWiringThatWillNotPassIsAcknowledged(t *testing.T) {
	permanent := &deployer.PermanentError{Err: errors.New("routes[0].deployment: missing")}
	answer, err := handler(permanent).Handle(t.Context(), json.RawMessage(queued))
	require.NoError(t, err)
	requireJSON(t, `{"batchItemFailures":[{"itemIdentifier":"2"}]}`, answer)
	answer, err = handler(permanent).Handle(t.Context(), json.RawMessage(`{}`))
	require.NoError(t, err)
	encoded, err := json.Marshal(answer)
	require.NoError(t, err)
	require.Contains(t, string(encoded), "routes[0].deployment: missing")
}

func TestWiringThatFailsIsAMetricToo(t *testing.T) {
	var log bytes.Buffer
	h := lambdahandler.New(func(context.Context) (*service.Service, error) { return nil, errors.New("no configuration") }, "dagbucket",
		slog.New(slog.NewJSONHandler(&log, nil)))
	_, err := h.Handle(t.Context(), json.RawMessage(`{}`))
	require.Error(t, err)
	var line map[string]any
	require.NoError(t, json.Unmarshal(log.Bytes(), &line), "one line")
	require.Equal(t, "failed", line["outcome"])
	require.Equal(t, 1.0, line["failed"])
	directives := line["_aws"].(map[string]any)["CloudWatchMetrics"].([]any)
	require.Len(t, directives, 1, "there is no route to count for")
	for _, m := range directives[0].(map[string]any)["Metrics"].([]any) {
		require.Contains(t, line, m.(map[string]any)["Name"], "every metric has its value in the line")
	}
}

func TestSucceeded(t *testing.T) {
	for outcome, want := range map[deployer.Outcome]int64{
		deployer.Deployed: 1, deployer.Unchanged: 1, deployer.Covered: 0, deployer.Held: 0, deployer.Busy: 0, deployer.Failed: 0,
	} {
		for _, a := range lambdahandler.Metrics("dagbucket")(deployer.Result{Route: "prod", Outcome: outcome}) {
			if a.Key == "succeeded" {
				require.Equal(t, want, a.Value.Int64(), outcome)
			}
		}
	}
}

func TestNoJSONIsAnError(t *testing.T) {
	_, err := handler(nil).Handle(t.Context(), json.RawMessage(`nonsense`))
	require.Error(t, err)
}

func TestMargin(t *testing.T) {
	for name, c := range map[string]struct{ given, left time.Duration }{
		"long":       {15 * time.Minute, 15*time.Minute - 10*time.Second},
		"short":      {30 * time.Second, 24 * time.Second},
		"very short": {10 * time.Second, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.given)
				defer cancel()
				var left time.Duration
				h := lambdahandler.New(func(ctx context.Context) (*service.Service, error) {
					deadline, ok := ctx.Deadline()
					require.True(t, ok)
					left = time.Until(deadline)
					return nil, errors.New("enough")
				}, "dagbucket", slog.New(slog.DiscardHandler))
				_, err := h.Handle(ctx, json.RawMessage(`{}`))
				require.Error(t, err)
				require.Equal(t, c.left, left)
			})
		})
	}
}

func requireJSON(t *testing.T, want string, got any) {
	t.Helper()
	encoded, err := json.Marshal(got)
	require.NoError(t, err)
	require.JSONEq(t, want, string(encoded))
}
