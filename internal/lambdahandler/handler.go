// Package lambdahandler is the Lambda function without its runtime: a payload in, what AWS expects out.
package lambdahandler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/event"
	"github.com/dagbucket/dagbucket/internal/service"
)

// Handler serves invocations. The zero value is not usable; make one with New.
type Handler struct{ entry *service.Entry }

// New returns a Handler of the service that wire makes. Metrics of a set-up that failed are those of function, by its name.
func New(wire func(context.Context) (*service.Service, error), function string, log *slog.Logger) *Handler {
	return &Handler{&service.Entry{Wire: wire, SummaryAttrs: Metrics(function), Log: log}}
}

// batchResponse tells SQS which messages must come again.
type batchResponse struct {
	BatchItemFailures []batchItemFailure `json:"batchItemFailures"`
}

type batchItemFailure struct {
	ItemIdentifier string `json:"itemIdentifier"`
}

// Handle runs what the payload asks for. For an SQS batch the answer is a partial batch response; otherwise it is the results,
// or an error if the payload should come again.
func (h *Handler) Handle(ctx context.Context, payload json.RawMessage) (any, error) {
	batch, err := event.Decode(payload)
	if err != nil {
		return nil, err
	}
	ctx, cancel := service.WithMargin(ctx)
	defer cancel()
	report := h.entry.Handle(ctx, batch)
	if batch.Queue {
		return partial(batch, report), nil
	}
	if len(report.Failed) > 0 {
		return nil, directError(batch, report)
	}
	return report.Answer(), nil
}

func partial(batch event.Batch, report service.Report) batchResponse {
	response := batchResponse{BatchItemFailures: []batchItemFailure{}}
	for _, i := range report.Failed {
		response.BatchItemFailures = append(response.BatchItemFailures, batchItemFailure{batch.Messages[i].ID})
	}
	return response
}

func directError(batch event.Batch, report service.Report) error {
	for _, m := range batch.Messages {
		if m.Err != nil {
			return fmt.Errorf("cannot decode the event: %w", m.Err)
		}
	}
	return errors.New(strings.Join(report.Retryable(), "; "))
}

// Metrics makes the summary line of a run an embedded-metric-format line as well: CloudWatch reads metrics off the log. Since each
// metric of each set of dimensions is paid for, for each hour in which it has a value, only one is kept per route, the alarm for a route that
// no longer succeeds, and what did not happen has none. function is the function's name.
func Metrics(function string) func(deployer.Result) []slog.Attr {
	return func(r deployer.Result) []slog.Attr { return metrics(function, r) }
}

// The members of the format are those of its specification: "Specification: Embedded metric format" in the CloudWatch user guide.
type (
	metric struct {
		Name string // of a member of the line
		Unit string
	}
	directive struct {
		Namespace  string
		Dimensions [][]string
		Metrics    []metric
	}
	metadata struct {
		Timestamp         int64 // milliseconds
		CloudWatchMetrics []directive
	}
)

var outcomes = []deployer.Outcome{deployer.Deployed, deployer.Unchanged, deployer.Covered, deployer.Held, deployer.Busy, deployer.Failed}

func metrics(function string, r deployer.Result) []slog.Attr {
	var attrs []slog.Attr
	perFunction := ofRun(r)
	for _, o := range outcomes {
		attrs = append(attrs, slog.Int(string(o), count(r.Outcome == o)))
		perFunction = append(perFunction, metric{string(o), "Count"})
	}
	directives := []directive{{"dagbucket", [][]string{{"function"}}, perFunction}}
	if r.Route != "" { // CloudWatch refuses an empty dimension
		directives = append(directives, directive{"dagbucket", [][]string{{"function", "route"}}, []metric{{"succeeded", "Count"}}})
	}
	return append(attrs,
		slog.Int("succeeded", count(r.Outcome == deployer.Deployed || r.Outcome == deployer.Unchanged)),
		slog.String("function", function),
		slog.Any("_aws", metadata{time.Now().UnixMilli(), directives}))
}

// lineOnly are the kinds of requests that the line tells, and no metric: each one would be paid for.
var lineOnly = []string{"astro", "sourceGet"}

// ofRun are the metrics among the fields of service.Summary.
func ofRun(r deployer.Result) []metric {
	found := []metric{{"seconds", "Seconds"}, {"kept", "Count"}, {"leftOut", "Count"}}
	if r.Outcome != deployer.Covered && r.Outcome != deployer.Busy && r.Route != "" { // else nobody looked
		found = append(found, metric{"notLiveAge", "Seconds"})
	}
	if r.Files > 0 {
		found = append(found, metric{"files", "Count"}, metric{"bytes", "Bytes"})
	}
	for _, step := range slices.Sorted(maps.Keys(r.Seconds)) {
		found = append(found, metric{service.StepField(step), "Seconds"})
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Requests)) {
		if r.Requests[kind] > 0 && !slices.Contains(lineOnly, kind) {
			found = append(found, metric{service.RequestField(kind), "Count"})
		}
	}
	return found
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}
