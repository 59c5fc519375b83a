//go:build infra

package infratest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rule is what every plan must keep. It returns what breaks it.
type rule struct {
	name  string
	check func(p plan) []string
	// breaks are plans of one resource, as JSON, that must not pass.
	breaks []string
}

var rules = []rule{
	{"AWS: no bucket is public", func(p plan) (bad []string) {
		blocks := p.of("aws_s3_bucket_public_access_block")
		for _, b := range p.of("aws_s3_bucket") {
			if !slices.ContainsFunc(blocks, b.isMeantBy) {
				bad = append(bad, b.Address+" has no public access block")
			}
		}
		for _, b := range blocks {
			for _, key := range []string{"block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"} {
				if b.Change.After[key] != true {
					bad = append(bad, b.Address+"."+key+" is not true")
				}
			}
		}
		return append(bad, p.none("aws_s3_bucket_acl", "aws_s3_bucket_website_configuration", "aws_lambda_function_url")...)
	}, []string{
		`[{"address": "b", "type": "aws_s3_bucket", "change": {"after": {"bucket": "x"}}}]`,
		`[{"address": "b", "type": "aws_s3_bucket_public_access_block", "change": {"after": {"bucket": "x", "block_public_acls": true, "block_public_policy": true, "ignore_public_acls": true}}}]`,
		`[{"address": "u", "type": "aws_lambda_function_url", "change": {"after": {}}}]`,
	}},
	{"AWS: nobody unknown is allowed anything", func(p plan) (bad []string) {
		for _, s := range p.policies() {
			var open string
			if s.Effect == "Allow" && (json.Unmarshal(s.Principal, &open) == nil && open == "*" || strings.Contains(string(s.Principal), `"*"`)) {
				bad = append(bad, s.where+" allows everybody")
			}
			if s.Effect == "Allow" && strings.Contains(string(s.Principal), `"Service"`) && !strings.Contains(s.where, "assume_role_policy") && !s.conditional() {
				bad = append(bad, s.where+" allows a service without saying for whom (aws:SourceArn, aws:SourceAccount, or what a key encrypts)")
			}
		}
		return bad
	}, []string{
		`[{"address": "q", "type": "aws_sqs_queue_policy", "change": {"after": {"policy": "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"sqs:SendMessage\",\"Resource\":\"q\"}]}"}}}]`,
		`[{"address": "q", "type": "aws_sqs_queue_policy", "change": {"after": {"policy": "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"*\"},\"Action\":\"sqs:SendMessage\",\"Resource\":\"q\"}]}"}}}]`,
		`[{"address": "q", "type": "aws_sqs_queue_policy", "change": {"after": {"policy": "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"events.amazonaws.com\"},\"Action\":\"sqs:SendMessage\",\"Resource\":\"q\"}]}"}}}]`,
	}},
	{"AWS: everything is encrypted", func(p plan) (bad []string) {
		encrypted := p.of("aws_s3_bucket_server_side_encryption_configuration")
		for _, b := range p.of("aws_s3_bucket") {
			if !slices.ContainsFunc(encrypted, b.isMeantBy) {
				bad = append(bad, b.Address+" has no encryption configuration")
			}
		}
		for _, q := range p.of("aws_sqs_queue") {
			if q.Change.After["sqs_managed_sse_enabled"] != true && q.text("kms_master_key_id") == "" {
				bad = append(bad, q.Address+" is not encrypted")
			}
		}
		customer := len(p.of("aws_kms_key")) > 0
		for _, kind := range []string{"aws_sns_topic", "aws_secretsmanager_secret", "aws_cloudwatch_log_group"} {
			for _, c := range p.of(kind) { // encrypted anyway, but for topics, which cannot be without a customer's key
				if customer && c.text("kms_master_key_id")+c.text("kms_key_id") == "" {
					bad = append(bad, c.Address+" does not use the key that is there")
				}
			}
		}
		return bad
	}, []string{
		`[{"address": "b", "type": "aws_s3_bucket", "change": {"after": {"bucket": "x"}}}]`,
		`[{"address": "q", "type": "aws_sqs_queue", "change": {"after": {"sqs_managed_sse_enabled": false}}}]`,
		`[{"address": "k", "type": "aws_kms_key", "change": {"after": {}}}, {"address": "t", "type": "aws_sns_topic", "change": {"after": {}}}]`,
	}},
	{"AWS: TLS only", func(p plan) (bad []string) {
		for _, kind := range [][2]string{{"aws_s3_bucket", "aws_s3_bucket_policy"}, {"aws_sqs_queue", "aws_sqs_queue_policy"}} {
			policies := 0
			for _, c := range p.of(kind[1]) {
				if strings.Contains(c.text("policy"), `"aws:SecureTransport"`) {
					policies++
				}
			}
			if n := len(p.of(kind[0])); n > policies {
				bad = append(bad, fmt.Sprintf("%d of %d %s may be spoken to without TLS", n-policies, n, kind[0]))
			}
		}
		return bad
	}, []string{
		`[{"address": "b", "type": "aws_s3_bucket", "change": {"after": {"bucket": "x"}}}]`,
		`[{"address": "q", "type": "aws_sqs_queue", "change": {"after": {}}}, {"address": "p", "type": "aws_sqs_queue_policy", "change": {"after": {"policy": "{}"}}}]`,
	}},
	{"AWS: logs end", func(p plan) (bad []string) {
		for _, g := range p.of("aws_cloudwatch_log_group") {
			if days, _ := g.Change.After["retention_in_days"].(float64); days <= 0 {
				bad = append(bad, g.Address+" keeps its logs for ever")
			}
		}
		for _, f := range p.of("aws_lambda_function") {
			if group, _ := f.block("logging_config")["log_group"].(string); group == "" {
				bad = append(bad, f.Address+" makes a log group of its own, without an end")
			}
		}
		return bad
	}, []string{
		`[{"address": "g", "type": "aws_cloudwatch_log_group", "change": {"after": {"name": "x", "retention_in_days": 0}}}]`,
		`[{"address": "f", "type": "aws_lambda_function", "change": {"after": {"logging_config": []}}}]`,
	}},
	{"AWS: nothing that blocks others", func(p plan) (bad []string) {
		for _, f := range p.of("aws_lambda_function") {
			if n, set := f.Change.After["reserved_concurrent_executions"].(float64); set && n >= 0 {
				bad = append(bad, f.Address+" takes concurrency from other functions")
			}
		}
		return bad
	}, []string{`[{"address": "f", "type": "aws_lambda_function", "change": {"after": {"reserved_concurrent_executions": 1}}}]`}},
	{"Google: nobody unknown is allowed anything", func(p plan) (bad []string) {
		for _, c := range p.changes {
			if member := c.text("member"); member == "allUsers" || member == "allAuthenticatedUsers" {
				bad = append(bad, c.Address+" allows everybody")
			}
			if strings.HasSuffix(c.Type, "_iam_binding") || strings.HasSuffix(c.Type, "_iam_policy") {
				bad = append(bad, c.Address+" takes roles from others")
			}
			switch role := c.text("role"); role {
			case "roles/owner", "roles/editor", "roles/viewer", "roles/storage.admin", "roles/pubsub.admin", "roles/secretmanager.admin":
				bad = append(bad, c.Address+" gives "+role)
			}
		}
		return bad
	}, []string{
		`[{"address": "m", "type": "google_storage_bucket_iam_member", "change": {"after": {"member": "allUsers"}}}]`,
		`[{"address": "m", "type": "google_storage_bucket_iam_binding", "change": {"after": {}}}]`,
		`[{"address": "m", "type": "google_project_iam_member", "change": {"after": {"role": "roles/editor"}}}]`,
	}},
	{"Google: no bucket is public", func(p plan) (bad []string) {
		for _, b := range p.of("google_storage_bucket") {
			if b.Change.After["uniform_bucket_level_access"] != true || b.text("public_access_prevention") != "enforced" {
				bad = append(bad, b.Address+" may become public")
			}
		}
		return bad
	}, []string{
		`[{"address": "b", "type": "google_storage_bucket", "change": {"after": {"uniform_bucket_level_access": true}}}]`,
		`[{"address": "b", "type": "google_storage_bucket", "change": {"after": {"public_access_prevention": "enforced"}}}]`,
	}},
	{"nothing in a bucket is destroyed with it", func(p plan) (bad []string) {
		for _, b := range append(p.of("google_storage_bucket"), p.of("aws_s3_bucket")...) {
			if b.Change.After["force_destroy"] == true {
				bad = append(bad, b.Address+" would be emptied")
			}
		}
		return bad
	}, []string{`[{"address": "b", "type": "aws_s3_bucket", "change": {"after": {"force_destroy": true}}}]`}},
}

