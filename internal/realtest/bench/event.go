package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// object is what is a JSON object.
type object = map[string]any

// notify wakes the function as S3 does, through a queue: by the notification of an upload. The answer names no message that failed.
func (l lambda) notify(ctx context.Context, bucket, key string) (time.Duration, error) {
	body, err := json.Marshal(object{"Records": []object{{
		"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventTime": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"eventName": "ObjectCreated:Put", "s3": object{"s3SchemaVersion": "1.0", "configurationId": "dagbucket",
			"bucket": object{"name": bucket, "arn": "arn:aws:s3:::" + bucket}, "object": object{"key": key, "size": 1, "eTag": "0", "sequencer": "0055AED6DCD90281E5"}}}}})
	if err != nil {
		return 0, err
	}
	sum, now := md5.Sum(body), strconv.FormatInt(time.Now().UnixMilli(), 10)
	payload, err := json.Marshal(object{"Records": []object{{
		"messageId": "059f36b4-87a3-44ab-83d2-661970000001", "receiptHandle": "1", "body": string(body), "md5OfBody": hex.EncodeToString(sum[:]),
		"attributes":  object{"ApproximateReceiveCount": "1", "SentTimestamp": now, "ApproximateFirstReceiveTimestamp": now},
		"eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:111122223333:dagbucket", "awsRegion": "us-east-1"}}})
	if err != nil {
		return 0, err
	}
	answer, err := l.Invoke(ctx, payload, invocationTimeout)
	if err == nil && (answer.FunctionError != "" || string(answer.Response) != `{"batchItemFailures":[]}`) {
		err = fmt.Errorf("%s%s", answer.FunctionError, answer.Response)
	}
	return answer.Duration, err
}

// notify wakes the function as Eventarc does.
func (f cloudFunction) notify(ctx context.Context, bucket, key string) (time.Duration, error) {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	body, err := json.Marshal(object{"specversion": "1.0", "type": "google.cloud.storage.object.v1.finalized", "id": "14293842350988441", "time": now,
		"source": "//storage.googleapis.com/projects/_/buckets/" + bucket, "subject": "objects/" + key, "datacontenttype": "application/json",
		"data": object{"kind": "storage#object", "bucket": bucket, "name": key, "generation": "1", "metageneration": "1", "updated": now, "timeCreated": now}})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.URL(), bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	if err := answer.Body.Close(); err != nil {
		return 0, err
	}
	if answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return time.Since(began), err
}

// summary is the line that a function logs of a run.
type summary struct {
	Msg, Message                                     string // by cloud
	Outcome, Reason                                  string
	Files, Added, Modified, Removed, Kept, LeftOut   int
	RequestsList, RequestsGet, RequestsPut           int64
	RequestsDelete, RequestsSourceGet, RequestsAstro int64
}

func (s summary) requests() map[string]int64 {
	return map[string]int64{"list": s.RequestsList, "get": s.RequestsGet, "put": s.RequestsPut, "delete": s.RequestsDelete,
		"sourceGet": s.RequestsSourceGet, "astro": s.RequestsAstro}
}

// lastRun is what a log says of the last run in it.
func lastRun(log []byte) (last summary, err error) {
	err = errors.New("the function logged no run")
	for line := range bytes.Lines(log) {
		var s summary
		if json.Unmarshal(line, &s) == nil && (s.Msg == "run" || s.Message == "run") {
			last, err = s, nil
		}
	}
	return last, err
}
