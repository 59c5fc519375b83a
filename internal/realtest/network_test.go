package realtest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/dagbucket/dagbucket/internal/realtest/lambdaruntime"
)

const (
	networksAtOnce = 6                // most of them wait most of the time
	shortTime      = 30 * time.Second // an invocation; it keeps 6 s of that to report
	passing        = 3 * time.Second
	smallFiles     = 60     // their listing is longer than whatever else S3 answers, large file and bundle apart
	largeFile      = 400000 // bytes; more than the limits on connections
)

// How an invocation ends.
const (
	deploys  = "deploys"
	again    = "comes again"  // failed, and may pass
	reported = "acknowledged" // failed, and will not pass by itself
	held     = "held"
)

type networkCase struct {
	name   string
	broken func(*network)
	passes bool // in the middle of the run
	files  int  // small ones; 0: smallFiles
	large  int  // bytes of the large file; 0: largeFile
	want   string
	says   string // in the reason
}

var storeFaults = []networkCase{
	{name: "latency", want: deploys, broken: func(n *network) { n.store.toxic("latency", `"latency":120,"jitter":80`, up, down) }},
	{name: "bandwidth", want: deploys, broken: func(n *network) { n.store.toxic("bandwidth", `"rate":300`, up, down) }},
	{name: "almost no bandwidth", want: again, says: "time ran out", broken: func(n *network) { n.store.toxic("bandwidth", `"rate":2`, up, down) }},
	{name: "reset at once", want: again, says: "cannot read s3://acme-state/prod/", broken: func(n *network) { n.store.toxic("reset_peer", `"timeout":0`, down) }},
	{name: "reset in a download", want: deploys, broken: func(n *network) { n.store.resetsAfter(100000, down) }},
	{name: "reset in an upload", want: again, says: "cannot write s3://acme-state/prod/bundles/", broken: func(n *network) {
		n.store.resetsAfter(100000, up)
	}},
	{name: "listing cut short", want: again, says: "cannot list s3://acme-dags/dags/: the answer broke off (tried 5 times)", broken: func(n *network) { n.store.cutsAfter(8000, down) }},
	{name: "download cut short", want: deploys, broken: func(n *network) { n.store.cutsAfter(100000, down) }},
	{name: "upload cut short", want: again, says: "cannot write s3://acme-state/prod/bundles/", broken: func(n *network) {
		n.store.cutsAfter(100000, up)
	}},
	{name: "slow close", want: deploys, broken: func(n *network) { n.store.toxic("slow_close", `"delay":3000`, up, down) }},
	{name: "silent", want: again, says: "time ran out", broken: func(n *network) { n.store.toxic("timeout", `"timeout":0`, down) }},
	{name: "refused", want: again, says: "cannot read s3://acme-state/prod/", broken: func(n *network) { n.store.stop() }},
	{name: "listing hangs", want: again, says: "cannot list s3://acme-dags/dags/", broken: func(n *network) { n.store.answers(listing, hangs) }},
	{name: "a part hangs", want: again, says: "time ran out", large: 14 << 20, broken: func(n *network) { n.store.answers(secondPart, hangs) }},
	{name: "all hangs from a part on", want: again, says: "time ran out", large: 14 << 20, broken: func(n *network) {
		n.store.answers(after(secondPart, all), hangs)
	}},
	{name: "writes hang", want: again, says: "time ran out", broken: func(n *network) { n.store.answers(changing, hangs) }},
	{name: "listing is HTML", want: again, says: "cannot list s3://acme-dags/dags/", broken: func(n *network) { n.store.answers(listing, portal(http.StatusOK)) }},
	{name: "listing is empty", want: again, says: "cannot list s3://acme-dags/dags/", broken: func(n *network) { n.store.answers(listing, empty(http.StatusOK)) }},
	{name: "second page is HTML", want: again, says: "cannot list s3://acme-dags/dags/", files: 1100, broken: func(n *network) {
		n.store.answers(secondPage, portal(http.StatusOK))
	}},
	{name: "uploads are answered in HTML", want: again, says: "cannot write s3://acme-state/prod/", large: 14 << 20, broken: func(n *network) {
		n.store.answers(beginUpload, portal(http.StatusOK))
	}},
	{name: "listing never ends", want: again, says: "cannot list s3://acme-dags/dags/", broken: func(n *network) {
		n.store.answers(listing, trickles(http.StatusOK))
	}},
	{name: "all is HTML", want: again, says: "check that no proxy answers in the storage's place", broken: func(n *network) {
		n.store.answers(all, portal(http.StatusOK))
	}},
	{name: "all is HTML, 502", want: again, says: "HTTP 502 Bad Gateway from the storage (tried 5 times)", broken: func(n *network) {
		n.store.answers(all, portal(http.StatusBadGateway))
	}},
	{name: "reset for a while", passes: true, want: deploys, broken: func(n *network) { n.store.toxic("reset_peer", `"timeout":0`, down) }},
	{name: "refused for a while", passes: true, want: deploys, broken: func(n *network) { n.store.stop() }},
	{name: "silent for a while", passes: true, want: deploys, broken: func(n *network) { n.store.toxic("timeout", `"timeout":0`, down) }},
}

