package realtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/realtest"
	"github.com/dagbucket/dagbucket/internal/realtest/lambdaruntime"
)

const invocationTime = 2 * time.Minute

// function is the real binary, with a real S3 server and the stand-in for Astro.
type function struct {
	t     *testing.T
	s3    *s3.Client
	astro *astrotest.Server
	token string
	env   []string
	*lambdaruntime.Environment
}

func newFunction(t *testing.T, o astrotest.Options, extraEnv ...string) *function {
	t.Helper()
	return startFunction(t, bootstrap(t), o, extraEnv...)
}

func startFunction(t *testing.T, binary string, o astrotest.Options, extraEnv ...string) *function {
	t.Helper()
	gateway, err := realtest.StartVersitygw(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(gateway.Stop)
	f := &function{t: t, astro: astrotest.New(o), token: astrotest.Token(astrotest.OrganizationID, time.Now().Add(time.Hour))}
	require.NoError(t, f.astro.Start())
	t.Cleanup(f.astro.Close)
	f.s3 = s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &gateway.Endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(gateway.AccessKey, gateway.SecretKey, "")})
	for _, name := range []string{"acme-dags", "acme-state"} {
		_, err := f.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
		require.NoError(t, err)
	}
	f.env = append([]string{
		"AWS_ACCESS_KEY_ID=" + gateway.AccessKey, "AWS_SECRET_ACCESS_KEY=" + gateway.SecretKey, "AWS_ENDPOINT_URL_S3=" + gateway.Endpoint,
		"DAGBUCKET_SOURCE=s3://acme-dags/dags/", "DAGBUCKET_STATE=s3://acme-state/", "DAGBUCKET_ROUTE=prod", "DAGBUCKET_QUIET_PERIOD=0s", "DAGBUCKET_FOLLOW=0s",
		"ASTRO_DEPLOYMENT_ID=" + astrotest.DeploymentID, "ASTRO_API_TOKEN=" + f.token, "ASTRO_API_URL=" + f.astro.URL(),
	}, extraEnv...)
	f.Environment, err = lambdaruntime.Start(context.Background(), lambdaruntime.Options{Binary: binary, Env: f.env})
	require.NoError(t, err)
	t.Cleanup(func() {
		f.Stop()
		f.requireNoSecret(string(f.Logs()))
	})
	return f
}

// bootstrap is the binary under test; `make test-real` builds it.
func bootstrap(t *testing.T) string {
	t.Helper()
	root, err := realtest.ProjectRoot()
	require.NoError(t, err)
	path := filepath.Join(root, "build", "lambda", "bootstrap")
	require.FileExists(t, path, "run these tests with make test-real: it builds the function")
	return path
}

func (f *function) requireNoSecret(text string) {
	f.t.Helper()
	for _, part := range append(strings.Split(f.token, "."), "sig=", "sig%3D") {
		require.NotContains(f.t, text, part)
	}
}

func (f *function) put(key, content string) {
	f.t.Helper()
	bucket := "acme-dags"
	_, err := f.s3.PutObject(f.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(content)})
	require.NoError(f.t, err)
}

