//go:build infra

package infratest

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket/s3bucket"
	"github.com/dagbucket/dagbucket/internal/config"
)

// texts is a list that IAM also allows to be one text.
type texts []string

func (t *texts) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

type statement struct {
	Sid, Effect      string
	Action, Resource texts
	NotAction        texts
	NotResource      texts
	Principal        json.RawMessage
	Condition        map[string]map[string]texts
}

func statements(t *testing.T, policy string) []statement {
	t.Helper()
	var document struct {
		Version   string
		Statement []statement
	}
	require.NoError(t, json.Unmarshal([]byte(policy), &document), policy)
	require.Equal(t, "2012-10-17", document.Version)
	require.NotEmpty(t, document.Statement)
	return document.Statement
}

// request is one call, as IAM sees it.
type request struct {
	action, resource string
	context          map[string]string
}

// allows evaluates a role's policy for one call.
func allows(t *testing.T, policy []statement, r request) bool {
	t.Helper()
	allowed := false
	for _, s := range policy {
		require.Empty(t, s.NotAction, s.Sid)
		require.Empty(t, s.NotResource, s.Sid)
		if !matchesAny(s.Action, r.action) || !matchesAny(s.Resource, r.resource) || !s.meets(t, r.context) {
			continue
		}
		if s.Effect == "Deny" {
			return false
		}
		allowed = true
	}
	return allowed
}

func (s statement) meets(t *testing.T, context map[string]string) bool {
	t.Helper()
	for operator, keys := range s.Condition {
		for key, want := range keys {
			have, given := context[key]
			switch operator {
			case "StringEquals", "ArnEquals":
				if !given || !slices.Contains(want, have) {
					return false
				}
			case "StringLike":
				if !given || !matchesAny(want, have) {
					return false
				}
			default:
				t.Fatalf("%s: the operator %s is not known here", s.Sid, operator)
			}
		}
	}
	return true
}

// matchesAny compares with IAM's patterns, in which * also stands for slashes.
func matchesAny(patterns texts, s string) bool {
	plain := strings.NewReplacer("/", "\x00", "[", "\x01", "]", "\x01")
	for _, p := range patterns {
		if ok, _ := path.Match(plain.Replace(p), plain.Replace(s)); ok {
			return true
		}
	}
	return false
}

// rolePolicy is all that the function's role may do.
func (i *installed) rolePolicy(t *testing.T) []statement {
	t.Helper()
	require.Empty(t, i.of("aws_iam_role_policy_attachment"), "%s: managed policies allow more than is needed", i.plan)
	var all []statement
	for _, p := range i.of("aws_iam_role_policy") {
		all = append(all, statements(t, p.text("policy"))...)
	}
	return all
}