var astroFaults = []networkCase{
	{name: "latency", want: deploys, broken: func(n *network) { n.astro.toxic("latency", `"latency":200,"jitter":150`, up, down) }},
	{name: "bandwidth", want: deploys, broken: func(n *network) { n.astro.toxic("bandwidth", `"rate":200`, up, down) }},
	{name: "almost no bandwidth", want: again, says: "time ran out: astro: upload", broken: func(n *network) {
		n.astro.toxic("bandwidth", `"rate":5`, up, down)
	}},
	{name: "reset at once", want: again, says: "reset by peer", broken: func(n *network) { n.astro.toxic("reset_peer", `"timeout":0`, down) }},
	{name: "reset in an answer", want: again, says: "the answer broke off", broken: func(n *network) { n.astro.resetsAfter(700, down) }},
	{name: "reset in the upload", want: again, says: "the connection broke during the upload (tried 5 times)", broken: func(n *network) { n.astro.resetsAfter(100000, up) }},
	{name: "answer cut in its header", want: again, says: "no answer", broken: func(n *network) { n.astro.cutsAfter(30, down) }},
	{name: "answer cut short", want: again, says: "the answer broke off", broken: func(n *network) { n.astro.cutsAfter(700, down) }},
	{name: "upload cut short", want: again, says: "the connection broke during the upload (tried 5 times)", broken: func(n *network) { n.astro.cutsAfter(100000, up) }},
	{name: "slow close", want: deploys, broken: func(n *network) { n.astro.toxic("slow_close", `"delay":3000`, up, down) }},
	{name: "silent", want: again, says: "time ran out: astro: read Deployment", broken: func(n *network) {
		n.astro.toxic("timeout", `"timeout":0`, down)
	}},
	{name: "refused", want: again, says: "connection refused", broken: func(n *network) { n.astro.stop() }},
	{name: "create hangs", want: again, says: "time ran out: astro: create", broken: func(n *network) { n.astro.answers(createDeploy, hangs) }},
	{name: "upload hangs", want: again, says: "time ran out: astro: upload", broken: func(n *network) {
		n.astro.answers(call("PUT", "/blobs/"), hangs)
	}},
	{name: "finalize hangs", want: again, says: "the next run finds out", broken: func(n *network) {
		n.astro.answers(call("POST", "/finalize"), hangs)
	}},
	{name: "finalize takes effect, then silence", want: again, says: "the next run finds out", broken: func(n *network) {
		n.astro.answers(call("POST", "/finalize"), takesEffect)
		n.astro.answers(after(call("GET", "/deploys/"), all), hangs)
	}},
	{name: "finalize takes effect, answer lost", want: deploys, broken: func(n *network) { n.astro.answers(call("POST", "/finalize"), takesEffect) }},
	{name: "HTML", want: reported, says: "ASTRO_API_URL", broken: func(n *network) { n.astro.answers(all, portal(http.StatusOK)) }},
	{name: "HTML, 502", want: again, says: "HTTP 502", broken: func(n *network) { n.astro.answers(all, portal(http.StatusBadGateway)) }},
	{name: "create is HTML", want: reported, says: "ASTRO_API_URL", broken: func(n *network) { n.astro.answers(createDeploy, portal(http.StatusOK)) }},
	{name: "upload is HTML", want: again, says: "HTTP 200 OK from the storage", broken: func(n *network) {
		n.astro.answers(call("PUT", "/blobs/"), portal(http.StatusOK))
	}},
	{name: "upload is HTML, 502", want: again, says: "HTTP 502 Bad Gateway from the storage", broken: func(n *network) {
		n.astro.answers(call("PUT", "/blobs/"), portal(http.StatusBadGateway))
	}},
	{name: "finalize is HTML", want: reported, says: "ASTRO_API_URL", broken: func(n *network) {
		n.astro.answers(call("POST", "/finalize"), portal(http.StatusOK))
	}},
	{name: "empty", want: again, says: "empty or cut short", broken: func(n *network) { n.astro.answers(all, empty(http.StatusOK)) }},
	{name: "upload answered empty, 200", want: again, says: "HTTP 200 OK from the storage", broken: func(n *network) {
		n.astro.answers(call("PUT", "/blobs/"), empty(http.StatusOK))
	}},
	{name: "endless JSON", want: reported, says: "longer than 1 MiB", broken: func(n *network) { n.astro.answers(all, endless(http.StatusOK)) }},
	{name: "endless error", want: again, says: "HTTP 503", broken: func(n *network) { n.astro.answers(all, endless(http.StatusServiceUnavailable)) }},
	{name: "trickles", want: again, says: "time ran out", broken: func(n *network) { n.astro.answers(all, trickles(http.StatusOK)) }},
	{name: "create trickles", want: again, says: "time ran out", broken: func(n *network) { n.astro.answers(createDeploy, trickles(http.StatusOK)) }},
	{name: "upload's answer trickles", want: deploys, broken: func(n *network) {
		n.astro.answers(call("PUT", "/blobs/"), takesEffectAndTrickles)
	}},
	{name: "redirects", want: reported, says: "a redirect", broken: func(n *network) { n.astro.answers(all, n.redirects(http.StatusFound)) }},
	{name: "create redirects", want: reported, says: "a redirect", broken: func(n *network) {
		n.astro.answers(createDeploy, n.redirects(http.StatusTemporaryRedirect))
	}},
	{name: "upload redirects", want: reported, says: "a redirect, which is not followed; check that no proxy", broken: func(n *network) {
		n.astro.answers(call("PUT", "/blobs/"), n.redirects(http.StatusTemporaryRedirect))
	}},
	{name: "upload URL is plain http", want: reported, says: "https:// (plain http is only for a loopback host)", broken: func(n *network) {
		n.astro.answers(createDeploy, uploadTo("http://storage.example"))
	}},
	{name: "upload host is unknown", want: again, says: "check that the function can reach storage.invalid (DNS, VPC, proxy)", broken: func(n *network) {
		n.astro.answers(createDeploy, uploadTo("https://storage.invalid"))
	}},
	{name: "upload host speaks no TLS", want: again, says: "check that the function can reach 127.0.0.1", broken: func(n *network) {
		n.astro.answers(createDeploy, uploadTo("https://"+n.astro.address))
	}},
	{name: "reset for a while", passes: true, want: deploys, broken: func(n *network) { n.astro.toxic("reset_peer", `"timeout":0`, down) }},
	{name: "refused for a while", passes: true, want: deploys, broken: func(n *network) { n.astro.stop() }},
	{name: "silent for a while", passes: true, want: deploys, broken: func(n *network) { n.astro.toxic("timeout", `"timeout":0`, down) }},
	{name: "HTML, 502 for a while", passes: true, want: deploys, broken: func(n *network) { n.astro.answers(all, portal(http.StatusBadGateway)) }},
}

