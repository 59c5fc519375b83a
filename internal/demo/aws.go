package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/dagbucket/dagbucket/internal/event"
	"github.com/dagbucket/dagbucket/internal/s3server"
)

// aws is S3, whose notifications SQS brings to a Lambda function: in batches, and one at a time, as the reserved concurrency of one
// route has it.
var aws = cloud{
	scheme: "s3", storage: "S3", carrier: "SQS",
	most: 10_000, window: time.Second, atOnce: 1,
	newStorage: newS3, newFunction: newLambda,
	commands: s3Commands, tools: func(string) string { return "" },
}

func newS3(changed func(change)) (http.Handler, error) {
	server := s3server.New(dagsBucket, stateBucket)
	server.OnChange = func(c s3server.Change) {
		if c.Bucket == dagsBucket {
			changed(change{c.Event + " " + c.Key, c.Notification()})
		}
	}
	return server, nil
}

// newLambda decodes batches and runs the route, as the Lambda function does.
func newLambda(d *demo) (invoke, error) {
	return func(ctx context.Context, changes []change) ([]change, error) {
		payload, err := sqsBatch(changes)
		if err != nil {
			return changes, err
		}
		batch, err := event.Decode(payload)
		if err != nil {
			return changes, err
		}
		var again []change
		for _, i := range d.service.Handle(ctx, batch).Failed {
			again = append(again, changes[i])
		}
		return again, errors.New("the run failed")
	}, nil
}

// sqsBatch is the payload of an SQS event source mapping whose queue an S3 bucket notifies.
func sqsBatch(changes []change) ([]byte, error) {
	type message struct {
		MessageID   string `json:"messageId"`
		Body        string `json:"body"`
		EventSource string `json:"eventSource"`
	}
	var batch struct {
		Records []message
	}
	for i, c := range changes {
		body, err := json.Marshal(c.notification)
		if err != nil {
			return nil, err
		}
		batch.Records = append(batch.Records, message{fmt.Sprintf("message-%d", i+1), string(body), "aws:sqs"})
	}
	return json.Marshal(batch)
}

func s3Commands(endpoint string) []command {
	url := endpoint + "/" + dagsBucket + "/" + prefix
	return []command{
		{"add a DAG", `curl -X PUT --data-binary 'print("hello")' ` + url + "my_dag.py"},
		{"change it", `curl -X PUT --data-binary 'print("hello, Astro")' ` + url + "my_dag.py"},
		{"break it", `curl -X PUT --data-binary 'print("hello, Astro"' ` + url + "my_dag.py"},
		{"delete it", "curl -X DELETE " + url + "my_dag.py"},
		{"a burst", `for i in 1 2 3 4 5; do curl -X PUT --data-binary "n = $i" ` + url + "team/dag_$i.py; done"},
	}
}