func (f *function) delete(key string) {
	f.t.Helper()
	bucket := "acme-dags"
	_, err := f.s3.DeleteObject(f.t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	require.NoError(f.t, err)
}

func (f *function) invoke(payload any) lambdaruntime.Result {
	f.t.Helper()
	encoded, err := json.Marshal(payload)
	require.NoError(f.t, err)
	result, err := f.Invoke(f.t.Context(), encoded, invocationTime)
	require.NoError(f.t, err)
	require.False(f.t, result.TimedOut || result.Crashed, string(f.Logs()))
	f.requireNoSecret(string(result.Response) + result.FunctionError)
	return result
}

// live is what the Deployment goes to: path and content.
func (f *function) live() map[string]string {
	f.t.Helper()
	_, desired := f.astro.Versions(astrotest.DeploymentID)
	contents := map[string]string{}
	for _, up := range f.astro.Uploads(astrotest.DeploymentID) {
		if up.Version != desired {
			continue
		}
		files, err := astrotest.Files(up.Archive())
		require.NoError(f.t, err)
		for _, file := range files {
			contents[file.Name] = string(file.Content)
		}
	}
	return contents
}

type object = map[string]any

// The envelopes, in the form that AWS documents.

func s3Event(name, key string) object {
	return object{"Records": []object{{
		"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventTime": time.Now().UTC().Format(time.RFC3339Nano), "eventName": name,
		"s3": object{"s3SchemaVersion": "1.0", "configurationId": "dagbucket", "bucket": object{"name": "acme-dags", "arn": "arn:aws:s3:::acme-dags"},
			"object": object{"key": url.QueryEscape(key), "size": 5, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "0055AED6DCD90281E5"}},
	}}}
}

func eventBridge(detailType, key string) object {
	return object{"version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": detailType, "source": "aws.s3", "account": "111122223333",
		"time": time.Now().UTC().Format(time.RFC3339), "region": "us-east-1", "resources": []string{"arn:aws:s3:::acme-dags"},
		"detail": object{"version": "0", "bucket": object{"name": "acme-dags"}, "object": object{"key": key, "size": 5, "etag": "b1946ac9", "sequencer": "00"}}}
}

func schedule() object {
	return object{"version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event", "source": "aws.events",
		"account": "111122223333", "time": "2026-11-23T05:00:00Z", "region": "us-east-1", "resources": []string{"arn:aws:events:us-east-1:111122223333:rule/reconcile"},
		"detail": object{}}
}

func text(payload any) string {
	if s, ok := payload.(string); ok {
		return s
	}
	encoded, _ := json.Marshal(payload)
	return string(encoded)
}

func sqs(payloads ...any) object {
	var records []object
	for i, p := range payloads {
		records = append(records, object{"messageId": fmt.Sprintf("message-%d", i), "receiptHandle": "x", "body": text(p), "attributes": object{},
			"messageAttributes": object{}, "md5OfBody": "x", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:111122223333:dags", "awsRegion": "us-east-1"})
	}
	return object{"Records": records}
}

func snsBody(payload any) object {
	return object{"Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": "arn:aws:sns:us-east-1:111122223333:dags",
		"Subject": "Amazon S3 Notification", "Message": text(payload), "Timestamp": "2026-11-23T05:00:00.000Z", "SignatureVersion": "1"}
}

func sns(payload any) object {
	return object{"Records": []object{{"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "arn:aws:sns:us-east-1:111122223333:dags:1",
		"Sns": snsBody(payload)}}}
}

const oddKey = "dags/a+b c%2B/é.py"

func TestLambdaDeploysForEveryEnvelope(t *testing.T) {
	f := newFunction(t, astrotest.Options{})
	f.put("dags/first.py", "first")
	for i, c := range []struct {
		name    string
		payload any
		queue   bool
	}{
		{"manual", object{}, false},
		{"manual, by route", object{"route": "prod"}, false},
		{"S3 notification", s3Event("ObjectCreated:Put", oddKey), false},
		{"EventBridge, created", eventBridge("Object Created", oddKey), false},
		{"EventBridge, deleted", eventBridge("Object Deleted", oddKey), false},
		{"EventBridge, restored", eventBridge("Object Restore Completed", oddKey), false},
		{"EventBridge schedule", schedule(), false},
		{"SNS, S3", sns(s3Event("ObjectCreated:CompleteMultipartUpload", oddKey)), false},
		{"SNS, EventBridge", sns(eventBridge("Object Created", oddKey)), false},
		{"SQS, S3", sqs(s3Event("ObjectCreated:Put", oddKey)), true},
		{"SQS, removal", sqs(s3Event("ObjectRemoved:DeleteMarkerCreated", oddKey)), true},
		{"SQS, several", sqs(s3Event("ObjectCreated:Put", oddKey), s3Event("ObjectRemoved:Delete", "dags/gone.py"), s3Event("ObjectCreated:Copy", "other/x.py")), true},
		{"SQS, SNS, S3", sqs(snsBody(s3Event("ObjectCreated:Put", oddKey))), true},
		{"SQS, EventBridge", sqs(eventBridge("Object Created", oddKey)), true},
		{"SQS, schedule", sqs(schedule()), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			content := fmt.Sprint("round = ", i)
			f.put(oddKey, content)
			result := f.invoke(c.payload)
			require.Empty(t, result.FunctionError)
			require.Equal(t, map[string]string{"dags/first.py": "first", "dags/a+b c%2B/é.py": content}, f.live())
			if c.queue {
				require.JSONEq(t, `{"batchItemFailures":[]}`, string(result.Response))
				return
			}
			var response struct{ Results []deployer.Result }
			require.NoError(t, json.Unmarshal(result.Response, &response))
			require.Equal(t, deployer.Deployed, response.Results[0].Outcome)
		})
	}
	require.Len(t, f.astro.Finalized(astrotest.DeploymentID), 15, "one deploy an invocation")

	for name, payload := range map[string]any{
		"the S3 test event": object{"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-23T05:00:00.000Z", "Bucket": "acme-dags", "RequestId": "x", "HostId": "y"},
		"another prefix":    s3Event("ObjectCreated:Put", "dags_old/x.py"),
	} {
		result := f.invoke(payload)
		require.Empty(t, result.FunctionError, name)
		require.JSONEq(t, `{"results":[]}`, string(result.Response), name)
	}
	require.Len(t, f.astro.Finalized(astrotest.DeploymentID), 15)
	f.requireMetricLine()
}

// requireMetricLine finds the last run's summary line in the log, and what CloudWatch reads off it.
func (f *function) requireMetricLine() {
	f.t.Helper()
	var line struct {
		Msg, Route, Outcome, Function string
		Deployed, Files, Succeeded    *float64
		AWS                           struct {
			Timestamp         int64
			CloudWatchMetrics []struct {
				Namespace  string
				Dimensions [][]string
				Metrics    []struct{ Name, Unit string }
			}
		} `json:"_aws"`
	}
	for _, candidate := range bytes.Split(f.Logs(), []byte("\n")) {
		if bytes.Contains(candidate, []byte(`"_aws"`)) {
			require.NoError(f.t, json.Unmarshal(candidate, &line))
		}
	}
	require.Equal(f.t, "run", line.Msg)
	require.Equal(f.t, "deployed", line.Outcome)
	require.Equal(f.t, 1.0, *line.Deployed)
	require.Equal(f.t, 2.0, *line.Files)
	require.InDelta(f.t, time.Now().UnixMilli(), line.AWS.Timestamp, 1e6)
	require.Equal(f.t, "prod", line.Route)
	require.NotEmpty(f.t, line.Function)
	require.Equal(f.t, 1.0, *line.Succeeded)
	dimensions := [][][]string{{{"function"}}, {{"function", "route"}}}
	for i, directive := range line.AWS.CloudWatchMetrics {
		require.Equal(f.t, "dagbucket", directive.Namespace)
		require.Equal(f.t, dimensions[i], directive.Dimensions)
		require.NotEmpty(f.t, directive.Metrics)
	}
}

func TestLambdaFailsOnlyTheMessageThatCannotBeDecoded(t *testing.T) {
	f := newFunction(t, astrotest.Options{})
	f.put("dags/a.py", "a")
	result := f.invoke(sqs(s3Event("ObjectCreated:Put", "dags/a.py"), `{"what": "is this"}`, "no JSON", s3Event("ObjectCreated:Put", "dags/a.py")))
	require.JSONEq(t, `{"batchItemFailures":[{"itemIdentifier":"message-1"},{"itemIdentifier":"message-2"}]}`, string(result.Response))
	require.Equal(t, map[string]string{"dags/a.py": "a"}, f.live())

	result = f.invoke(object{"what": "is this"})
	require.Contains(t, result.FunctionError, "what")
}

func TestLambdaAcknowledgesWhatWillNotPass(t *testing.T) {
	f := newFunction(t, astrotest.Options{Deployments: []astrotest.Deployment{{DAGDeploysOff: true}}})
	f.put("dags/a.py", "a")
	result := f.invoke(sqs(s3Event("ObjectCreated:Put", "dags/a.py")))
	require.JSONEq(t, `{"batchItemFailures":[]}`, string(result.Response))
	require.Contains(t, string(f.Logs()), "--dag-deploy enable")
	result = f.invoke(object{})
	require.Empty(t, result.FunctionError)
	require.Contains(t, string(result.Response), `"outcome":"failed"`)
}

func TestLambdaReportsAWrongConfiguration(t *testing.T) {
	f := newFunction(t, astrotest.Options{}, "DAGBUCKET_MAX_WAIT=soon", "DAGBUCKET_STATE=s3://acme-dags/dags/state/")
	result := f.invoke(sqs(s3Event("ObjectCreated:Put", "dags/a.py")))
	require.JSONEq(t, `{"batchItemFailures":[]}`, string(result.Response), "it will not pass by itself")
	require.Contains(t, string(f.Logs()), "DAGBUCKET_MAX_WAIT")
	require.Contains(t, string(f.Logs()), "DAGBUCKET_STATE")
}

func TestLambdaNamesWhatIsWrongWithAStorage(t *testing.T) {
	for name, c := range map[string]struct{ env, says string }{
		"wrong secret":   {"AWS_SECRET_ACCESS_KEY=wrong-wrong-wrong", "the AWS credentials are wrong"},
		"unknown key":    {"AWS_ACCESS_KEY_ID=nobody", "the AWS credentials are wrong"},
		"missing source": {"DAGBUCKET_SOURCE=s3://acme-nothing/dags/", "s3://acme-nothing/dags/: no such bucket"},
		"missing state":  {"DAGBUCKET_STATE=s3://acme-nowhere/", "s3://acme-nowhere/"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFunction(t, astrotest.Options{}, c.env)
			f.put("dags/a.py", "a")
			result := f.invoke(object{})
			require.Empty(t, result.FunctionError, "it will not pass by itself")
			require.Contains(t, string(result.Response), c.says)
			require.NotContains(t, string(f.Logs())+string(result.Response), "wrong-wrong")
			require.Empty(t, f.live())
		})
	}
}

// TestLambdaReportsBeforeItsDeadline lets Astro never answer: Lambda sends no signal before it kills, so the function must have
// reported by then.
func TestLambdaReportsBeforeItsDeadline(t *testing.T) {
	for name, call := range map[string]astrotest.Call{"preflight": astrotest.GetDeployment, "upload": astrotest.Upload, "finalize": astrotest.Finalize} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFunction(t, astrotest.Options{})
			f.put("dags/a.py", "a")
			f.astro.Inject(astrotest.Fault{Call: call, Hang: true, Times: -1})
			payload, err := json.Marshal(sqs(s3Event("ObjectCreated:Put", "dags/a.py")))
			require.NoError(t, err)
			result, err := f.Invoke(t.Context(), payload, 5*time.Second)
			require.NoError(t, err)
			require.False(t, result.TimedOut, "it was killed: %s", f.Logs())
			require.JSONEq(t, `{"batchItemFailures":[{"itemIdentifier":"message-0"}]}`, string(result.Response))
			require.Contains(t, string(f.Logs()), "time ran out")
		})
	}
}

