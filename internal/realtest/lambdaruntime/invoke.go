package lambdaruntime

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const maxResponse = 6 << 20 // bytes; Lambda's own

// ErrEnded is returned for an invocation of an environment whose process is gone.
var ErrEnded = errors.New("the environment has ended; start another one")

// Result is how an invocation went.
type Result struct {
	Response []byte // as posted; nil without one
	// FunctionError is "" after a success, otherwise a JSON object with errorType and errorMessage: the one that the function posted, or
	// one like Lambda's own for a process that ran out of time or ended.
	FunctionError string
	TimedOut      bool
	Crashed       bool          // the process ended, by itself or by Kill, before it asked for more work
	Duration      time.Duration // from handing the payload out to the answer posted, or to the end of the process
	Logs          []byte        // what the process wrote from then until it asked for more work or ended
}

// invocation is guarded by its environment's mu, apart from the channels.
type invocation struct {
	id      string
	payload []byte
	timeout time.Duration
	handed  chan struct{} // closed when the process has taken it
	idle    chan struct{} // closed when the process asks for more work

	started  time.Time
	logStart int64 // where its part of the log begins
	answered bool
	result   Result
}

// Invoke hands payload to the function and returns when the process has answered and asks for more work, as Lambda does, or when it is
// gone: it is killed when timeout has passed, or when ctx ends. A failure of the function is part of the Result; the
// error is ErrEnded (nothing was handed out) or that of ctx.
func (e *Environment) Invoke(ctx context.Context, payload []byte, timeout time.Duration) (Result, error) {
	select {
	case e.invoking <- struct{}{}:
		defer func() { <-e.invoking }()
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	inv := &invocation{id: newRequestID(), payload: payload, timeout: timeout, handed: make(chan struct{}), idle: make(chan struct{})}
	select {
	case e.queue <- inv:
	case <-e.exited:
		return Result{}, ErrEnded
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	<-inv.handed
	result, err := e.await(ctx, inv)
	if err == nil {
		result.Logs = e.logs.since(inv.logStart)
	}
	return result, err
}

func (e *Environment) await(ctx context.Context, inv *invocation) (Result, error) {
	timer := time.NewTimer(timeUntil(inv))
	defer timer.Stop()
	timedOut := false
	select {
	case <-inv.idle:
	case <-e.exited:
	case <-timer.C:
		timedOut = true
		e.Kill()
	case <-ctx.Done():
		e.Kill()
		return Result{}, ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r := &inv.result
	if !inv.answered {
		r.Duration = time.Since(inv.started)
	}
	select {
	case <-inv.idle:
		if !inv.answered {
			r.FunctionError = functionError("Runtime.NoAnswer", "the function asked for more work without having answered")
		}
		return *r, nil
	default:
	}
	if timedOut {
		r.TimedOut = true
		r.FunctionError = functionError("Sandbox.Timedout", fmt.Sprintf("Task timed out after %.2f seconds", inv.timeout.Seconds()))
		return *r, nil
	}
	r.Crashed = true
	if r.FunctionError == "" {
		r.FunctionError = functionError("Runtime.ExitError", "the process ended: "+e.exitState())
	}
	return *r, nil
}

func timeUntil(inv *invocation) time.Duration { return time.Until(inv.started.Add(inv.timeout)) }

func functionError(kind, message string) string {
	text, err := json.Marshal(map[string]string{"errorType": kind, "errorMessage": message})
	if err != nil {
		return message // strings always marshal
	}
	return string(text)
}

// routes is the Runtime API, version 2018-06-01.
func (e *Environment) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", e.serveNext)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) {
		e.serveAnswer(w, r, func(result *Result, body []byte) { result.Response = body })
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) {
		e.serveAnswer(w, r, func(result *Result, body []byte) { result.FunctionError = string(body) })
	})
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", e.serveInitError)
	return mux
}

// serveNext answers when there is an invocation, however long that takes.
func (e *Environment) serveNext(w http.ResponseWriter, r *http.Request) {
	e.samplePeak()
	e.noteIdle()
	var inv *invocation
	select {
	case inv = <-e.queue:
	case <-e.exited:
		return
	case <-r.Context().Done():
		return
	}
	e.mu.Lock()
	inv.logStart = e.logs.size()
	inv.started = time.Now()
	e.current = inv
	e.mu.Unlock()
	close(inv.handed)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.started.Add(inv.timeout).UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:"+e.options.FunctionName)
	h.Set("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0")
	_, _ = w.Write(inv.payload) // fails only if the process is gone, which Invoke sees
}

// noteIdle notes that the process asks for work: its start, or the invocation before, is over.
func (e *Environment) noteIdle() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.initDuration == 0 {
		e.initDuration = time.Since(e.started)
		close(e.ready)
	}
	if e.current != nil {
		close(e.current.idle)
		e.current = nil
	}
}

func (e *Environment) serveAnswer(w http.ResponseWriter, r *http.Request, note func(*Result, []byte)) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxResponse+1))
	arrived := time.Now()
	e.samplePeak()
	e.mu.Lock()
	defer e.mu.Unlock()
	inv := e.current
	switch {
	case inv == nil || inv.id != r.PathValue("id") || inv.answered:
		refuse(w, http.StatusBadRequest, "InvalidRequestID")
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, "InvalidBody")
		return
	}
	inv.answered = true
	inv.result.Duration = arrived.Sub(inv.started)
	if len(body) > maxResponse {
		inv.result.FunctionError = functionError("Function.ResponseSizeTooLarge", fmt.Sprintf("the answer has more than %d bytes", maxResponse))
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge")
		return
	}
	note(&inv.result, body)
	accept(w)
}

func (e *Environment) serveInitError(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxResponse))
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidBody")
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.initDuration > 0 || e.initReport != nil {
		refuse(w, http.StatusForbidden, "InvalidStateTransition")
		return
	}
	e.initReport = body
	close(e.initFailed)
	accept(w)
}

func accept(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
}

func refuse(w http.ResponseWriter, status int, kind string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, functionError(kind, http.StatusText(status)))
}

// newRequestID is a version 4 UUID, as Lambda's are.
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
