// Package lambdaruntime runs a real Lambda binary as AWS does, on this machine: it serves the Runtime API, starts the
// `bootstrap` process, hands it one invocation after the other and kills it at the deadline.
//
// It differs from Lambda in this: memory and processor are not limited (look at PeakRSS), an environment that ended is
// not replaced (start another one), and the file system is this machine's.
package lambdaruntime

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const defaultInitTimeout = 10 * time.Second // Lambda's own

// Options say what to run.
type Options struct {
	Binary string // path of the bootstrap executable; required
	// Env is added to what Lambda itself sets, as NAME=value; it wins over that. Nothing is inherited, and the AWS
	// credentials that Lambda would set must be given here.
	Env          []string
	MemoryMB     int           // told to the function, not enforced; default 512
	FunctionName string        // default "dagbucket"
	InitTimeout  time.Duration // from the start of the process to its first request for work; default 10 s
}

// Environment is one execution environment: one process, one invocation at a time. Its methods may be called
// concurrently; invocations then wait for each other.
type Environment struct {
	options Options
	command *exec.Cmd
	server  *http.Server
	logs    *logFile
	started time.Time

	queue      chan *invocation // handed from Invoke to the process's request for work
	ready      chan struct{}    // closed at the first request for work
	initFailed chan struct{}    // closed when the process reports that it cannot start
	exited     chan struct{}    // closed when the process is gone
	invoking   chan struct{}    // holds a token while an invocation is under way

	mu           sync.Mutex
	current      *invocation // what the process works on
	initDuration time.Duration
	initReport   []byte
	peakRSS      int64
	killed       bool
}

// InitError is a process that ended or hung before it asked for work.
type InitError struct {
	State    string // how it ended, such as "exit status 1"
	Reported []byte // what it posted to init/error; nil if it did not
	Logs     []byte
}

func (e *InitError) Error() string {
	const tail = 2000 // bytes
	return fmt.Sprintf("the function did not start (%s); reported: %q; its log ends with:\n%s", e.State, e.Reported, e.Logs[max(0, len(e.Logs)-tail):])
}

// Start runs the binary and returns once it asks for work; if it never does, the error is an *InitError. When ctx ends, so does the
// process. An environment that was started must be stopped.
func Start(ctx context.Context, options Options) (*Environment, error) {
	binary, err := filepath.Abs(options.Binary)
	if err != nil {
		return nil, err
	}
	options.Binary = binary
	if options.MemoryMB == 0 {
		options.MemoryMB = 512
	}
	if options.FunctionName == "" {
		options.FunctionName = "dagbucket"
	}
	if options.InitTimeout == 0 {
		options.InitTimeout = defaultInitTimeout
	}
	e := &Environment{
		options: options, queue: make(chan *invocation), ready: make(chan struct{}), initFailed: make(chan struct{}),
		exited: make(chan struct{}), invoking: make(chan struct{}, 1),
	}
	if e.logs, err = newLogFile(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.logs.close()
		return nil, err
	}
	e.server = &http.Server{Handler: e.routes(), ReadHeaderTimeout: time.Minute}
	go func() { _ = e.server.Serve(listener) }() // ends with the process
	if err := e.startProcess(listener.Addr().String()); err != nil {
		_ = e.server.Close()
		e.logs.close()
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	unwatch := context.AfterFunc(ctx, e.Kill)
	go func() { <-e.exited; unwatch() }()
	if err := e.awaitInit(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *Environment) startProcess(api string) error {
	e.command = exec.Command(e.options.Binary)
	e.command.Dir = filepath.Dir(e.options.Binary)
	e.command.Env = append(e.environ(api), e.options.Env...)
	e.command.Stdout, e.command.Stderr = e.logs.file, e.logs.file
	e.mu.Lock() // its first request may come before Start returns
	defer e.mu.Unlock()
	e.started = time.Now()
	if err := e.command.Start(); err != nil {
		return err
	}
	go func() {
		_ = e.command.Wait() // how it ended is in ProcessState
		close(e.exited)
		e.logs.close()
		_ = e.server.Close()
	}()
	return nil
}

// environ is what Lambda sets for a function on the provided.al2023 runtime.
func (e *Environment) environ(api string) []string {
	name, root := e.options.FunctionName, filepath.Dir(e.options.Binary)
	return []string{
		"AWS_LAMBDA_RUNTIME_API=" + api,
		"AWS_LAMBDA_FUNCTION_NAME=" + name,
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + strconv.Itoa(e.options.MemoryMB),
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/" + name,
		"AWS_LAMBDA_LOG_STREAM_NAME=2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
		"AWS_REGION=us-east-1",
		"AWS_DEFAULT_REGION=us-east-1",
		"_HANDLER=bootstrap",
		"LAMBDA_TASK_ROOT=" + root,
		"LAMBDA_RUNTIME_DIR=/var/runtime",
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"LANG=en_US.UTF-8",
		"TZ=:UTC",
	}
}

// awaitInit returns nil once the process asks for work. If it does not, the process is ended.
func (e *Environment) awaitInit(ctx context.Context) error {
	timer := time.NewTimer(e.options.InitTimeout)
	defer timer.Stop()
	state := ""
	select {
	case <-e.ready:
		return nil
	case <-e.exited:
		state = e.exitState()
	case <-e.initFailed:
		state = "it reported an error"
	case <-timer.C:
		state = fmt.Sprintf("it did not ask for work within %v", e.options.InitTimeout)
	case <-ctx.Done():
		state = ctx.Err().Error()
	}
	e.Kill()
	e.mu.Lock()
	defer e.mu.Unlock()
	return &InitError{State: state, Reported: e.initReport, Logs: e.logs.since(0)}
}

// Kill ends the process at once, as Lambda does without a signal, and returns when it is gone. An invocation under way ends as
// Crashed. Killing twice is harmless.
func (e *Environment) Kill() {
	e.samplePeak()
	e.mu.Lock()
	select {
	case <-e.exited:
	default:
		e.killed = true
		_ = e.command.Process.Kill() // fails only if the process is gone already
	}
	e.mu.Unlock()
	<-e.exited
}

// Stop ends the environment as Lambda retires one: like Kill.
func (e *Environment) Stop() { e.Kill() }

// InitDuration is the time from the start of the process to its first request for work.
func (e *Environment) InitDuration() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.initDuration
}

// Logs is what the process wrote to its standard output and standard error so far, complete up to its last request.
func (e *Environment) Logs() []byte { return e.logs.since(0) }

// exitState says how the process ended; only for one that did.
func (e *Environment) exitState() string { return e.command.ProcessState.String() }