// isMeantBy reports whether other belongs to the bucket c: by its ID, by its name, or, before those are known, since it is called the same.
func (c change) isMeantBy(other change) bool {
	if bucket := other.text("bucket"); bucket != "" {
		return bucket == c.text("id") || bucket == c.text("bucket")
	}
	return strings.Replace(other.Address, other.Type+".", c.Type+".", 1) == c.Address
}

// none returns the resources of types that should not be there.
func (p plan) none(kinds ...string) (bad []string) {
	for _, c := range p.changes {
		if slices.Contains(kinds, c.Type) {
			bad = append(bad, c.Address+" should not be there")
		}
	}
	return bad
}

type placed struct {
	statement
	where string
}

// policies are the statements of all planned policies.
func (p plan) policies() []placed {
	var all []placed
	for _, c := range p.changes {
		for _, key := range []string{"policy", "assume_role_policy"} {
			var document struct{ Statement []statement }
			if json.Unmarshal([]byte(c.text(key)), &document) != nil {
				continue
			}
			for _, s := range document.Statement {
				all = append(all, placed{s, c.Address + "." + key + " " + s.Sid})
			}
		}
	}
	return all
}

func (s statement) conditional() bool {
	for _, keys := range s.Condition {
		for key := range keys {
			if key == "aws:SourceArn" || key == "aws:SourceAccount" || strings.HasPrefix(key, "kms:EncryptionContext:") {
				return true
			}
		}
	}
	return false
}