// TestNetworkFaults breaks the network of a function that has deployed before, lets it run once, and heals the network.
func TestNetworkFaults(t *testing.T) {
	t.Parallel() // it waits most of the time
	var cases []networkCase
	for _, group := range []struct {
		name  string
		cases []networkCase
	}{{"S3", storeFaults}, {"Astro", astroFaults}} {
		for _, c := range group.cases {
			c.name = group.name + ": " + c.name
			cases = append(cases, c)
		}
	}
	rows := make([]string, len(cases))
	var running errgroup.Group
	running.SetLimit(networksAtOnce) // t.Parallel would allow as many as there are processors
	for i, c := range cases {
		running.Go(func() error {
			t.Run(c.name, func(t *testing.T) { c.run(t, i%2 == 0, &rows[i]) })
			return nil
		})
	}
	_ = running.Wait() // the cases fail for themselves
	t.Log("\n" + strings.Join(rows, "\n"))
}

// run lets the payload come from a queue or directly, and fills in the case's row of the table.
func (c networkCase) run(t *testing.T, queued bool, row *string) {
	n := newNetwork(t)
	for i := range max(c.files, smallFiles) {
		n.put(fmt.Sprintf("dags/small-%02d.py", i), fmt.Sprint("small = ", i))
	}
	n.requireDeploy(queued)
	before := maps.Clone(n.bucket)

	n.put("dags/small-00.py", "changed")
	n.put("dags/large.bin", noise(max(c.large, largeFile)))
	c.broken(n)
	healed := make(chan error, 1)
	if c.passes {
		time.AfterFunc(passing, func() { healed <- n.heal() })
	}
	ended, took := n.runOnce(queued)
	*row = fmt.Sprintf("%-42s %-12s %5.1f s  %s", c.name, ended.Outcome, took.Seconds(), ended.Reason)
	if live := n.live(); ended.Outcome == deploys || len(live) > len(before) {
		require.True(t, maps.Equal(n.bucket, live), "what is live is not whole")
	} else {
		require.Equal(t, before, live, "what was live is not whole any more")
	}
	require.Equal(t, c.want, ended.Outcome, ended.Reason)
	require.Contains(t, ended.Reason, c.says)
	require.Zero(t, n.strayed.Load(), "a redirect was followed")

	if !c.passes {
		healed <- n.heal()
	}
	require.NoError(t, <-healed)
	n.endLease()
	n.requireDeploy(queued)
}

