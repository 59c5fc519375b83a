package demo

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/deployer"
)

// TestWhatFailsIsDeliveredAgain has a function that answers as told, and counts what arrives.
func TestWhatFailsIsDeliveredAgain(t *testing.T) {
	for name, c := range map[string]struct {
		answers  []int // the last one for good
		requests int
		fails    string
		says     string
	}{
		"acknowledged":         {[]int{204}, 1, "", "  CREATED a.py\n"},
		"not at once":          {[]int{503, 500, 200}, 3, "", "  CREATED a.py\n  CREATED a.py, again (2 of 5)\n  CREATED a.py, again (3 of 5)\n"},
		"never":                {[]int{503}, 5, "CREATED a.py was delivered 5 times in vain: the function answers 503 Service Unavailable: why", "again (5 of 5)\n\nPub/Sub would give up now"},
		"what is no 2xx fails": {[]int{404, 301, 202}, 3, "", "(3 of 5)"},
	} {
		t.Run(name, func(t *testing.T) {
			var bodies []string
			function := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				bodies = append(bodies, string(body))
				http.Error(w, "why", c.answers[min(len(bodies), len(c.answers))-1])
			}))
			defer function.Close()
			var out bytes.Buffer
			d := &demo{Options: Options{Out: &out}, cloud: gcp, backOff: time.Millisecond}
			d.invoke = pushEach(function.URL)
			err := d.deliver(t.Context(), []change{{"CREATED a.py", "notification"}})
			if c.fails == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, c.fails)
			}
			require.Equal(t, strings.Repeat(`"notification"`, c.requests), strings.Join(bodies, ""))
			require.Contains(t, out.String(), "Cloud Storage events arrive through Pub/Sub:\n"+"  CREATED a.py\n")
			require.Contains(t, out.String(), c.says)
		})
	}
}

func TestOnlyWhatFailedOfABatchIsDeliveredAgain(t *testing.T) {
	var batches [][]change
	d := &demo{Options: Options{Out: io.Discard}, cloud: aws, backOff: time.Millisecond}
	d.invoke = func(_ context.Context, batch []change) ([]change, error) {
		batches = append(batches, batch)
		return batch[1:], io.ErrUnexpectedEOF
	}
	a, b := change{"a", 1}, change{"b", 2}
	require.NoError(t, d.deliver(t.Context(), []change{a, b}))
	require.Equal(t, [][]change{{a, b}, {b}}, batches)
}

// TestRunsForLateEventsAreFewLines has a burst of events answered by one run that deploys, and by several that find nothing to do.
func TestRunsForLateEventsAreFewLines(t *testing.T) {
	var shown []string
	d := &demo{cloud: gcp, changes: make(chan change, 10)}
	d.Out, d.Print = io.Discard, func(r deployer.Result) { shown = append(shown, string(r.Outcome)+" "+r.Digest) }
	d.cloud.atOnce = 1
	runs := []deployer.Result{{Outcome: deployer.Deployed, Digest: "1"}, {Outcome: deployer.Covered}, {Outcome: deployer.Unchanged, Digest: "1"},
		{Outcome: deployer.Covered}, {Outcome: deployer.Unchanged, Digest: "1"}, {Outcome: deployer.Covered}}
	d.invoke = func(ctx context.Context, _ []change) ([]change, error) {
		d.show(ctx, runs[0])
		runs = runs[1:]
		return nil, nil
	}
	burst := func(n int) {
		d.pending.Add(int64(n))
		for range n {
			d.changes <- change{}
		}
		require.NoError(t, d.deliverAll(t.Context(), false))
	}
	burst(len(runs))
	require.Equal(t, []string{"deployed 1", "unchanged 1"}, shown)

	runs = []deployer.Result{{Outcome: deployer.Unchanged, Digest: "1"}, {Outcome: deployer.Deployed, Digest: "2"}, {Outcome: deployer.Failed}}
	burst(1)
	require.Equal(t, "unchanged 1", shown[len(shown)-1], "a person who uploads the same again is told")
	burst(2)
	require.Equal(t, []string{"deployed 2", "failed "}, shown[3:])

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.show(ctx, deployer.Result{Outcome: deployer.Failed})
	require.Len(t, shown, 5, "a run that ends with the demo is not shown")
}
