package awssecret

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"
)

// answer is what the fake says: a status and a JSON body, or "" to cut the connection.
type answer struct {
	status int
	body   string
}

const throttled = `{"__type":"ThrottlingException","message":"Rate exceeded"}`

// fakeAWS speaks AWS's JSON 1.1. It gives the answers in turn, the last one for ever, and checks what it is asked.
func fakeAWS(t *testing.T, target, body, region string, answers ...answer) (cfg aws.Config, requests *atomic.Int64) {
	requests = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked map[string]any
		signedFor := "/" + region + "/"
		if json.NewDecoder(r.Body).Decode(&asked) != nil || r.Header.Get("X-Amz-Target") != target || fmt.Sprint(asked) != body ||
			!strings.Contains(r.Header.Get("Authorization"), signedFor) {
			t.Errorf("asked %s %v, signed %s", r.Header.Get("X-Amz-Target"), asked, r.Header.Get("Authorization"))
		}
		a := answers[min(int(requests.Add(1)), len(answers))-1]
		if a.body == "" {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(a.body))
	}))
	t.Cleanup(server.Close)
	return aws.Config{
		Region:       "eu-west-1",
		BaseEndpoint: aws.String(server.URL),
		Credentials:  credentials.NewStaticCredentialsProvider("AKID", "KEY", ""),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			})
		},
	}, requests
}

func refused(code string) answer {
	return answer{400, `{"__type":"` + code + `","message":"no"}`}
}

const secretARN = "arn:aws:secretsmanager:us-east-2:123456789012:secret:astro-AbCdEf"

func secretOf(text string) answer {
	body, err := json.Marshal(map[string]string{"Name": "astro", "SecretString": text})
	if err != nil {
		panic(err)
	}
	return answer{200, string(body)}
}

type readCase struct {
	name, ref, asked, region string
	answers                  []answer
	want, wantErr            string
	permanent                bool
	requests                 int64
}

func (c readCase) run(t *testing.T, target string) {
	cfg, requests := fakeAWS(t, target, c.asked, c.region, c.answers...)
	got, err := Sources(cfg).Resolve(t.Context(), c.ref)
	require.Equal(t, c.want, got)
	require.Equal(t, c.requests, requests.Load())
	if c.wantErr == "" {
		require.NoError(t, err)
		return
	}
	require.ErrorContains(t, err, "secret "+c.ref+": ")
	require.ErrorContains(t, err, c.wantErr)
	require.NotContains(t, err.Error(), "SECRET")
	var p interface{ Permanent() bool }
	require.Equal(t, c.permanent, errors.As(err, &p) && p.Permanent(), "permanent: %v", err)
}