// TestTheRoleMayDoWhatTheCodeDoes: each call that is listed beside the code is allowed where the code makes it, and none of them elsewhere.
func TestTheRoleMayDoWhatTheCodeDoes(t *testing.T) {
	checked := 0
	for _, i := range installations(t) {
		if i.cloud != "aws" {
			continue
		}
		checked++
		policy := i.rolePolicy(t)
		allowed := func(want bool, action, resource string, context map[string]string) {
			t.Helper()
			require.Equal(t, want, allows(t, policy, request{action, resource, context}), "%s: %s on %s with %v", i.plan, action, resource, context)
		}
		state := "arn:aws:s3:::" + i.state
		for _, route := range i.config.Routes {
			for _, source := range route.Sources {
				place := "arn:aws:s3:::" + source.URL.Bucket
				for operation, action := range s3bucket.Reading {
					if action == "s3:ListBucket" {
						allowed(true, action, place, map[string]string{"s3:prefix": source.URL.Prefix})
						continue
					}
					allowed(true, action, place+"/"+source.URL.Prefix+"a/b.py", nil)
					require.NotEmpty(t, operation)
				}
				for _, action := range s3bucket.Writing {
					allowed(false, action, place, nil)
					allowed(false, action, place+"/"+source.URL.Prefix+"a.py", nil)
				}
				if source.URL.Prefix != "" {
					allowed(false, "s3:ListBucket", place, map[string]string{"s3:prefix": ""})
					allowed(false, "s3:ListBucket", place, nil)
					allowed(false, "s3:GetObject", place+"/elsewhere.py", nil)
				}
			}
			all := maps.Clone(s3bucket.Reading)
			maps.Copy(all, s3bucket.Writing)
			for _, action := range all {
				switch action {
				case "s3:ListBucket", "s3:ListBucketMultipartUploads":
					allowed(true, action, state, map[string]string{"s3:prefix": i.config.State.Prefix + route.Name + "/"})
				default:
					allowed(true, action, fmt.Sprintf("%s/%s%s/bundles/x.tar.gz", state, i.config.State.Prefix, route.Name), nil)
				}
			}
			for _, reference := range append(references(route), route.Token) {
				action, resource := readSecret(reference)
				require.NotEmpty(t, action, "%s: a function cannot read %s", i.plan, reference)
				allowed(true, action, resource, nil)
				allowed(false, action, resource+"x", nil)
				allowed(false, "secretsmanager:PutSecretValue", resource, nil)
			}
		}
		allowed(true, "s3:GetObject", state+"/dagbucket.yaml", nil)
		allowed(false, "s3:PutObject", state+"/dagbucket.yaml", nil)
		allowed(false, "s3:DeleteObject", state+"/dagbucket.yaml", nil)
		if len(i.config.Routes) <= 40 { // more would make the policy too long
			allowed(false, "s3:PutObject", state+"/another-route/record.json", nil)
		}
		allowed(false, "s3:GetObject", "arn:aws:s3:::another-bucket/dags/a.py", nil)

		known := texts{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "logs:CreateLogStream", "logs:PutLogEvents",
			"secretsmanager:GetSecretValue", "ssm:GetParameter", "kms:Decrypt", "kms:GenerateDataKey", "sns:Publish"}
		for _, calls := range []map[string]string{s3bucket.Reading, s3bucket.Writing} {
			known = slices.AppendSeq(known, maps.Values(calls))
		}
		if i.function.block("vpc_config") != nil {
			known = append(known, "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface", "ec2:DescribeSubnets",
				"ec2:DescribeSecurityGroups", "ec2:DescribeVpcs", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses")
		}
		for _, s := range policy {
			for _, action := range s.Action {
				require.Contains(t, known, action, "%s: %s", i.plan, s.Sid)
			}
		}
	}
	require.NotZero(t, checked)
	t.Logf("%d plans", checked)
}

// references are the secrets that a route's notices need.
func references(route config.Route) (found []string) {
	for _, target := range route.Notify {
		for _, reference := range []string{target.Reference, target.Secret} {
			if reference != "" {
				found = append(found, reference)
			}
		}
	}
	return found
}

// readSecret is the call that reads what a reference names; "" if AWS's code cannot.
func readSecret(reference string) (action, resource string) {
	scheme, resource, _ := strings.Cut(reference, ":")
	resource, _, _ = strings.Cut(resource, "#")
	switch scheme {
	case "aws-sm":
		return "secretsmanager:GetSecretValue", resource
	case "aws-ssm":
		if !strings.HasPrefix(resource, "arn:") {
			resource = "arn:aws:ssm:eu-west-1:123456789012:parameter/" + strings.TrimPrefix(resource, "/")
		}
		return "ssm:GetParameter", resource
	}
	return "", ""
}

// TestPolicyEvaluation: what checks policies is checked.
func TestPolicyEvaluation(t *testing.T) {
	policy := statements(t, `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": "s3:GetObject", "Resource": ["arn:aws:s3:::b/dags/*"]},
		{"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": "arn:aws:s3:::b", "Condition": {"StringEquals": {"s3:prefix": ["dags/"]}}},
		{"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/dags/secret"},
		{"Effect": "Allow", "Action": ["kms:*"], "Resource": "*", "Condition": {"StringLike": {"kms:ViaService": "s3.*.amazonaws.com"}}}]}`)
	for _, c := range []struct {
		r    request
		want bool
	}{
		{request{"s3:GetObject", "arn:aws:s3:::b/dags/x/y.py", nil}, true},
		{request{"s3:GetObject", "arn:aws:s3:::b/dags", nil}, false},
		{request{"s3:GetObject", "arn:aws:s3:::b/dags/secret", nil}, false},
		{request{"s3:PutObject", "arn:aws:s3:::b/dags/x", nil}, false},
		{request{"s3:ListBucket", "arn:aws:s3:::b", nil}, false},
		{request{"s3:ListBucket", "arn:aws:s3:::b", map[string]string{"s3:prefix": "dags/x"}}, false},
		{request{"s3:ListBucket", "arn:aws:s3:::b", map[string]string{"s3:prefix": "dags/"}}, true},
		{request{"kms:Decrypt", "k", map[string]string{"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}, true},
		{request{"kms:Decrypt", "k", map[string]string{"kms:ViaService": "sqs.eu-west-1.amazonaws.com"}}, false},
	} {
		require.Equal(t, c.want, allows(t, policy, c.r), "%v", c.r)
	}
}
