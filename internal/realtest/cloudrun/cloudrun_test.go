package cloudrun_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/realtest/cloudrun"
)

const asFunction = "CLOUDRUN_TEST_FUNCTION" // how this program, started again, is to behave as a function

func TestMain(m *testing.M) {
	switch behaviour := os.Getenv(asFunction); behaviour {
	case "":
		os.Exit(m.Run())
	case "exit":
		fmt.Fprintln(os.Stderr, "no configuration")
		os.Exit(3)
	case "hang":
		select {}
	default:
		serve(behaviour)
	}
}

// serve answers with a variable of the environment that the path names.
func serve(behaviour string) {
	if behaviour == "tidy" {
		go func() {
			terminated := make(chan os.Signal, 1)
			signal.Notify(terminated, syscall.SIGTERM)
			<-terminated
			fmt.Println("tidied up")
			os.Exit(0)
		}()
	}
	fmt.Println("to standard output")
	err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		fmt.Fprintln(os.Stderr, "asked for", name)
		_, _ = io.WriteString(w, os.Getenv(name))
	}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func options(behaviour string, env ...string) cloudrun.Options {
	return cloudrun.Options{Binary: os.Args[0], Env: append(env, asFunction+"="+behaviour), Timeout: 90 * time.Second}
}

func start(t *testing.T, o cloudrun.Options) *cloudrun.Instance {
	t.Helper()
	i, err := cloudrun.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(i.Stop)
	return i
}

func get(t *testing.T, i *cloudrun.Instance, path string) string {
	t.Helper()
	answer, err := http.Get(i.URL() + path)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(body)
}

func TestFunctionSeesCloudRunsEnvironment(t *testing.T) {
	t.Setenv("SECRET_OF_THIS_MACHINE", "x")
	i := start(t, options("serve", "MINE=1", "HOME=/nowhere"))
	for name, want := range map[string]string{
		"K_SERVICE": "dagbucket", "FUNCTION_TARGET": "Dagbucket", "FUNCTION_SIGNATURE_TYPE": "http", "CLOUD_RUN_TIMEOUT_SECONDS": "90",
		"MINE": "1", "HOME": "/nowhere", "SECRET_OF_THIS_MACHINE": "",
	} {
		require.Equal(t, want, get(t, i, name), name)
	}
	require.Contains(t, i.URL(), get(t, i, "PORT"))
	require.Positive(t, i.StartDuration())
}

func TestLogsAreCompleteOnceTheAnswerIsThere(t *testing.T) {
	i := start(t, options("tidy"))
	want := "to standard output\n"
	for n := range 20 {
		path := fmt.Sprint("path", n)
		get(t, i, path)
		want += "asked for " + path + "\n"
		require.Equal(t, want, string(i.Logs()))
	}
	i.Stop()
	i.Stop()
	require.Equal(t, want+"tidied up\n", string(i.Logs()), "it was asked to end, and its log can be read afterwards")
}

func TestPeakRSSIsTheFunctionsOwn(t *testing.T) {
	ballast := strings.Repeat("x", 200<<20) // the resource usage of a child would count it
	i := start(t, options("serve"))
	require.Greater(t, i.PeakRSS(), int64(1<<20))
	before := i.PeakRSS()
	i.Stop()
	require.GreaterOrEqual(t, i.PeakRSS(), before)
	require.Less(t, i.PeakRSS(), int64(len(ballast))/2)
}

func gone(i *cloudrun.Instance) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", i.Pid()))
	return os.IsNotExist(err)
}

func TestTheProcessEnds(t *testing.T) {
	i := start(t, options("serve"))
	i.Kill()
	i.Kill()
	require.True(t, gone(i))

	ctx, cancel := context.WithCancel(t.Context())
	i, err := cloudrun.Start(ctx, options("serve"))
	require.NoError(t, err)
	cancel()
	i.Kill() // only waits
	require.True(t, gone(i))
}

func TestStartFails(t *testing.T) {
	_, err := cloudrun.Start(t.Context(), options("exit"))
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, "no configuration")

	o := options("hang")
	o.StartTimeout = 300 * time.Millisecond
	_, err = cloudrun.Start(t.Context(), o)
	require.ErrorContains(t, err, "within 300ms")

	_, err = cloudrun.Start(t.Context(), cloudrun.Options{Binary: filepath.Join(t.TempDir(), "missing")})
	require.ErrorContains(t, err, "missing")
}

func TestInstancesSideBySide(t *testing.T) {
	var wg sync.WaitGroup
	for n := range 4 {
		name := fmt.Sprint("instance", n)
		i := start(t, options("serve", "NAME="+name))
		for range 3 {
			wg.Go(func() {
				answer, err := http.Get(i.URL() + "NAME")
				if err != nil {
					t.Error(err)
					return
				}
				defer answer.Body.Close()
				if body, err := io.ReadAll(answer.Body); err != nil || string(body) != name {
					t.Errorf("%s: got %s, %v", name, body, err)
				}
			})
		}
	}
	wg.Wait()
}
