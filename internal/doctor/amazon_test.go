package doctor_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/awswire"
	"github.com/dagbucket/dagbucket/internal/doctor"
	"github.com/dagbucket/dagbucket/internal/doctor/awsdoctor"
	"github.com/dagbucket/dagbucket/internal/s3server"
)

const (
	awsAccount  = "123456789012"
	queueARN    = "arn:aws:sqs:eu-west-1:123456789012:dagbucket"
	deadARN     = "arn:aws:sqs:eu-west-1:123456789012:dagbucket-dead-letters"
	functionARN = "arn:aws:lambda:eu-west-1:123456789012:function:dagbucket"
	secretARN   = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro-AbCdEf"
	awsConfig   = "s3://acme-state/dagbucket.yaml"
)

type object = map[string]any

// amazon is a healthy set-up on AWS as infra/aws makes it, behind one endpoint: S3 with the bucket's notification document, SQS, Lambda,
// EventBridge, Secrets Manager and STS, as far as doctor and a run ask them. Faults change its fields between calls.
type amazon struct {
	*setup
	s3 *s3server.Server

	mu            sync.Mutex
	refused       map[string]string // error codes by IAM action
	unconditional bool              // the storage does not honour conditions
	leaseLate     time.Duration     // how far the storage's clock is ahead in answers about the lease
	notifications notifications
	queues        map[string]map[string]string // attributes by name
	mappings      []object
	function      object // nil: there is none
	reserved      any    // its reserved concurrency
	rules         []object
	untargeted    bool   // the rules have no target
	secret        string // "" there is none
}

// notifications is a bucket's notification document.
type notifications struct {
	XMLName     xml.Name  `xml:"NotificationConfiguration"`
	Queues      []entry   `xml:"QueueConfiguration"`
	EventBridge *struct{} `xml:"EventBridgeConfiguration"`
	Topics      []direct  `xml:"TopicConfiguration"`
	Functions   []direct  `xml:"CloudFunctionConfiguration"`
}

type entry struct {
	ID     string   `xml:"Id"`
	Queue  string   `xml:"Queue"`
	Events []string `xml:"Event"`
	Rules  []filter `xml:"Filter>S3Key>FilterRule"`
}

// direct is an entry that sends to no queue.
type direct struct {
	ID       string   `xml:"Id"`
	Topic    string   `xml:"Topic,omitempty"`
	Function string   `xml:"CloudFunction,omitempty"`
	Events   []string `xml:"Event"`
}

type filter struct {
	Name, Value string
}

func healthyAmazon(t *testing.T) *amazon {
	a := &amazon{setup: newSetup(t), s3: s3server.New("acme-dags", "acme-state"), refused: map[string]string{}}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
		"AWS_SECRET_ACCESS_KEY": "AKIASECRET", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_MAX_ATTEMPTS": "1"} {
		t.Setenv(name, value)
	}
	clients := awswire.New(a.getenv)
	a.buckets, a.secrets = clients.Buckets(), clients.Secrets()
	a.clouds = func() map[string]doctor.Cloud { return map[string]doctor.Cloud{"s3": awsdoctor.New(a.getenv)} }
	a.place, a.env["DAGBUCKET_CONFIG"] = awsConfig, awsConfig
	a.settings = settings{Source: "s3://acme-dags/dags/", State: "s3://acme-state/", Deployment: astrotest.DeploymentID, Token: "aws-sm:" + secretARN, MaxWait: "3m"}
	a.secret = a.token
	a.wire()
	a.configure(a.settings.yaml())
	a.put("s3://acme-dags/dags/a.py", "a = 1")
	require.Equal(t, "deployed", string(a.sync().Outcome))
	return a
}

// wire makes everything from the bucket to the function as infra/aws does.
func (a *amazon) wire() {
	a.notifications = notifications{Queues: []entry{{"dagbucket-1", queueARN, []string{"s3:LifecycleExpiration:*", "s3:ObjectCreated:*", "s3:ObjectRemoved:*"},
		[]filter{{"Prefix", "dags/"}}}}}
	a.queues = map[string]map[string]string{
		"dagbucket": {"VisibilityTimeout": "1800", "RedrivePolicy": `{"deadLetterTargetArn":"` + deadARN + `","maxReceiveCount":10}`,
			"Policy": queuePolicy("s3.amazonaws.com", "arn:aws:s3:::acme-dags"), "SqsManagedSseEnabled": "true"},
		"dagbucket-dead-letters": {"ApproximateNumberOfMessages": "0"},
	}
	a.mappings = []object{{"UUID": "14e0db71-5d35-4eb5-b481-8945cf9d10c2", "EventSourceArn": queueARN, "FunctionArn": functionARN, "State": "Enabled",
		"FunctionResponseTypes": []string{"ReportBatchItemFailures"}, "LastProcessingResult": "No records processed"}}
	a.function = object{"FunctionName": "dagbucket", "FunctionArn": functionARN, "State": "Active", "LastUpdateStatus": "Successful", "Timeout": 300,
		"MemorySize": 512, "Environment": object{"Variables": object{"DAGBUCKET_CONFIG": awsConfig}}}
}