// endLease is the passing of time: a lease that a run could not give back runs out.
func (n *network) endLease() {
	n.t.Helper()
	bucket, key := "acme-state", "prod/lease.json"
	_, err := n.s3.DeleteObject(n.t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	require.NoError(n.t, err)
}

// requireDeploy runs the function over a sound network.
func (n *network) requireDeploy(queued bool) {
	n.t.Helper()
	ended, _ := n.runOnce(queued)
	require.Equal(n.t, deploys, ended.Outcome, ended.Reason)
	require.True(n.t, maps.Equal(n.bucket, n.live()), "what is live is not what the bucket holds")
}

// ending is a summary line.
type ending struct{ Msg, Outcome, Reason string }

// runOnce returns the end of one invocation: its summary line, with what its answer makes of the outcome.
func (n *network) runOnce(queued bool) (ending, time.Duration) {
	n.t.Helper()
	payload, err := json.Marshal(object{}) // without a time, so that it is never too late
	if queued {
		payload, err = json.Marshal(sqs(object{}))
	}
	require.NoError(n.t, err)
	result, err := n.Invoke(n.t.Context(), payload, shortTime)
	require.NoError(n.t, err)
	require.False(n.t, result.TimedOut || result.Crashed, "it was killed: %s", result.Logs)
	shown := string(result.Logs) + string(result.Response) + result.FunctionError
	n.requireNoSecret(shown)
	credentials, err := n.s3.Options().Credentials.Retrieve(n.t.Context())
	require.NoError(n.t, err)
	require.NotContains(n.t, shown, credentials.SecretAccessKey)
	ended := n.summary(result)
	switch comesAgain := result.FunctionError != "" || strings.Contains(string(result.Response), "message-0"); {
	case ended.Outcome == "deployed" || ended.Outcome == "unchanged":
		require.False(n.t, comesAgain, string(result.Logs))
		ended.Outcome = deploys
	case ended.Outcome == held:
		require.False(n.t, comesAgain, string(result.Logs))
	case comesAgain:
		require.Equal(n.t, "failed", ended.Outcome, string(result.Logs))
		require.Equal(n.t, queued, result.FunctionError == "")
		ended.Outcome = again
	default:
		require.Equal(n.t, "failed", ended.Outcome, string(result.Logs))
		ended.Outcome = reported
	}
	if ended.Outcome == again && !queued {
		var said struct{ ErrorMessage string }
		require.NoError(n.t, json.Unmarshal([]byte(result.FunctionError), &said))
		require.Equal(n.t, "route prod: "+ended.Reason, said.ErrorMessage)
	}
	return ended, result.Duration
}

func (n *network) summary(result lambdaruntime.Result) ending {
	n.t.Helper()
	var found []ending
	for line := range strings.Lines(string(result.Logs)) {
		var e ending
		if json.Unmarshal([]byte(line), &e) == nil && e.Msg == "run" {
			found = append(found, e)
		}
	}
	require.Len(n.t, found, 1, "%s", result.Logs)
	if found[0].Outcome == "failed" {
		require.NotEmpty(n.t, found[0].Reason)
	}
	return found[0]
}
