// Package cloudrun runs a built Cloud Run function as Cloud Run does, on this machine: one instance, which is a process that listens on
// the port it is told, gets requests side by side, and is ended by SIGTERM.
//
// It differs from Cloud Run in this: nothing in front of it limits the time or the number of requests, memory and processor are
// not limited (look at PeakRSS), an instance is not frozen between requests, and the file system is this machine's.
package cloudrun

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	defaultStartTimeout = 30 * time.Second // Cloud Run gives an instance four minutes; idle, it takes a tenth of a second
	defaultTimeout      = time.Minute      // Cloud Run functions' own
	stopTime            = 10 * time.Second // from SIGTERM to SIGKILL, as on Cloud Run
	pollInterval        = 5 * time.Millisecond
	portTries           = 3
)

// Options say what to run.
type Options struct {
	Binary string // path of the built function; required
	Target string // FUNCTION_TARGET; default "Dagbucket"
	// Env is added to what Cloud Run itself sets, as NAME=value; it wins over that. Nothing is inherited.
	Env          []string
	Timeout      time.Duration // told to the function as CLOUD_RUN_TIMEOUT_SECONDS, not enforced; default 60 s
	Folder       string        // its working folder; default the binary's
	StartTimeout time.Duration // from the start of the process until it listens; default 30 s
}

// Instance is one process. Its methods may be called concurrently, and after its end.
type Instance struct {
	command *exec.Cmd
	address string
	logs    *os.File      // without a name on disk; what the process writes is there at once
	exited  chan struct{} // closed when the process is gone
	started time.Duration

	mu   sync.Mutex
	peak int64
}

// Start runs the binary and returns once it listens. When ctx ends, so does the process. An instance that was started must be stopped.
func Start(ctx context.Context, options Options) (*Instance, error) {
	binary, err := filepath.Abs(options.Binary)
	if err != nil {
		return nil, err
	}
	options.Binary = binary
	if options.Target == "" {
		options.Target = "Dagbucket"
	}
	if options.Timeout == 0 {
		options.Timeout = defaultTimeout
	}
	if options.Folder == "" {
		options.Folder = filepath.Dir(binary)
	}
	if options.StartTimeout == 0 {
		options.StartTimeout = defaultStartTimeout
	}
	for range portTries {
		var instance *Instance
		if instance, err = startOnce(ctx, options); err == nil || !errors.Is(err, errPortTaken) {
			return instance, err
		}
	}
	return nil, err
}

func startOnce(ctx context.Context, o Options) (*Instance, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	i := &Instance{address: address, exited: make(chan struct{})}
	if i.logs, err = newLogFile(); err != nil {
		return nil, err
	}
	i.command = exec.Command(o.Binary)
	i.command.Dir = o.Folder
	i.command.Env = append(environ(o, address), o.Env...)
	i.command.Stdout, i.command.Stderr = i.logs, i.logs
	began := time.Now()
	if err := i.command.Start(); err != nil {
		return nil, errors.Join(err, i.logs.Close())
	}
	go func() {
		_ = i.command.Wait() // how it ended is in ProcessState
		close(i.exited)
	}()
	unwatch := context.AfterFunc(ctx, i.Kill)
	go func() { <-i.exited; unwatch() }()
	if err := i.awaitListening(ctx, o.StartTimeout); err != nil {
		i.Kill()
		return nil, err
	}
	i.started = time.Since(began)
	return i, nil
}

// environ is what Cloud Run sets for a function.
func environ(o Options, address string) []string {
	_, port, _ := net.SplitHostPort(address)
	signature := "http"
	if o.Target != "Dagbucket" {
		signature = "event"
	}
	return []string{
		"PORT=" + port,
		"FUNCTION_TARGET=" + o.Target,
		"FUNCTION_SIGNATURE_TYPE=" + signature,
		"K_SERVICE=dagbucket",
		"K_REVISION=dagbucket-00001-abc",
		"K_CONFIGURATION=dagbucket",
		"CLOUD_RUN_TIMEOUT_SECONDS=" + strconv.Itoa(int(o.Timeout/time.Second)),
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"HOME=/home",
	}
}

// freeAddress is an address that nobody listens on just now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

var errPortTaken = errors.New("somebody else took the port")

// awaitListening polls the port until the process listens on it.
func (i *Instance) awaitListening(ctx context.Context, timeout time.Duration) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for range int(timeout / pollInterval) {
		connection, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", i.address)
		if err == nil {
			_ = connection.Close()
		}
		select {
		case <-i.exited: // so it was not this process that listened
			return i.startError(i.command.ProcessState.String())
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-i.exited:
		case <-ctx.Done():
		}
	}
	return i.startError(fmt.Sprintf("it did not listen within %v", timeout))
}

// URL is where the instance serves.
func (i *Instance) URL() string { return "http://" + i.address + "/" }

// StartDuration is the time from the start of the process until it listened.
func (i *Instance) StartDuration() time.Duration { return i.started }

// Pid is the process's ID. It may be another's once the instance has ended.
func (i *Instance) Pid() int { return i.command.Process.Pid }

// Stop ends the instance as Cloud Run retires one, and returns when it is gone. Stopping twice is harmless.
func (i *Instance) Stop() {
	i.signal(syscall.SIGTERM)
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-i.exited:
	case <-timer.C:
		i.Kill()
	}
}

// Kill ends the process at once, as when its memory is used up, and returns when it is gone. Killing twice is harmless.
func (i *Instance) Kill() {
	i.signal(syscall.SIGKILL)
	<-i.exited
}

func (i *Instance) signal(s syscall.Signal) {
	i.samplePeak()
	_ = i.command.Process.Signal(s) // fails only if the process is gone already
}