// throughEventBridge is the other way that infra/aws has.
func (a *amazon) throughEventBridge() {
	a.notifications = notifications{EventBridge: &struct{}{}}
	a.queues["dagbucket"]["Policy"] = queuePolicy("events.amazonaws.com", "arn:aws:events:eu-west-1:123456789012:rule/dagbucket-1")
	a.rules = []object{
		{"Name": "dagbucket-reconcile", "State": "ENABLED", "ScheduleExpression": "rate(5 minutes)"},
		{"Name": "dagbucket-1", "State": "ENABLED", "EventPattern": `{"source":["aws.s3"],"detail-type":["Object Created","Object Deleted"],` +
			`"detail":{"bucket":{"name":["acme-dags"]},"object":{"key":[{"prefix":"dags/"}]}}}`},
	}
}

func queuePolicy(service, source string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + service + `"},"Action":"sqs:SendMessage","Resource":"` + queueARN +
		`","Condition":{"ArnEquals":{"aws:SourceArn":["` + source + `"]},"StringEquals":{"aws:SourceAccount":["123456789012"]}}},` +
		`{"Sid":"TLSOnly","Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`
}

// reconfigure changes the settings and stores them.
func (a *amazon) reconfigure(change func(*settings)) {
	change(&a.settings)
	a.configure(a.settings.yaml())
}

// renew puts a token into the secret that Astro accepts.
func (a *amazon) renew() { a.secret = a.token }

func (a *amazon) setToken(organization string, expires time.Time) {
	a.secret = astrotest.Token(organization, expires)
}

func (a *amazon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	service, action, isRPC := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	query := r.URL.Query()
	switch {
	case isRPC:
		a.rpc(w, r, service, action)
	case strings.HasPrefix(r.URL.Path, "/2015-03-31/"), strings.HasPrefix(r.URL.Path, "/2019-09-30/"):
		a.lambda(w, r)
	case r.Method == http.MethodPost && r.URL.Path == "/":
		a.identity(w)
	case query.Has("notification"):
		if !a.refuseS3(w, "s3:GetBucketNotification") {
			w.Header().Set("Content-Type", "application/xml")
			_ = xml.NewEncoder(w).Encode(a.notifications)
		}
	default:
		a.storage(w, r)
	}
}

func (a *amazon) storage(w http.ResponseWriter, r *http.Request) {
	action := map[string]string{http.MethodPut: "s3:PutObject", http.MethodDelete: "s3:DeleteObject", http.MethodGet: "s3:GetObject"}[r.Method]
	if r.URL.Query().Has("list-type") {
		action = "s3:ListBucket"
	}
	bucket, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if a.refuseS3(w, action+" "+bucket) {
		return
	}
	if a.unconditional && r.Method == http.MethodPut {
		r.Header.Del("If-None-Match")
		r.Header.Del("If-Match")
	}
	if a.leaseLate > 0 && strings.HasSuffix(r.URL.Path, "/lease.json") {
		w.Header().Set("Date", time.Now().Add(a.leaseLate).UTC().Format(http.TimeFormat))
	}
	a.s3.ServeHTTP(w, r)
}

func (a *amazon) refuseS3(w http.ResponseWriter, action string) bool {
	code, refused := a.refused[action]
	if refused {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>User is not authorized to perform: %s</Message></Error>", code, action)
	}
	return refused
}

