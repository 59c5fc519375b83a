package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/s3server"
)

// ledger counts what a server is asked, in the words of a result.
type ledger struct {
	handler http.Handler
	kind    func(r *http.Request) string

	mu    sync.Mutex
	count map[string]int64
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.count[l.kind(r)]++
	l.mu.Unlock()
	l.handler.ServeHTTP(w, r)
}

func (l *ledger) take() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.count
	l.count = map[string]int64{}
	return taken
}

func kindOfS3(r *http.Request) string {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Query().Has("list-type"):
		return "list"
	case r.Method == http.MethodGet && bucket == "acme" && key != "":
		return "sourceGet"
	case r.Method == http.MethodPost:
		return "put"
	}
	return strings.ToLower(r.Method)
}

// TestRequestsAreWhatTheServersCount, and one changed file of 2,500 costs one read and a few requests besides the pages of the listing.
func TestRequestsAreWhatTheServersCount(t *testing.T) {
	s := newSetup(t, astrotest.Options{})
	storage := &ledger{handler: s3server.New("acme", "acme-state"), kind: kindOfS3, count: map[string]int64{}}
	server := httptest.NewServer(storage)
	t.Cleanup(server.Close)
	put := func(name, content string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+"/acme/dags/"+name, strings.NewReader(content))
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusOK, answer.StatusCode)
	}
	for name, value := range map[string]string{"AWS_ENDPOINT_URL_S3": server.URL, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-west-1"} {
		t.Setenv(name, value)
		s.env[name] = value
	}
	s.env["DAGBUCKET_SOURCE"], s.env["DAGBUCKET_STATE"], s.env["DAGBUCKET_SYNTAX"] = "s3://acme/dags/", "s3://acme-state/", "off"
	for i := range 2500 {
		put(fmt.Sprintf("team_%d/dag_%04d.py", i%7, i), "a = 1")
	}
	sync := func() (result struct {
		Outcome  string
		Requests map[string]int64
	}) {
		storage.take()
		code, out, errs := s.run("sync", "--json")
		require.Zero(t, code, errs)
		require.NoError(t, json.Unmarshal([]byte(out), &result))
		said, counted := result.Requests, storage.take()
		counted["get"] += counted["sourceGet"]
		for _, kind := range []string{"list", "get", "put", "delete", "sourceGet"} {
			require.Equal(t, counted[kind], said[kind], kind)
		}
		return result
	}
	first := sync()
	require.Equal(t, "deployed", first.Outcome)
	require.Equal(t, int64(2500), first.Requests["sourceGet"])
	require.Equal(t, int64(3), first.Requests["list"])
	require.Equal(t, int64(4), first.Requests["astro"], "the Deployment, a new deploy, the upload, the end")

	require.Equal(t, "unchanged", sync().Outcome, "it sees Astro run the deploy")
	require.Equal(t, map[string]int64{"list": 3, "get": 2, "put": 3, "delete": 0, "sourceGet": 0, "astro": 1}, sync().Requests)

	put("team_1/dag_0001.py", "a = 2")
	changed := sync()
	require.Equal(t, "deployed", changed.Outcome)
	require.Equal(t, int64(1), changed.Requests["sourceGet"])
	require.Equal(t, int64(4), changed.Requests["list"], "and one of the state, for what to prune")
	others := changed.Requests["get"] - 1 + changed.Requests["put"] + changed.Requests["delete"] + 1 + changed.Requests["astro"]
	require.LessOrEqual(t, others, int64(17), "%v", changed.Requests)

	put(".dagbucketignore", "team_3/\n")
	require.Equal(t, int64(1), sync().Requests["sourceGet"], "the ignore file is one as well")
}