func TestRules(t *testing.T) {
	each(t, func(t *testing.T, folder string) {
		plans := test(t, folder).plans
		require.NotEmpty(t, plans)
		for _, p := range plans {
			if strings.HasSuffix(p.file, "/unknown.tftest.hcl") {
				continue // what is around the module there is no example
			}
			for _, r := range rules {
				require.Empty(t, r.check(p), "%s: %s", p, r.name)
			}
		}
	})
}

// TestRulesCanBeBroken: a rule that lets everything pass protects nothing.
func TestRulesCanBeBroken(t *testing.T) {
	for _, r := range rules {
		require.NotEmpty(t, r.breaks, r.name)
		for _, b := range r.breaks {
			var p plan
			require.NoError(t, json.Unmarshal([]byte(b), &p.changes), b)
			require.NotEmpty(t, r.check(p), "%s: %s", r.name, b)
		}
	}
}

var (
	wildcard = regexp.MustCompile(`"([a-z0-9-]+:)?\*"`)
	reason   = regexp.MustCompile(`# wildcard: .{15,}`)
	// Everybody may be denied something; whether anybody unknown is allowed something is another rule's business.
	principal = regexp.MustCompile(`^\s*(#|Principal\s+=)`)
)

// TestWildcardsHaveAReason: an action or a resource that stands for all of them is explained on the line above.
func TestWildcardsHaveAReason(t *testing.T) {
	for _, module := range []string{"infra/aws", "infra/gcp"} {
		files, err := filepath.Glob(filepath.Join(root, module, "*.tf"))
		require.NoError(t, err)
		for _, f := range files {
			text, err := os.ReadFile(f)
			require.NoError(t, err)
			lines := strings.Split(string(text), "\n")
			for n, line := range lines {
				if wildcard.MatchString(line) && !principal.MatchString(line) {
					require.True(t, n > 0 && reason.MatchString(lines[n-1]), "%s:%d: say on the line above why: # wildcard: …\n%s", f, n+1, line)
				}
			}
		}
	}
	require.True(t, wildcard.MatchString(`Resource = "*"`) && wildcard.MatchString(`Action = ["kms:*"]`) && !wildcard.MatchString(`"arn:aws:s3:::b/*"`))
}
