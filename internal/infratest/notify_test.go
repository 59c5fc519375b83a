//go:build infra

package infratest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket/s3bucket"
	"github.com/dagbucket/dagbucket/internal/config"
)

// TestTheRoleMayTellAndShow: SNS's Publish on the routes' topics, and the calls of a Put where their status pages go; nothing beside that.
func TestTheRoleMayTellAndShow(t *testing.T) {
	topics, places := 0, 0
	for _, i := range installations(t) {
		if i.cloud != "aws" {
			continue
		}
		policy := i.rolePolicy(t)
		allowed := func(want bool, action, resource string, context map[string]string) {
			t.Helper()
			require.Equal(t, want, allows(t, policy, request{action, resource, context}), "%s: %s on %s with %v", i.plan, action, resource, context)
		}
		for _, route := range i.config.Routes {
			for _, target := range route.Notify {
				require.NotEqual(t, config.PubSub, target.Kind, i.plan)
				if target.Kind == config.SNS {
					topics++
					allowed(true, "sns:Publish", target.Address, nil)
					allowed(false, "sns:Publish", target.Address+"x", nil)
					allowed(false, "sns:Subscribe", target.Address, nil)
				}
			}
			if route.Status == nil {
				continue
			}
			places++
			place := "arn:aws:s3:::" + route.Status.Bucket
			for _, page := range []string{"status.json", "status.html"} {
				for _, operation := range []string{"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload"} {
					allowed(true, s3bucket.Writing[operation], place+"/"+route.Status.Prefix+page, nil)
				}
				allowed(false, "s3:DeleteObject", place+"/"+route.Status.Prefix+page, nil)
			}
			if route.Status.Prefix != "" {
				allowed(false, "s3:PutObject", place+"/status.html", nil)
			}
		}
		for _, s := range policy {
			if s.Sid == "TopicKeys" || s.Sid == "StatusKeys" {
				service := map[string]string{"TopicKeys": "sns", "StatusKeys": "s3"}[s.Sid]
				for _, key := range s.Resource {
					via := map[string]string{"kms:ViaService": service + "." + strings.Split(key, ":")[3] + ".amazonaws.com"}
					allowed(true, "kms:GenerateDataKey", key, via)
					allowed(true, "kms:Decrypt", key, via)
					allowed(false, "kms:GenerateDataKey", key, nil)
				}
			}
		}
	}
	require.NotZero(t, topics)
	require.NotZero(t, places)
}

var startsWith = regexp.MustCompile(`resource\.name\.startsWith\("([^"]+)"\)`)

// grants are the resources of a kind, as the part of a bucket, topic or secret that the function's account has a role on.
func (i *installed) grants(kind, role string, of func(change) []string) (found []string) {
	for _, c := range i.of(kind) {
		if c.text("role") == role && strings.Contains(c.text("member"), "-run@") {
			found = append(found, of(c)...)
		}
	}
	return found
}

// TestTheAccountMayTellAndShow: the same on Google Cloud, where rights are roles on topics, on parts of buckets and on secrets.
func TestTheAccountMayTellAndShow(t *testing.T) {
	topics, places := 0, 0
	for _, i := range installations(t) {
		if i.cloud != "gcp" || strings.Contains(i.file, "unknown") {
			continue
		}
		published := i.grants("google_pubsub_topic_iam_member", "roles/pubsub.publisher", func(c change) []string {
			return []string{"projects/" + c.text("project") + "/topics/" + c.text("topic")}
		})
		written := i.grants("google_storage_bucket_iam_member", "roles/storage.objectUser", func(c change) (parts []string) {
			for _, part := range startsWith.FindAllStringSubmatch(stringOf(c.block("condition")["expression"]), -1) {
				parts = append(parts, part[1])
			}
			return parts
		})
		read := i.grants("google_secret_manager_secret_iam_member", "roles/secretmanager.secretAccessor", func(c change) []string {
			return []string{"projects/" + c.text("project") + "/secrets/" + c.text("secret_id")}
		})
		var wanted, shown []string
		for _, route := range i.config.Routes {
			for _, target := range route.Notify {
				require.NotEqual(t, config.SNS, target.Kind, i.plan)
				if target.Kind == config.PubSub && !slices.Contains(wanted, target.Address) {
					wanted = append(wanted, target.Address)
				}
			}
			if route.Status != nil && !i.leftToOwner(route.Status.Bucket) {
				shown = append(shown, "projects/_/buckets/"+route.Status.Bucket+"/objects/"+route.Status.Prefix)
			}
			for _, reference := range append(references(route), route.Token) {
				secret, _, _ := strings.Cut(strings.TrimPrefix(reference, "gcp-sm:"), "/versions/")
				require.Contains(t, read, secret, i.plan)
			}
		}
		topics, places = topics+len(wanted), places+len(shown)
		require.ElementsMatch(t, wanted, published, i.plan)
		require.ElementsMatch(t, shown, written, i.plan)
	}
	require.NotZero(t, topics)
	require.NotZero(t, places)
}

func stringOf(value any) string { s, _ := value.(string); return s }

// leftToOwner reports whether a bucket's owner has to grant what the function needs.
func (i *installed) leftToOwner(bucket string) bool {
	commands, _ := i.outputs["connect_commands"].(map[string]any)
	_, left := commands[bucket]
	return left
}
