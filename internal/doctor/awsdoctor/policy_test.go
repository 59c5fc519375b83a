package awsdoctor

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMaySend(t *testing.T) {
	t.Parallel()
	const service, source = "s3.amazonaws.com", "arn:aws:s3:::acme-dags"
	statement := func(effect, principal, action, condition string) string {
		return `{"Statement":[{"Effect":"` + effect + `","Principal":` + principal + `,"Action":` + action + `,"Condition":` + condition + `}]}`
	}
	const s3, send, forBucket = `{"Service":"s3.amazonaws.com"}`, `"sqs:SendMessage"`, `{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:*:*:acme-*"}}`
	for name, c := range map[string]struct {
		policy string
		want   bool
	}{
		"allowed":               {statement("Allow", s3, send, forBucket), true},
		"one statement":         {`{"Statement":{"Effect":"Allow","Principal":"*","Action":"SQS:*"}}`, true},
		"lists":                 {statement("Allow", `{"Service":["events.amazonaws.com","s3.amazonaws.com"]}`, `["sqs:GetQueueUrl","sqs:SendMessage"]`, "{}"), true},
		"everybody":             {statement("Allow", `{"AWS":"*"}`, `"*"`, forBucket), true},
		"another condition":     {statement("Allow", s3, send, `{"StringEquals":{"aws:SourceAccount":"1"}}`), true},
		"all but another":       {statement("Allow", s3, send, `{"ArnNotLike":{"aws:SourceArn":"arn:aws:s3:::old"}}`), true},
		"denied":                {statement("Deny", s3, send, forBucket), false},
		"another service":       {statement("Allow", `{"Service":"sns.amazonaws.com"}`, send, forBucket), false},
		"another action":        {statement("Allow", s3, `"sqs:ReceiveMessage"`, forBucket), false},
		"another bucket":        {statement("Allow", s3, send, `{"ArnEquals":{"aws:SourceArn":["arn:aws:s3:::old"]}}`), false},
		"no policy":             {"", false},
		"not a policy":          {`[1]`, false},
		"a person in the place": {statement("Allow", `{"AWS":"arn:aws:iam::1:root"}`, send, "{}"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, maySend(c.policy, service, source))
		})
	}
}
