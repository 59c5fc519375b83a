package service

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/event"
)

// runsAtOnce bounds the runs side by side, of an invocation or of a process that shares them. Most of a run is waiting: for quiet, for the
// storage, for Astro; and who waits for a turn here is quiet all the sooner. 64 of them, measured with 20 files each, hold 70 MB while they
// wait and 550 connections when all fetch at once; 512 would hold 860 MB and 2,100, where Lambda has 1,024 descriptors for a process.
const runsAtOnce = 64

// Report is what became of a batch.
type Report struct {
	Results []deployer.Result // one for each route that is due, in order of the configuration
	Failed  []int             // indexes of the messages that must come again, ascending
}

// due is what a batch asks of one route.
type due struct {
	route    int // its position
	times    []time.Time
	messages []int // their indexes, ascending
}

// Handle runs every route that the batch's events ask for, each once. A message fails if it cannot be decoded, or if a route that it
// asks for failed in a way that may pass, or did not get its turn.
func (s *Service) Handle(ctx context.Context, batch event.Batch) Report {
	failed := make([]bool, len(batch.Messages))
	dues := s.assign(batch, failed)
	report := Report{Results: s.runAll(ctx, dues)}
	for i, d := range dues {
		if !report.Results[i].Retryable {
			continue
		}
		for _, m := range d.messages {
			failed[m] = true
		}
	}
	for i, f := range failed {
		if f {
			report.Failed = append(report.Failed, i)
		}
	}
	return report
}

// runAll runs the routes that are due, or waits for the runs that others share with them. They begin in any order: when time runs out, it
// is not always the same ones that did not get their turn.
func (s *Service) runAll(ctx context.Context, dues []due) []deployer.Result {
	results := make([]deployer.Result, len(dues))
	var g errgroup.Group
	if s.lanes == nil {
		g.SetLimit(runsAtOnce)
	}
	for _, i := range rand.Perm(len(dues)) {
		g.Go(func() error { results[i] = s.runOne(ctx, dues[i]); return nil })
	}
	_ = g.Wait() // no run returns an error
	if late := countLate(results); late > 0 {
		s.deps.Log.Warn("the time was over before every route had its turn; their messages come again", "routes", late)
	}
	return results
}

// errNoTurn ends the wait of a route whose time is over before it began: no lease was taken, and no bell has to be set.
type errNoTurn struct{ error }

func (e errNoTurn) Unwrap() error { return e.error }

func (s *Service) runOne(ctx context.Context, d due) deployer.Result {
	route := s.routes[d.route]
	late := func(err error, reason string) deployer.Result {
		return deployer.Result{Route: route.Name, Outcome: deployer.Failed, Retryable: true, Err: errNoTurn{err}, Reason: reason}
	}
	if s.lanes != nil {
		result, err := s.lanes[d.route].Run(ctx, workEnd(ctx), d.times)
		if err != nil {
			return late(err, "the request's time was over before a run had seen what it tells of")
		}
		return result
	}
	if err := ctx.Err(); err != nil {
		return late(err, "the invocation's time was over before this route had its turn")
	}
	return s.Sync(ctx, route, d.times)
}

func countLate(results []deployer.Result) (late int) {
	for _, r := range results {
		if _, ok := r.Err.(errNoTurn); ok {
			late++
		}
	}
	return late
}

// assign notes each event with every route that it concerns, and the messages that cannot be decoded. What is due is in the order of the
// configuration.
func (s *Service) assign(batch event.Batch, failed []bool) []due {
	found := map[int]*due{} // by route
	for i, m := range batch.Messages {
		if m.Err != nil {
			s.deps.Log.Error("cannot decode a message; it fails until it reaches the dead-letter queue", "messageId", m.ID, "error", m.Err)
			failed[i] = true
			continue
		}
		for _, e := range m.Events {
			for _, route := range s.concerned(e) {
				d := found[route]
				if d == nil {
					d = &due{route: route}
					found[route] = d
				}
				d.add(i, e)
			}
		}
	}
	var dues []due
	for _, d := range found {
		dues = append(dues, *d)
	}
	slices.SortFunc(dues, func(a, b due) int { return cmp.Compare(a.route, b.route) })
	return dues
}

func (d *due) add(message int, e event.Event) {
	d.times = append(d.times, timeOf(e))
	if n := len(d.messages); n == 0 || d.messages[n-1] != message {
		d.messages = append(d.messages, message)
	}
}

// concerned returns the positions of the routes that e is a reason to run, and tells of an event for none.
func (s *Service) concerned(e event.Event) []int {
	if e.Kind == event.Test {
		s.deps.Log.Info("the storage's test event arrived: notifications work", "bucket", e.Bucket)
		return nil
	}
	routes := s.index.concerned(e)
	if len(routes) == 0 {
		s.deps.Log.Warn("an event is for no route, and is acknowledged", "kind", e.Kind, "bucket", e.Bucket, "key", e.Key, "route", e.Route)
	}
	return routes
}

// timeOf is when what e tells of happened. The schedule and people want a look now: no earlier listing may stand in for it.
func timeOf(e event.Event) time.Time {
	if e.Kind == event.Schedule || e.Kind == event.Manual {
		return time.Time{}
	}
	return e.Time
}
