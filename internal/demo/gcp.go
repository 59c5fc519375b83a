package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/dagbucket/dagbucket/internal/cloudrunhandler"
	"github.com/dagbucket/dagbucket/internal/gcsserver"
	"github.com/dagbucket/dagbucket/internal/service"
)

// gcp is Cloud Storage, whose notifications Pub/Sub pushes to a Cloud Run function: each by itself, and as many side by side as one
// instance takes.
var gcp = cloud{
	scheme: "gs", storage: "Cloud Storage", carrier: "Pub/Sub", share: true,
	most: 1, atOnce: 80,
	newStorage: newCloudStorage, newFunction: newCloudRun,
	commands: cloudStorageCommands, tools: cloudStorageTools,
}

// ackDeadline is the longest that Pub/Sub waits for an answer.
const ackDeadline = 10 * time.Minute

func newCloudStorage(changed func(change)) (http.Handler, error) {
	server, err := gcsserver.New(dagsBucket, stateBucket)
	if err != nil {
		return nil, err
	}
	server.OnChange = func(c gcsserver.Change) {
		if c.Bucket != dagsBucket {
			return
		}
		shown := c.Event + " " + c.Key
		if c.OverwrittenBy != "" {
			shown += " (overwritten)"
		}
		changed(change{shown, c.Notification()})
	}
	return server, nil
}

// newCloudRun serves the function as Cloud Run does.
func newCloudRun(d *demo) (invoke, error) {
	wired := func(context.Context) (*service.Service, error) { return d.service, nil }
	function, err := d.listen(cloudrunhandler.New(wired, d.Log))
	if err != nil {
		return nil, err
	}
	return pushEach(function), nil
}

// pushEach delivers to the function's URL as Pub/Sub does: any answer but a 2xx has the message come again.
func pushEach(function string) invoke {
	client := &http.Client{
		Timeout:       ackDeadline,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, batch []change) ([]change, error) {
		for i, c := range batch {
			if err := push(ctx, client, function, c); err != nil {
				return batch[i:], err
			}
		}
		return nil, nil
	}
}

func push(ctx context.Context, client *http.Client, function string, c change) error {
	body, err := json.Marshal(c.notification)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, function, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("the function answers %s: %s", answer.Status, bytes.TrimSpace(text))
	}
	return err
}

func cloudStorageCommands(endpoint string) []command {
	// upload is the command for a content and a name, both in the quotes that they need.
	upload := func(content, quote, name string) string {
		return fmt.Sprintf("curl -fsSo /dev/null -X POST --data-binary %s -H 'Content-Type: text/x-python' %s%s/upload/storage/v1/b/%s/o?uploadType=media&name=%s%s",
			content, quote, endpoint, dagsBucket, prefix+name, quote)
	}
	return []command{
		{"add a DAG", upload(`'print("hello")'`, "'", "my_dag.py")},
		{"change it", upload(`'print("hello, Astro")'`, "'", "my_dag.py")},
		{"break it", upload(`'print("hello, Astro"'`, "'", "my_dag.py")},
		{"delete it", "curl -X DELETE " + endpoint + "/storage/v1/b/" + dagsBucket + "/o/" + url.PathEscape(prefix+"my_dag.py")},
		{"a burst", "for i in 1 2 3 4 5; do " + upload(`"n = $i"`, `"`, "team/dag_$i.py") + "; done"},
	}
}

func cloudStorageTools(endpoint string) string {
	return fmt.Sprintf(`
dagbucket itself, and what uses Google's client for Go, works on this bucket with
  export STORAGE_EMULATOR_HOST=%[1]s
and gcloud, for example gcloud storage rsync -r my-dags gs://%[2]s/%[3]s, with
  export CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE=%[1]s/storage/v1/ CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true
`, endpoint, dagsBucket, prefix)
}
