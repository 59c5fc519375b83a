package lambdaruntime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ample = time.Minute // far more than any invocation here needs

var echo string // path of the built test function; set once by TestMain

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "lambdaruntime")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		echo = filepath.Join(dir, "bootstrap")
		// Built by file name from the product's module: it is to use the version of aws-lambda-go that the product uses.
		build := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", echo, "internal/realtest/lambdaruntime/testdata/echo/main.go")
		build.Dir = filepath.Join("..", "..", "..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := build.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("build the test function: %v\n%s", err, output))
		}
		return m.Run()
	}())
}

func start(t *testing.T, env ...string) *Environment {
	t.Helper()
	e, err := Start(t.Context(), Options{Binary: echo, Env: env, MemoryMB: 256, FunctionName: "echo"})
	require.NoError(t, err)
	t.Cleanup(e.Stop)
	return e
}

func TestInvokeAnswers(t *testing.T) {
	e := start(t)
	for i := range 3 {
		payload := fmt.Appendf(nil, `{"n":%d}`, i)
		r, err := e.Invoke(t.Context(), payload, ample)
		require.NoError(t, err)
		require.JSONEq(t, string(payload), string(r.Response))
		require.Empty(t, r.FunctionError)
		require.False(t, r.TimedOut || r.Crashed)
		require.Greater(t, r.Duration, time.Duration(0))
		require.Less(t, r.Duration, ample)
	}
	require.Greater(t, e.InitDuration(), time.Duration(0))
	require.Greater(t, e.PeakRSS(), int64(1<<20))
	before := e.PeakRSS()
	e.Stop()
	e.Stop()
	require.GreaterOrEqual(t, e.PeakRSS(), before)
	_, err := e.Invoke(t.Context(), []byte(`{}`), ample)
	require.ErrorIs(t, err, ErrEnded)
}

// TestLogsAreComplete would fail now and then if the log came through a pipe that somebody still has to read.
func TestLogsAreComplete(t *testing.T) {
	const atInit = "to standard output\nto standard error\n"
	for range 20 {
		e := start(t)
		require.Equal(t, atInit, string(e.Logs()))
		for _, text := range []string{"first", "second"} {
			r, err := e.Invoke(t.Context(), fmt.Appendf(nil, `{"do":"say","text":%q}`, text), ample)
			require.NoError(t, err)
			require.Equal(t, text+"\n"+text+"\n", string(r.Logs))
		}
		const all = atInit + "first\nfirst\nsecond\nsecond\n"
		require.Equal(t, all, string(e.Logs()))
		e.Stop()
		require.Equal(t, all, string(e.Logs()), "they can be read after the end too")
	}
}

func TestPeakRSSIsTheFunctionsOwn(t *testing.T) {
	ballast := bytes.Repeat([]byte("x"), 200<<20) // the resource usage of a child would count it
	e := start(t)
	e.Stop()
	require.Less(t, e.PeakRSS(), int64(len(ballast))/2)
}

func TestFunctionSeesLambdasEnvironment(t *testing.T) {
	t.Setenv("SECRET_OF_THIS_MACHINE", "x")
	e := start(t, "MINE=1", "AWS_REGION=eu-west-1")
	r, err := e.Invoke(t.Context(), []byte(`{"do":"env"}`), ample)
	require.NoError(t, err)
	var env []string
	require.NoError(t, json.Unmarshal(r.Response, &env))
	require.Subset(t, env, []string{
		"MINE=1", "AWS_REGION=eu-west-1", "AWS_LAMBDA_FUNCTION_NAME=echo", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256",
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "_HANDLER=bootstrap", "LAMBDA_TASK_ROOT=" + filepath.Dir(echo),
	})
	for _, variable := range env {
		require.NotContains(t, variable, "SECRET_OF_THIS_MACHINE")
		require.False(t, strings.HasPrefix(variable, "HOME="), variable)
	}

	r, err = e.Invoke(t.Context(), []byte(`{"do":"deadline"}`), ample)
	require.NoError(t, err)
	var left int64
	require.NoError(t, json.Unmarshal(r.Response, &left))
	require.Greater(t, left, int64(0))
	require.LessOrEqual(t, left, ample.Milliseconds())
}

