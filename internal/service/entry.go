package service

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/event"
)

// Entry is the service of a cloud function. It is wired at the first invocation, and again at the next one if that failed: so a repaired
// configuration needs no new function.
type Entry struct {
	// Wire makes the service.
	Wire func(context.Context) (*Service, error)
	// SummaryAttrs, if set, adds attributes to the line that tells of a set-up that failed, as Deps.SummaryAttrs does for a run's.
	SummaryAttrs func(deployer.Result) []slog.Attr
	Log          *slog.Logger

	mu      sync.Mutex
	service *Service
}

// Handle is the service's Handle. A set-up that fails for good is an outcome as well: the good messages are acknowledged, and the schedule
// tries again.
func (e *Entry) Handle(ctx context.Context, batch event.Batch) Report {
	s, err := e.wired(ctx)
	if err == nil {
		return s.Handle(ctx, batch)
	}
	result := deployer.Result{Outcome: deployer.Failed, Reason: "cannot set up, so no route was run: " + err.Error(), Err: err,
		Retryable: !deployer.Permanent(err)}
	attrs := Summary(result, 0)
	if e.SummaryAttrs != nil {
		attrs = append(attrs, e.SummaryAttrs(result)...)
	}
	e.Log.LogAttrs(ctx, slog.LevelError, SummaryMessage, attrs...)
	report := Report{Results: []deployer.Result{result}}
	for i, m := range batch.Messages {
		if m.Err != nil || result.Retryable {
			report.Failed = append(report.Failed, i)
		}
	}
	return report
}

func (e *Entry) wired(ctx context.Context) (*Service, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.service != nil {
		return e.service, nil
	}
	s, err := e.Wire(ctx)
	if err == nil {
		e.service = s
	}
	return s, err
}

// Answer is what a function answers to who called it by hand. Its lists of paths are cut: the routes share listLimit.
type Answer struct {
	Results []deployer.Result `json:"results"`
}

// listLimit keeps an answer far below Lambda's limit of 6 MB; the counts are in the summary line.
const listLimit = 1000

// Answer is the report for who called by hand.
func (r Report) Answer() Answer {
	results := append([]deployer.Result{}, r.Results...) // prints as [], not null
	limit := listLimit / max(len(results), 1)
	for i := range results {
		r := &results[i]
		for _, list := range []*[]string{&r.Added, &r.Modified, &r.Removed} {
			*list = (*list)[:min(len(*list), limit)]
		}
		for _, list := range []*[]deployer.Note{&r.Kept, &r.LeftOut, &r.Warnings} {
			*list = (*list)[:min(len(*list), limit)]
		}
	}
	return Answer{results}
}

// reasonLimit keeps an error short where many routes fail for one reason.
const reasonLimit = 20

// Retryable says of the runs that failed in a way that may pass how they failed.
func (r Report) Retryable() []string {
	var reasons []string
	more := 0
	for _, result := range r.Results {
		if result.Retryable && len(reasons) == reasonLimit {
			more++
		} else if result.Retryable {
			where := ""
			if result.Route != "" { // else the set-up failed
				where = "route " + result.Route + ": "
			}
			reasons = append(reasons, where+result.Reason)
		}
	}
	if more > 0 {
		reasons = append(reasons, fmt.Sprintf("and %d more routes", more))
	}
	return reasons
}
