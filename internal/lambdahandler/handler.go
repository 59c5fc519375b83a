// Package lambdahandler is the Lambda function without its runtime: a payload in, what AWS expects out.
package lambdahandler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/event"
	"github.com/dagbucket/dagbucket/internal/service"
)

const (
	// margin is kept free at the end of an invocation, for reporting and cleaning up. Lambda sends no signal before it kills.
	margin = 10 * time.Second
	// A short invocation keeps one part of this many free instead, but leastMargin where that is not half of it.
	marginPart  = 5
	leastMargin = 5 * time.Second
)

// Handler serves invocations. The zero value is not usable; make one with New.
type Handler struct {
	wire func(context.Context) (*service.Service, error)
	log  *slog.Logger

	mu      sync.Mutex
	service *service.Service
}

// New returns a Handler that wires its service at the first invocation, and again at the next one if that failed: so a repaired
// configuration needs no new function.
func New(wire func(context.Context) (*service.Service, error), log *slog.Logger) *Handler {
	return &Handler{wire: wire, log: log}
}

// batchResponse tells SQS which messages must come again.
type batchResponse struct {
	BatchItemFailures []batchItemFailure `json:"batchItemFailures"`
}

type batchItemFailure struct {
	ItemIdentifier string `json:"itemIdentifier"`
}

// directResponse answers a payload that came outside a queue. Its lists of paths are cut at listLimit.
type directResponse struct {
	Results []deployer.Result `json:"results"`
}

// listLimit keeps an answer far below Lambda's limit of 6 MB; the counts are in the summary line.
const listLimit = 1000

func direct(results []deployer.Result) directResponse {
	if results == nil {
		results = []deployer.Result{} // prints as [], not null
	}
	for i := range results {
		r := &results[i]
		for _, list := range []*[]string{&r.Added, &r.Modified, &r.Removed} {
			*list = (*list)[:min(len(*list), listLimit)]
		}
		for _, list := range []*[]deployer.Note{&r.Kept, &r.LeftOut} {
			*list = (*list)[:min(len(*list), listLimit)]
		}
	}
	return directResponse{results}
}

// Handle runs what the payload asks for. For an SQS batch the answer is a partial batch response; otherwise it is the results,
// or an error if the payload should come again.
func (h *Handler) Handle(ctx context.Context, payload json.RawMessage) (any, error) {
	batch, err := event.Decode(payload)
	if err != nil {
		return nil, err
	}
	ctx, cancel := withMargin(ctx)
	defer cancel()
	report := h.handle(ctx, batch)
	if batch.Queue {
		return partial(batch, report), nil
	}
	if len(report.Failed) > 0 {
		return nil, directError(batch, report)
	}
	return direct(report.Results), nil
}

// withMargin ends the work before Lambda ends the process.
func withMargin(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(deadline)
	return context.WithDeadline(ctx, deadline.Add(-min(margin, max(left/marginPart, min(leastMargin, left/2)))))
}

func (h *Handler) handle(ctx context.Context, batch event.Batch) service.Report {
	s, err := h.wired(ctx)
	if err == nil {
		return s.Handle(ctx, batch)
	}
	result := deployer.Result{Outcome: deployer.Failed, Reason: "cannot set up, so no route was run: " + err.Error(), Err: err,
		Retryable: !deployer.Permanent(err)}
	h.log.LogAttrs(ctx, slog.LevelError, service.SummaryMessage, append(service.Summary(result, 0), Metrics(result)...)...)
	report := service.Report{Results: []deployer.Result{result}}
	for i, m := range batch.Messages {
		if m.Err != nil || result.Retryable {
			report.Failed = append(report.Failed, i)
		}
	}
	return report
}

func (h *Handler) wired(ctx context.Context) (*service.Service, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.service != nil {
		return h.service, nil
	}
	s, err := h.wire(ctx)
	if err == nil {
		h.service = s
	}
	return s, err
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
	var reasons []string
	for _, r := range report.Results {
		if r.Retryable {
			reasons = append(reasons, fmt.Sprintf("route %s: %s", r.Route, r.Reason))
		}
	}
	return errors.New(strings.Join(reasons, "; "))
}

// Metrics makes the summary line of a run an embedded-metric-format line as well: CloudWatch reads metrics off the log.
func Metrics(r deployer.Result) []slog.Attr {
	type metric struct {
		Name string
		Unit string
	}
	type directive struct {
		Namespace  string
		Dimensions [][]string
		Metrics    []metric
	}
	type metadata struct {
		Timestamp         int64 // milliseconds
		CloudWatchMetrics []directive
	}
	metrics := []metric{{"seconds", "Seconds"}, {"files", "Count"}, {"bytes", "Bytes"}, {"kept", "Count"}, {"leftOut", "Count"}}
	var attrs []slog.Attr
	for _, o := range []deployer.Outcome{deployer.Deployed, deployer.Unchanged, deployer.Covered, deployer.Held, deployer.Busy, deployer.Failed} {
		n := 0
		if r.Outcome == o {
			n = 1
		}
		attrs = append(attrs, slog.Int(string(o), n))
		metrics = append(metrics, metric{string(o), "Count"})
	}
	return append(attrs, slog.Any("_aws", metadata{
		Timestamp:         time.Now().UnixMilli(),
		CloudWatchMetrics: []directive{{"dagbucket", [][]string{{"route"}}, metrics}},
	}))
}