func TestInvokeFails(t *testing.T) {
	for _, c := range []struct {
		name    string
		do      string
		crashed bool
		says    string
	}{
		{"handler error", "fail", false, "as you wish"},
		{"panic", "panic", true, "as you wish"},
		{"exit", "exit", true, "exit status 4"},
		{"answer too large", "large", true, "ResponseSizeTooLarge"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := start(t)
			r, err := e.Invoke(t.Context(), fmt.Appendf(nil, `{"do":%q}`, c.do), ample)
			require.NoError(t, err)
			require.Contains(t, r.FunctionError, c.says)
			require.True(t, json.Valid([]byte(r.FunctionError)))
			require.Equal(t, c.crashed, r.Crashed)
			require.False(t, r.TimedOut)
			require.Greater(t, e.PeakRSS(), int64(0))
			_, err = e.Invoke(t.Context(), []byte(`{}`), ample)
			if c.crashed {
				require.ErrorIs(t, err, ErrEnded)
			} else {
				require.NoError(t, err, "the environment goes on after an error")
			}
		})
	}
}

func TestInvokeIsKilledAtItsDeadline(t *testing.T) {
	const timeout = 200 * time.Millisecond
	e := start(t)
	r, err := e.Invoke(t.Context(), []byte(`{"do":"hang"}`), timeout)
	require.NoError(t, err)
	require.True(t, r.TimedOut)
	require.False(t, r.Crashed)
	require.Contains(t, r.FunctionError, "Task timed out after 0.20 seconds")
	require.Equal(t, "hanging\n", string(r.Logs))
	require.GreaterOrEqual(t, r.Duration, timeout)
	require.True(t, gone(e))
}

func TestKillInTheMiddle(t *testing.T) {
	e := start(t)
	go func() { awaitHang(t, e); e.Kill() }()
	r, err := e.Invoke(t.Context(), []byte(`{"do":"hang"}`), ample)
	require.NoError(t, err)
	require.True(t, r.Crashed)
	require.False(t, r.TimedOut)
	require.Contains(t, r.FunctionError, "signal: killed")
	require.True(t, gone(e))
}

func TestContextEndsTheProcess(t *testing.T) {
	e := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { awaitHang(t, e); cancel() }()
	_, err := e.Invoke(ctx, []byte(`{"do":"hang"}`), ample)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, gone(e))

	ctx, cancel = context.WithCancel(t.Context())
	e, err = Start(ctx, Options{Binary: echo})
	require.NoError(t, err)
	cancel()
	<-e.exited
	require.True(t, gone(e))
}

func TestStartFails(t *testing.T) {
	for _, c := range []struct {
		name     string
		init     string
		timeout  time.Duration
		state    string
		reported string
	}{
		{"exit", "exit", 0, "exit status 3", ""},
		{"report", "report", 0, "it reported an error", `{"errorType":"NoSuchThing"}`},
		{"hang", "hang", 300 * time.Millisecond, "within 300ms", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Start(t.Context(), Options{Binary: echo, Env: []string{"ECHO_INIT=" + c.init}, InitTimeout: c.timeout})
			require.Nil(t, e)
			var failed *InitError
			require.ErrorAs(t, err, &failed)
			require.Contains(t, failed.State, c.state)
			require.Equal(t, c.reported, string(failed.Reported))
		})
	}
	_, err := Start(t.Context(), Options{Binary: filepath.Join(t.TempDir(), "missing")})
	require.ErrorContains(t, err, "missing")
}

func TestEnvironmentsSideBySide(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 4 {
		e := start(t)
		for j := range 3 { // of one environment, one after the other
			wg.Go(func() {
				payload := fmt.Sprintf(`{"n":"%d-%d"}`, i, j)
				r, err := e.Invoke(t.Context(), []byte(payload), ample)
				if err != nil || string(r.Response) != payload {
					t.Errorf("%s: got %s, %v", payload, r.Response, err)
				}
			})
		}
	}
	wg.Wait()
}

func TestAnswerToAnotherInvocationIsRefused(t *testing.T) {
	e := start(t)
	for _, path := range []string{"invocation/none/response", "invocation/none/error"} {
		response, err := http.Post("http://"+e.address()+"/2018-06-01/runtime/"+path, "application/json", strings.NewReader("{}"))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusBadRequest, response.StatusCode)
	}
}

// address is where the environment's Runtime API listens.
func (e *Environment) address() string {
	for _, variable := range e.command.Env {
		if address, ok := strings.CutPrefix(variable, "AWS_LAMBDA_RUNTIME_API="); ok {
			return address
		}
	}
	return ""
}

// awaitHang returns once the function says that it hangs. The output of another process can only be polled.
func awaitHang(t *testing.T, e *Environment) {
	for !bytes.Contains(e.Logs(), []byte("hanging")) && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
}

func gone(e *Environment) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", e.command.Process.Pid))
	return os.IsNotExist(err)
}
