package eventsource

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dagbucket/dagbucket/internal/realtest/lambdaruntime"
)

// FunctionOptions say how a function runs.
type FunctionOptions struct {
	// Runtime returns what to start for one of the environments, numbered from 0: each may have its own variables.
	Runtime      func(number int) lambdaruntime.Options
	Environments int // at most so many invocations at once
	Timeout      time.Duration
	// Invoking, if set, is called when an invocation begins, with the number of its environment; what it returns is
	// called when the invocation has ended.
	Invoking func(number int) (ended func(Invocation))
}

// Invocation is one that ended.
type Invocation struct {
	Source string // queue, schedule or what Invoke was told
	Result lambdaruntime.Result
}

// Failed reports whether the function did not answer well: an error, its time ran out or it was killed.
func (i Invocation) Failed() bool { return i.Result.FunctionError != "" }

// Function is a Lambda function over a fixed number of execution environments. An environment that ended is replaced by a fresh process at its next
// invocation. Its methods may be called concurrently.
type Function struct {
	options FunctionOptions
	idle    chan *environment
	all     []*environment
	stopped context.Context
	stop    context.CancelFunc

	mu          sync.Mutex
	invocations []Invocation
	peakRSS     int64
}

type environment struct {
	number int

	mu      sync.Mutex
	process *lambdaruntime.Environment // nil before the first invocation
}

// NewFunction returns a function without a process.
func NewFunction(o FunctionOptions) *Function {
	f := &Function{options: o, idle: make(chan *environment, o.Environments)}
	f.stopped, f.stop = context.WithCancel(context.Background())
	for i := range o.Environments {
		e := &environment{number: i}
		f.all = append(f.all, e)
		f.idle <- e
	}
	return f
}

// Invoke runs one invocation in an environment that is idle, and waits for one. The error is that of a process that did not start, or of ctx,
// whose end kills.
func (f *Function) Invoke(ctx context.Context, source string, payload []byte) (Invocation, error) {
	e, err := f.acquire(ctx)
	if err != nil {
		return Invocation{}, err
	}
	return f.invokeIn(ctx, e, source, payload)
}

func (f *Function) acquire(ctx context.Context) (*environment, error) {
	if err := errors.Join(ctx.Err(), f.stopped.Err()); err != nil {
		return nil, err
	}
	select {
	case e := <-f.idle:
		return e, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// invokeIn gives e back.
func (f *Function) invokeIn(ctx context.Context, e *environment, source string, payload []byte) (Invocation, error) {
	defer func() { f.idle <- e }()
	for {
		process, err := f.running(e)
		if err != nil {
			return Invocation{}, err
		}
		ended := func(Invocation) {}
		if f.options.Invoking != nil {
			ended = f.options.Invoking(e.number)
		}
		result, err := process.Invoke(ctx, payload, f.options.Timeout)
		i := Invocation{Source: source, Result: result}
		ended(i)
		if result.Crashed || result.TimedOut || errors.Is(err, lambdaruntime.ErrEnded) {
			e.set(nil)
		}
		if errors.Is(err, lambdaruntime.ErrEnded) { // it was killed while it was idle
			continue
		}
		if err == nil {
			f.mu.Lock()
			f.invocations = append(f.invocations, i)
			f.peakRSS = max(f.peakRSS, process.PeakRSS())
			f.mu.Unlock()
		}
		return i, err
	}
}

// running returns the environment's process, a fresh one if it has none.
func (f *Function) running(e *environment) (*lambdaruntime.Environment, error) {
	if process := e.get(); process != nil {
		return process, nil
	}
	process, err := lambdaruntime.Start(f.stopped, f.options.Runtime(e.number))
	if err == nil {
		e.set(process)
	}
	return process, err
}

func (e *environment) get() *lambdaruntime.Environment {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.process
}

func (e *environment) set(process *lambdaruntime.Environment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.process = process
}

// Kill ends the process of an environment, if it has one, and returns when it is gone.
func (f *Function) Kill(number int) {
	if process := f.all[number].get(); process != nil {
		process.Kill()
	}
}

// Stop ends every process. None is started after it.
func (f *Function) Stop() {
	f.stop()
	for i := range f.all {
		f.Kill(i)
	}
}

// Invocations are all that ended so far.
func (f *Function) Invocations() []Invocation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Invocation{}, f.invocations...)
}

// PeakRSS is the most resident memory, in bytes, that any of the processes has had when an invocation ended.
func (f *Function) PeakRSS() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.peakRSS
}