// TestLambdaSurvivesALostFinalize also lets Astro be slow and the storage be down for a moment.
func TestLambdaSurvivesALostFinalize(t *testing.T) {
	f := newFunction(t, astrotest.Options{})
	f.put("dags/a.py", "a")
	f.astro.Inject(astrotest.Fault{Call: astrotest.Finalize, TakesEffect: true, CutOff: true})
	result := f.invoke(sqs(s3Event("ObjectCreated:Put", "dags/a.py")))
	require.JSONEq(t, `{"batchItemFailures":[]}`, string(result.Response))
	require.Len(t, f.astro.Finalized(astrotest.DeploymentID), 1, "the lost answer was found by reading")
	f.put("dags/b.py", "b")
	f.astro.Inject(astrotest.Fault{Call: astrotest.CreateDeploy, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}})
	f.astro.Inject(astrotest.Fault{Call: astrotest.Upload, Status: http.StatusServiceUnavailable})
	f.invoke(sqs(s3Event("ObjectCreated:Put", "dags/b.py")))
	require.Equal(t, map[string]string{"dags/a.py": "a", "dags/b.py": "b"}, f.live())
	f.delete("dags/a.py")
	f.invoke(sqs(s3Event("ObjectRemoved:Delete", "dags/a.py")))
	require.Equal(t, map[string]string{"dags/b.py": "b"}, f.live())
}