func TestSecretsManager(t *testing.T) {
	const asked, ref = "map[SecretId:astro]", "aws-sm:astro"
	object := []answer{secretOf(`{"token":"SECRET","n":1,"e":""}`)}
	cases := []readCase{
		{name: "text", ref: ref, answers: []answer{secretOf("SECRET")}, want: "SECRET", requests: 1},
		{name: "line end", ref: ref, answers: []answer{secretOf("SECRET\n")}, want: "SECRET", requests: 1},
		{
			name: "ARN of another region", ref: "aws-sm:" + secretARN, asked: "map[SecretId:" + secretARN + "]", region: "us-east-2",
			answers: []answer{secretOf("SECRET")}, want: "SECRET", requests: 1,
		},
		{name: "key", ref: ref + "#token", answers: object, want: "SECRET", requests: 1},
		{name: "object without key", ref: ref, answers: object, wantErr: "it is a JSON object: add #key", permanent: true, requests: 1},
		{name: "no such key", ref: ref + "#tokn", answers: object, wantErr: `has no key "tokn": correct the key`, permanent: true, requests: 1},
		{name: "no key after #", ref: ref + "#", answers: object, wantErr: `has no key ""`, permanent: true, requests: 1},
		{name: "key of a number", ref: ref + "#n", answers: object, wantErr: `the value of "n" in its JSON object is not text`, permanent: true, requests: 1},
		{name: "key of an empty text", ref: ref + "#e", answers: object, wantErr: "it is empty", permanent: true, requests: 1},
		{name: "key but no object", ref: ref + "#token", answers: []answer{secretOf("SECRET")}, wantErr: "not a JSON object: leave out #token", permanent: true, requests: 1},
		{name: "key but null", ref: ref + "#token", answers: []answer{secretOf("null")}, wantErr: "not a JSON object", permanent: true, requests: 1},
		{name: "text that begins as an object", ref: ref, answers: []answer{secretOf("{SECRET")}, want: "{SECRET", requests: 1},
		{name: "empty", ref: ref, answers: []answer{secretOf("")}, wantErr: "it is empty", permanent: true, requests: 1},
		{name: "binary", ref: ref, answers: []answer{{200, `{"SecretBinary":"U0VDUkVU"}`}}, wantErr: "it is a binary secret: store it as text", permanent: true, requests: 1},
		{name: "missing", ref: ref, answers: []answer{refused("ResourceNotFoundException")}, wantErr: "there is no such secret in region eu-west-1: correct", permanent: true, requests: 1},
		{name: "denied", ref: ref, answers: []answer{refused("AccessDeniedException")}, wantErr: "allow secretsmanager:GetSecretValue on it", permanent: true, requests: 1},
		{name: "being deleted", ref: ref, answers: []answer{refused("InvalidRequestException")}, wantErr: "marked for deletion; restore it", permanent: true, requests: 1},
		{name: "key disabled", ref: ref, answers: []answer{refused("DecryptionFailure")}, wantErr: "allow kms:Decrypt", permanent: true, requests: 1},
		{name: "wrong credentials", ref: ref, answers: []answer{refused("UnrecognizedClientException")}, wantErr: "does not know the credentials", permanent: true, requests: 1},
		{name: "throttled, then well", ref: ref, answers: []answer{{400, throttled}, {400, throttled}, secretOf("SECRET")}, want: "SECRET", requests: 3},
		{name: "throttled for long", ref: ref, answers: []answer{{400, throttled}}, wantErr: "ThrottlingException", requests: 3},
		{name: "server fault", ref: ref, answers: []answer{{500, `{"__type":"InternalServiceError"}`}}, wantErr: "InternalServiceError", requests: 3},
		{name: "connection cut", ref: ref, answers: []answer{{}}, wantErr: "cannot be read from AWS in region eu-west-1", requests: 3},
		{name: "answer that is no JSON", ref: ref, answers: []answer{{200, "SECRET"}}, wantErr: "cannot be read from AWS", requests: 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.asked == "" {
				c.asked, c.region = asked, "eu-west-1"
			}
			c.run(t, "secretsmanager.GetSecretValue")
		})
	}
}

func TestParameterStore(t *testing.T) {
	const asked, ref = "map[Name:/acme/astro WithDecryption:true]", "aws-ssm:/acme/astro"
	found := answer{200, `{"Parameter":{"Name":"/acme/astro","Type":"SecureString","Value":"SECRET"}}`}
	const shared = "arn:aws:ssm:us-east-2:123456789012:parameter/acme/astro"
	cases := []readCase{
		{name: "found", ref: ref, answers: []answer{found}, want: "SECRET", requests: 1},
		{
			name: "shared from another region", ref: "aws-ssm:" + shared, asked: "map[Name:" + shared + " WithDecryption:true]", region: "us-east-2",
			answers: []answer{found}, want: "SECRET", requests: 1,
		},
		{name: "missing", ref: ref, answers: []answer{refused("ParameterNotFound")}, wantErr: "there is no such parameter in region eu-west-1", permanent: true, requests: 1},
		{name: "denied", ref: ref, answers: []answer{refused("AccessDeniedException")}, wantErr: "allow ssm:GetParameter on it", permanent: true, requests: 1},
		{name: "bad name", ref: ref, answers: []answer{refused("ValidationException")}, wantErr: "AWS does not accept the reference", permanent: true, requests: 1},
		{name: "nothing in the answer", ref: ref, answers: []answer{{200, `{}`}}, wantErr: "without a parameter", requests: 1},
		{name: "throttled, then well", ref: ref, answers: []answer{{400, throttled}, found}, want: "SECRET", requests: 2},
		{name: "throttled for long", ref: ref, answers: []answer{{400, throttled}}, wantErr: "ThrottlingException", requests: 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.asked == "" {
				c.asked, c.region = asked, "eu-west-1"
			}
			c.run(t, "AmazonSSM.GetParameter")
		})
	}
}

func TestNoRegion(t *testing.T) {
	for _, ref := range []string{"aws-sm:astro", "aws-ssm:/acme/astro"} {
		_, err := Sources(aws.Config{}).Resolve(t.Context(), ref)
		require.ErrorContains(t, err, "secret "+ref+": no AWS region is known: set AWS_REGION, or write the whole ARN")
		var p interface{ Permanent() bool }
		require.ErrorAs(t, err, &p)
		require.True(t, p.Permanent())
	}
}
