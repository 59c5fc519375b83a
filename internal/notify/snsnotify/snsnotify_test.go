package snsnotify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/notify"
	"github.com/dagbucket/dagbucket/internal/notify/notifytest"
	"github.com/dagbucket/dagbucket/internal/state"
)

const topic = "arn:aws:sns:eu-west-3:123456789012:dags"

// fakeSNS takes Publish requests in the query protocol, checks them as SNS does, and answers in turn, the last answer for ever.
type fakeSNS struct {
	t       *testing.T
	answers []string // code of an error, or "" for success

	mu        sync.Mutex
	published []url.Values
}

func (f *fakeSNS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	require.NoError(f.t, r.ParseForm())
	f.mu.Lock()
	f.published = append(f.published, r.PostForm)
	code := f.answers[min(len(f.published), len(f.answers))-1]
	f.mu.Unlock()
	if !strings.Contains(r.Header.Get("Authorization"), "/eu-west-3/sns/aws4_request") {
		code = "SignatureDoesNotMatch"
	}
	if code == "" {
		code = refuse(r.PostForm)
	}
	w.Header().Set("Content-Type", "text/xml")
	if code == "" {
		fmt.Fprint(w, `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>m-1</MessageId></PublishResult></PublishResponse>`)
		return
	}
	statuses := map[string]int{"Throttled": 429, "InternalError": 500, "NotFound": 404, "KMSThrottling": 400, "InvalidParameter": 400}
	w.WriteHeader(cmp.Or(statuses[code], http.StatusForbidden))
	fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>said SNS</Message></Error><RequestId>r-1</RequestId></ErrorResponse>`, code)
}

// refuse applies the rules of SNS's Publish.
func refuse(form url.Values) string {
	var forms map[string]string
	subject := form.Get("Subject")
	switch {
	case form.Get("Action") != "Publish", form.Get("Version") != "2010-03-31":
		return "InvalidAction"
	case len(subject) == 0 || len(subject) >= 100 || strings.ContainsFunc(subject, func(r rune) bool { return r < ' ' || r > '~' }) || subject[0] == ' ':
		return "InvalidParameter"
	case form.Get("MessageStructure") != "json" || json.Unmarshal([]byte(form.Get("Message")), &forms) != nil || forms["default"] == "":
		return "InvalidParameter"
	case len(form.Get("Message")) > 256<<10:
		return "InvalidParameter"
	case strings.HasSuffix(form.Get("TopicArn"), ".fifo") != form.Has("MessageGroupId"):
		return "InvalidParameter"
	}
	return ""
}

// newTopics are those of the configuration that the function has, with the variable that the SDK reads.
func newTopics(t *testing.T, answers ...string) (notify.Topics, *fakeSNS) {
	if len(answers) == 0 {
		answers = []string{""}
	}
	f := &fakeSNS{t: t, answers: answers}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_SNS": server.URL, "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "SECRET", "AWS_REGION": "us-east-1",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	cfg, err := config.LoadDefaultConfig(t.Context())
	require.NoError(t, err)
	return New(cfg), f
}

func TestEachKindIsPublished(t *testing.T) {
	for kind, n := range notifytest.Notices() {
		t.Run(kind, func(t *testing.T) {
			topics, sns := newTopics(t)
			require.NoError(t, topics(topic)(t.Context(), n))
			require.Len(t, sns.published, 1)
			got := sns.published[0]
			require.Equal(t, topic, got.Get("TopicArn"))
			require.Equal(t, notify.Subject(n), got.Get("Subject"))
			require.Equal(t, map[string]string{"kind": kind, "route": "prod"}, attributes(got))
			var forms map[string]string
			require.NoError(t, json.Unmarshal([]byte(got.Get("Message")), &forms))
			require.Equal(t, notify.Text(n), forms["default"])
			require.Equal(t, notify.Text(n), forms["email"])
			require.Equal(t, notify.Title(n), forms["sms"])
			for _, program := range []string{"sqs", "lambda", "http", "https", "firehose"} {
				require.Equal(t, string(notify.Body(n)), forms[program])
			}
		})
	}
}

// attributes are those that filter policies of subscriptions see.
func attributes(form url.Values) map[string]string {
	found := map[string]string{}
	for i := 1; form.Has(fmt.Sprintf("MessageAttributes.entry.%d.Name", i)); i++ {
		entry := fmt.Sprintf("MessageAttributes.entry.%d.", i)
		if form.Get(entry+"Value.DataType") == "String" {
			found[form.Get(entry+"Name")] = form.Get(entry + "Value.StringValue")
		}
	}
	return found
}

func TestFIFOTopics(t *testing.T) {
	topics, sns := newTopics(t)
	n := notifytest.Notices()[state.NoticeHeld]
	require.NoError(t, topics(topic+".fifo")(t.Context(), n))
	odd := *n
	odd.ID = "é " + strings.Repeat("x", 200)
	require.NoError(t, topics(topic+".fifo")(t.Context(), &odd))
	require.Equal(t, "prod", sns.published[0].Get("MessageGroupId"))
	require.Equal(t, n.ID, sns.published[0].Get("MessageDeduplicationId"))
	require.Regexp(t, "^[0-9a-f]{64}$", sns.published[1].Get("MessageDeduplicationId"))
}

// TestTheLongestNotice has names that grow with each of the encodings that they go through.
func TestTheLongestNotice(t *testing.T) {
	topics, sns := newTopics(t)
	n := &state.Notice{Kind: state.NoticeLeftOut, Route: "prod", Total: 30}
	for range state.NoticeFiles {
		n.Files = append(n.Files, state.NoticeFile{Path: strings.Repeat("\x01\"", 600), Reason: "unsafe", Message: strings.Repeat("\x02\\", 5000)})
	}
	require.NoError(t, topics(topic)(t.Context(), n))
	var forms map[string]string
	require.NoError(t, json.Unmarshal([]byte(sns.published[0].Get("Message")), &forms))
	require.Contains(t, forms["default"], "30 files are left out")
	require.Contains(t, forms["default"], "and 2")
	require.Len(t, n.Files, state.NoticeFiles, "the notice itself is as it was")
}

func TestErrors(t *testing.T) {
	for code, want := range map[string]string{
		"NotFound":              "there is no such topic in region eu-west-3: correct its ARN, or make the topic: ",
		"AuthorizationError":    "access is denied: allow sns:Publish on the topic to this function's role: ",
		"KMSAccessDenied":       "the topic is encrypted: allow kms:GenerateDataKey and kms:Decrypt on its key to this function's role: ",
		"InvalidClientTokenId":  "AWS does not know the credentials: correct them: ",
		"SignatureDoesNotMatch": "AWS does not accept the credentials: correct them: ",
		"InvalidParameter":      "SNS does not accept the notice: see that the topic's ARN is right: ",
	} {
		topics, sns := newTopics(t, code)
		err := topics(topic)(t.Context(), notifytest.Notices()[state.NoticeHeld])
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "said SNS")
		require.NotContains(t, err.Error(), "SECRET")
		require.True(t, isPermanent(err))
		require.Len(t, sns.published, 1)
	}
	topics, _ := newTopics(t)
	err := topics("dags")(t.Context(), notifytest.Notices()[state.NoticeHeld])
	require.ErrorContains(t, err, "dags is not the ARN of a topic")
	require.True(t, isPermanent(err))
}

func isPermanent(err error) bool {
	var permanent interface{ Permanent() bool }
	return errors.As(err, &permanent) && permanent.Permanent()
}

func TestWhatPassesIsTriedAgain(t *testing.T) {
	for _, code := range []string{"Throttled", "InternalError", "KMSThrottling"} {
		synctest.Test(t, func(t *testing.T) {
			sns := &fakeSNS{t: t, answers: []string{code, ""}}
			topics := New(aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKID", "SECRET", ""),
				HTTPClient: client(func(r *http.Request) (*http.Response, error) {
					w := httptest.NewRecorder()
					sns.ServeHTTP(w, r)
					return w.Result(), nil
				})})
			require.NoError(t, topics(topic)(t.Context(), notifytest.Notices()[state.NoticeHeld]), code)
			require.Len(t, sns.published, 2, code)
		})
	}
}

func TestATopicThatDoesNotAnswer(t *testing.T) {
	silent := aws.HTTPClient(client(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }))
	topics := New(aws.Config{Region: "eu-west-1", HTTPClient: silent, Credentials: aws.AnonymousCredentials{}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := topics(topic)(ctx, notifytest.Notices()[state.NoticeHeld])
	require.ErrorContains(t, err, "SNS in region eu-west-3 did not take it: ")
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, isPermanent(err))
}

type client func(*http.Request) (*http.Response, error)

func (c client) Do(r *http.Request) (*http.Response, error) { return c(r) }
