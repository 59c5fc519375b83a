package demo_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/awswire"
	"github.com/dagbucket/dagbucket/internal/demo"
	"github.com/dagbucket/dagbucket/internal/deployer"
)

func TestOnce(t *testing.T) {
	var out bytes.Buffer
	var results []deployer.Result
	err := demo.Run(t.Context(), demo.Options{Out: &out, Log: slog.New(slog.DiscardHandler), OpenBucket: awswire.Anonymous, Once: true,
		Print: func(r deployer.Result) { results = append(results, r) }})
	require.NoError(t, err, out.String())
	require.Len(t, results, 1)
	require.Equal(t, deployer.Deployed, results[0].Outcome)
	require.Contains(t, results[0].Added, "dags/.airflowignore")
	require.Contains(t, out.String(), "What is deployed equals what was uploaded")
}

// TestThePrintedCommands does with plain HTTP what the demo tells a person to do with curl.
func TestThePrintedCommands(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, said := io.Pipe()
	results := make(chan deployer.Result, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- demo.Run(ctx, demo.Options{Out: said, Log: slog.New(slog.DiscardHandler), OpenBucket: awswire.Anonymous,
			Print: func(r deployer.Result) { results <- r }})
		_ = said.Close()
	}()
	text := readUntil(t, out, "Ctrl-C ends the demo")
	go func() { _, _ = io.Copy(io.Discard, out) }()
	require.Equal(t, deployer.Deployed, (<-results).Outcome)

	add := regexp.MustCompile(`add a DAG +curl -X PUT --data-binary '([^']+)' (\S+)`).FindStringSubmatch(text)
	require.NotNil(t, add, text)
	send := func(method, url, body string) {
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.Less(t, answer.StatusCode, 300)
		require.NoError(t, answer.Body.Close())
	}
	send(http.MethodPut, add[2], add[1])
	require.Equal(t, []string{"dags/my_dag.py"}, (<-results).Added)
	send(http.MethodDelete, add[2], "")
	require.Equal(t, []string{"dags/my_dag.py"}, (<-results).Removed)
	cancel()
	require.NoError(t, <-ended)
}

func readUntil(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var read strings.Builder
	buffer := make([]byte, 1024)
	for !strings.Contains(read.String(), text) {
		n, err := r.Read(buffer)
		require.NoError(t, err, read.String())
		read.Write(buffer[:n])
	}
	return read.String()
}