func (a *amazon) identity(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/xml")
	if code, refused := a.refused["sts:GetCallerIdentity"]; refused {
		if code == "" {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>The security token included in the request is expired</Message></Error></ErrorResponse>", code)
		return
	}
	fmt.Fprintf(w, "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::%[1]s:user/ops</Arn><UserId>AIDA</UserId><Account>%[1]s</Account>"+
		"</GetCallerIdentityResult></GetCallerIdentityResponse>", awsAccount)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Amzn-Errortype", code)
	reply(w, status, object{"__type": code, "message": "refused by the stand-in", "Message": "refused by the stand-in"})
}

// rpc answers the services that speak JSON.
func (a *amazon) rpc(w http.ResponseWriter, r *http.Request, service, action string) {
	var in object
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &in)
	prefix := map[string]string{"AmazonSQS": "sqs:", "AWSEvents": "events:", "secretsmanager": "secretsmanager:"}[service]
	if code, refused := a.refused[prefix+action]; refused {
		fail(w, http.StatusBadRequest, code)
		return
	}
	switch prefix + action {
	case "sqs:GetQueueUrl":
		name := in["QueueName"].(string)
		if a.queues[name] == nil {
			fail(w, http.StatusBadRequest, "com.amazonaws.sqs#QueueDoesNotExist")
			return
		}
		reply(w, http.StatusOK, object{"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/" + awsAccount + "/" + name})
	case "sqs:GetQueueAttributes":
		reply(w, http.StatusOK, object{"Attributes": a.queues[in["QueueUrl"].(string)[strings.LastIndex(in["QueueUrl"].(string), "/")+1:]]})
	case "events:ListRules":
		page, _ := in["NextToken"].(string) // each rule is a page
		if next := len(page) + 1; next < len(a.rules) {
			reply(w, http.StatusOK, object{"Rules": a.rules[len(page):next], "NextToken": page + "x"})
			return
		}
		reply(w, http.StatusOK, object{"Rules": a.rules[min(len(page), len(a.rules)):]})
	case "events:ListTargetsByRule":
		targets := []object{{"Id": "queue", "Arn": queueARN}}
		if a.untargeted {
			targets = nil
		}
		reply(w, http.StatusOK, object{"Targets": targets})
	case "events:TestEventPattern":
		reply(w, http.StatusOK, object{"Result": matches(in["EventPattern"].(string), in["Event"].(string))})
	case "secretsmanager:GetSecretValue":
		if a.secret == "" {
			fail(w, http.StatusBadRequest, "ResourceNotFoundException")
			return
		}
		reply(w, http.StatusOK, object{"ARN": secretARN, "Name": "astro", "SecretString": a.secret})
	default:
		fail(w, http.StatusBadRequest, "UnknownOperationException")
	}
}

// matches is as much of EventBridge's patterns as infra/aws writes: lists of texts and of prefixes.
func matches(pattern, event string) bool {
	var p, e any
	if json.Unmarshal([]byte(pattern), &p) != nil || json.Unmarshal([]byte(event), &e) != nil {
		return false
	}
	return matchesValue(p, e)
}

func matchesValue(pattern, event any) bool {
	if fields, ok := pattern.(object); ok {
		for key, p := range fields {
			of, _ := event.(object)
			if !matchesValue(p, of[key]) {
				return false
			}
		}
		return true
	}
	return slices.ContainsFunc(pattern.([]any), func(p any) bool {
		if o, ok := p.(object); ok {
			return strings.HasPrefix(event.(string), o["prefix"].(string))
		}
		return p == event
	})
}

func (a *amazon) lambda(w http.ResponseWriter, r *http.Request) {
	action := "lambda:GetFunctionConfiguration"
	switch {
	case strings.Contains(r.URL.Path, "event-source-mappings"):
		action = "lambda:ListEventSourceMappings"
	case strings.HasSuffix(r.URL.Path, "/concurrency"):
		action = "lambda:GetFunctionConcurrency"
	}
	code, refused := a.refused[action]
	name, _ := url.PathUnescape(r.URL.EscapedPath())
	switch {
	case refused:
		fail(w, http.StatusForbidden, code)
	case action == "lambda:ListEventSourceMappings":
		reply(w, http.StatusOK, object{"EventSourceMappings": slices.DeleteFunc(slices.Clone(a.mappings), func(m object) bool {
			return m["EventSourceArn"] != r.URL.Query().Get("EventSourceArn")
		})})
	case a.function == nil || !strings.Contains(name, functionARN):
		fail(w, http.StatusNotFound, "ResourceNotFoundException")
	case action == "lambda:GetFunctionConcurrency":
		reply(w, http.StatusOK, object{"ReservedConcurrentExecutions": a.reserved})
	default:
		reply(w, http.StatusOK, a.function)
	}
}
