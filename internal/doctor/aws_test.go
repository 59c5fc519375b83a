package doctor_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/doctor"
	"github.com/dagbucket/dagbucket/internal/doctor/awsdoctor"
	"github.com/dagbucket/dagbucket/internal/state"
)

const awsRecord = "s3://acme-state/prod/record.json"

// TestAmazonFaults has every single fault of a set-up on AWS.
func TestAmazonFaults(t *testing.T) {
	rows := append(storageFaults(), astroFaults()...)
	rows = append(rows, notificationFaults()...)
	rows = append(rows, queueFaults()...)
	rows = append(rows, functionFaults()...)
	rows = append(rows, runFaults()...)
	runTable(t, rows, healthyAmazon)
}

type awsRow = row[*amazon]

func (a *amazon) refuse(action string)                     { a.refused[action] = "AccessDenied" }
func (a *amazon) allow(action string)                      { delete(a.refused, action) }
func (a *amazon) rewrite(change func(e *entry))            { change(&a.notifications.Queues[0]) }
func (a *amazon) queue(name, value string)                 { a.queues["dagbucket"][name] = value }
func (a *amazon) deployment(f func(*astrotest.Deployment)) { a.astro.Update(astrotest.DeploymentID, f) }

// refusal and permission are a fault and its repair.
func refusal(action string) func(*amazon)    { return func(a *amazon) { a.refuse(action) } }
func permission(action string) func(*amazon) { return func(a *amazon) { a.allow(action) } }

func rewire(a *amazon) { a.wire() }

func storageFaults() []awsRow {
	return []awsRow{
		{"no AWS region", func(a *amazon) { a.t.Setenv("AWS_REGION", "") }, false, 1, "credentials", "no AWS region is set", "AWS_REGION",
			func(a *amazon) { a.t.Setenv("AWS_REGION", "eu-west-1") }},
		{"no AWS credentials", func(a *amazon) { a.t.Setenv("AWS_ACCESS_KEY_ID", ""); a.t.Setenv("AWS_SECRET_ACCESS_KEY", "") }, false,
			1, "credentials", "no AWS credentials were found", "AWS_PROFILE",
			func(a *amazon) {
				a.t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
				a.t.Setenv("AWS_SECRET_ACCESS_KEY", "AKIASECRET")
			}},
		{"the AWS credentials have expired", func(a *amazon) { a.refused["sts:GetCallerIdentity"] = "ExpiredToken" }, false,
			1, "credentials", "AWS does not accept them: ExpiredToken", "log in again", permission("sts:GetCallerIdentity")},
		{"AWS cannot be asked whose credentials these are", func(a *amazon) { a.refused["sts:GetCallerIdentity"] = "" }, false,
			2, "credentials", "AWS cannot be asked", "sts.eu-west-1.amazonaws.com", permission("sts:GetCallerIdentity")},
		{"DAGBUCKET_CONFIG names no file", func(a *amazon) { a.env["DAGBUCKET_CONFIG"] = "s3://acme-state/dagbucket.yml" }, false,
			1, "configuration", "cannot be read", "correct s3://acme-state/dagbucket.yml", func(a *amazon) { a.env["DAGBUCKET_CONFIG"] = awsConfig }},
		{"the configuration has two mistakes", func(a *amazon) {
			a.reconfigure(func(s *settings) { s.MaxWait, s.Extra = "3", "    on_drift: sometimes\n" })
		}, false, 1, "configuration", "has 2 problems", "correct " + awsConfig, func(a *amazon) {
			a.reconfigure(func(s *settings) { s.MaxWait, s.Extra = "3m", "" })
		}},
		{"the source bucket does not exist", func(a *amazon) { a.reconfigure(func(s *settings) { s.Source = "s3://acme-dag/dags/" }) }, false,
			1, "source", "no such bucket", "correct its name", func(a *amazon) { a.reconfigure(func(s *settings) { s.Source = "s3://acme-dags/dags/" }) }},
		{"the source may not be listed", refusal("s3:ListBucket acme-dags"), false, 1, "source", "s3:ListBucket", "list the source", permission("s3:ListBucket acme-dags")},
		{"the source's files may not be read", refusal("s3:GetObject acme-dags"), false, 1, "source", "not read", "read the source's files", permission("s3:GetObject acme-dags")},
		{"the prefix has a typing error", func(a *amazon) { a.reconfigure(func(s *settings) { s.Source = "s3://acme-dags/dag/" }); a.everything() }, false,
			2, "source", "holds no file", "correct the prefix", func(a *amazon) { a.reconfigure(func(s *settings) { s.Source = "s3://acme-dags/dags/" }) }},
		{"the state may not be written", refusal("s3:PutObject acme-state"), false, 1, "state", "s3:PutObject", "write", permission("s3:PutObject acme-state")},
		{"the state may not be deleted from", func(a *amazon) { a.refuse("s3:DeleteObject acme-state"); a.litters = true }, false, 1, "state", "s3:DeleteObject", "delete",
			func(a *amazon) { a.allow("s3:DeleteObject acme-state"); a.litters = false; a.sweep() }},
		{"the state's store ignores conditions", func(a *amazon) { a.unconditional = true }, false, 1, "state", "must only be created", "honours conditional writes",
			func(a *amazon) { a.unconditional = false }},
		{"the record is damaged", func(a *amazon) { a.put(awsRecord, "{") }, false, 1, "record", "is damaged", "delete it to have it rebuilt",
			func(a *amazon) { a.remove(awsRecord); a.sync() }},
		{"the record is of a newer dagbucket", func(a *amazon) { a.replace(awsRecord, `"format": 1`, `"format": 9`) }, false, 1, "record", "format 9", "newer dagbucket",
			func(a *amazon) { a.remove(awsRecord); a.sync() }},
		{"the record is of another Deployment", func(a *amazon) { a.edit(func(r *state.Record) { r.Target.Deployment = "clmold" }) }, false,
			2, "record", "it is of Deployment clmold", "correct the route's deployment",
			func(a *amazon) { a.edit(func(r *state.Record) { r.Target.Deployment = astrotest.DeploymentID }) }},
		{"this machine's clock is 10 minutes late", func(a *amazon) { a.late = 10 * time.Minute }, false, 2, "clock", "behind the storage's", "NTP",
			func(a *amazon) { a.late = 0 }},
	}
}

// everything lets the bucket tell of all its files, so that a wrong prefix is the only fault.
func (a *amazon) everything() { a.rewrite(func(e *entry) { e.Rules = nil }) }

// sweep removes what doctor could not.
func (a *amazon) sweep() {
	b, _ := a.bucketOf("s3://acme-state/x")
	listing, err := b.List(a.t.Context(), "prod/doctor-")
	require.NoError(a.t, err)
	for _, o := range listing.Objects {
		require.NoError(a.t, b.Delete(a.t.Context(), o.Key, ""))
	}
}

func astroFaults() []awsRow {
	renew := func(a *amazon) { a.renew() }
	const at = "put it where the route's token points: aws-sm:" + secretARN
	return []awsRow{
		{"the secret does not exist", func(a *amazon) { a.secret = "" }, false, 1, "token", "no such secret", "store the API token there", renew},
		{"the secret may not be read", func(a *amazon) { a.refused["secretsmanager:GetSecretValue"] = "AccessDeniedException" }, false,
			1, "token", "access is denied", "allow reading it", permission("secretsmanager:GetSecretValue")},
		{"the secret holds something else", func(a *amazon) { a.secret = "hunter2-hunter2-hunter2" }, false, 1, "token", "no Astro API token", at, renew},
		{"the token has expired", func(a *amazon) { a.setToken(astrotest.OrganizationID, time.Now().Add(-time.Hour)) }, false, 1, "token", "it expired on", at, renew},
		{"the token expires in a week", func(a *amazon) { a.setToken(astrotest.OrganizationID, time.Now().Add(7*24*time.Hour+time.Hour)) }, false,
			2, "token", "expires in 7 days", at, renew},
		{"the token was deleted in Astro", func(a *amazon) { a.astro.AcceptTokens() }, false, 1, "token", "refuses the API token", at,
			func(a *amazon) { a.astro.AcceptTokens(a.token) }},
		{"the organization is not the token's", func(a *amazon) { a.reconfigure(func(s *settings) { s.Organization = "clmanother" }) }, false,
			1, "token", "the configuration says clmanother", "correct the route's organization", func(a *amazon) { a.reconfigure(func(s *settings) { s.Organization = "" }) }},
		{"the token is of another organization", func(a *amazon) { a.setToken("clmanother", time.Time{}) }, false, 1, "deployment", "clmanother", "check the IDs", renew},
		{"the Deployment's ID is wrong", func(a *amazon) { a.reconfigure(func(s *settings) { s.Deployment = "clmwrong" }) }, false, 1, "deployment", "no Deployment clmwrong", "check the IDs",
			func(a *amazon) { a.reconfigure(func(s *settings) { s.Deployment = astrotest.DeploymentID }) }},
		{"the Deployment uses Remote Execution", func(a *amazon) { a.deployment(func(d *astrotest.Deployment) { d.RemoteExecution = true }) }, false,
			1, "deployment", "uses Remote Execution", "without Remote Execution", func(a *amazon) { a.deployment(func(d *astrotest.Deployment) { d.RemoteExecution = false }) }},
		{"the Deployment is unhealthy", func(a *amazon) { a.deployment(func(d *astrotest.Deployment) { d.Status = "UNHEALTHY" }) }, false,
			2, "deployment", "is unhealthy", "page in Astro", func(a *amazon) { a.deployment(func(d *astrotest.Deployment) { d.Status = "HEALTHY" }) }},
		{"DAG deploys are off", func(a *amazon) { a.deployment(func(d *astrotest.Deployment) { d.DAGDeploysOff = true }) }, false,
			1, "dag deploys", "turned off", "--dag-deploy enable", func(a *amazon) { a.deployment(func(d *astrotest.Deployment) { d.DAGDeploysOff = false }) }},
		{"the Deployment hibernates", func(a *amazon) { a.deployment(func(d *astrotest.Deployment) { d.Hibernating = true }) }, false,
			2, "awake", "hibernates", "wake it", func(a *amazon) { a.deployment(func(d *astrotest.Deployment) { d.Hibernating = false }) }},
		{"CI/CD is enforced, and the token is a person's", func(a *amazon) {
			a.deployment(func(d *astrotest.Deployment) { d.CICDEnforced = true })
			a.secret = personsToken()
		}, false, 2, "ci/cd", "enforcement is on", at, renew},
		{"the Runtime is not known", func(a *amazon) { a.deployment(func(d *astrotest.Deployment) { d.RuntimeVersion = "9.9-1" }) }, false,
			2, "runtime", "is not known", "newer dagbucket", func(a *amazon) { a.deployment(func(d *astrotest.Deployment) { d.RuntimeVersion = "3.1-1" }) }},
		{"the token may read, but not deploy (found with --deep)", func(a *amazon) { a.readOnly.Store(true) }, true,
			1, "rights", "no right to do this", "Deployment Admin", func(a *amazon) { a.readOnly.Store(false) }},
	}
}

// personsToken says what a person's does: no mark of an API token.
func personsToken() string {
	token := astrotest.TokenWith([]string{"organizationId:" + astrotest.OrganizationID}, time.Time{})
	parts := strings.Split(token, ".")
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"permissions":["organizationId:`+astrotest.OrganizationID+`"]}`)) + "." + parts[2]
}

func notificationFaults() []awsRow {
	const do = `s3:ObjectCreated:* and s3:ObjectRemoved:* with the prefix "dags/", without a suffix`
	return []awsRow{
		{"the bucket tells nobody", func(a *amazon) { a.notifications = notifications{} }, false, 1, "notifications", "tells nobody", do, rewire},
		{"the notification is for a part of the prefix", func(a *amazon) { a.rewrite(func(e *entry) { e.Rules[0].Value = "dags/team/" }) }, false,
			1, "notifications", `is for "dags/team/" only`, do, rewire},
		{"the notification is for names in .py", func(a *amazon) { a.rewrite(func(e *entry) { e.Rules = append(e.Rules, filter{"Suffix", ".py"}) }) }, false,
			1, "notifications", `end in ".py" only`, do, rewire},
		{"the notification leaves deletions out", func(a *amazon) { a.rewrite(func(e *entry) { e.Events = []string{"s3:ObjectCreated:*"} }) }, false,
			1, "notifications", "nobody is told of deletions", do, rewire},
		{"the notification leaves multipart uploads out", func(a *amazon) {
			a.rewrite(func(e *entry) { e.Events = []string{"s3:ObjectCreated:Put", "s3:ObjectRemoved:*"} })
		}, false, 1, "notifications", "nobody is told of new files", do, rewire},
		{"EventBridge's rule is disabled", func(a *amazon) { a.throughEventBridge(); a.rules[1]["State"] = "DISABLED" }, false,
			1, "notifications", `the rule "dagbucket-1" is disabled`, "aws events enable-rule --name dagbucket-1", func(a *amazon) { a.rules[1]["State"] = "ENABLED" }},
		{"EventBridge's rule has no target", func(a *amazon) { a.throughEventBridge(); a.untargeted = true }, false,
			1, "notifications", `the rule "dagbucket-1" has no target`, "sends to the function's queue", func(a *amazon) { a.untargeted = false }},
		{"EventBridge's rule is for another prefix", func(a *amazon) {
			a.throughEventBridge()
			a.rules[1]["EventPattern"] = strings.Replace(a.rules[1]["EventPattern"].(string), "dags/", "old/", 1)
		}, false, 1, "notifications", "no enabled rule", `a rule for Object Created and Object Deleted of acme-dags below "dags/"`, func(a *amazon) { a.throughEventBridge() }},
		{"doctor may not look at the notifications", refusal("s3:GetBucketNotification"), false, 2, "notifications", "may not look", "allow s3:GetBucketNotification",
			permission("s3:GetBucketNotification")},
		{"doctor may not look at EventBridge's rules", func(a *amazon) { a.throughEventBridge(); a.refused["events:ListRules"] = "AccessDeniedException" }, false,
			2, "notifications", "may not look", "allow events:ListRules", permission("events:ListRules")},
		{"doctor may not look at EventBridge's rules, which alone would tell of deletions", func(a *amazon) {
			a.throughEventBridge()
			a.notifications.Queues = []entry{{"new", queueARN, []string{"s3:ObjectCreated:*"}, nil}}
			a.refused["events:ListRules"] = "AccessDeniedException"
		}, false, 2, "notifications", "may not look", "allow events:ListRules", permission("events:ListRules")},
	}
}

func queueFaults() []awsRow {
	return []awsRow{
		{"the queue does not exist", func(a *amazon) { delete(a.queues, "dagbucket") }, false, 1, "queue", "does not exist", "apply Terraform again", rewire},
		{"the queue's policy is for another bucket", func(a *amazon) { a.queue("Policy", queuePolicy("s3.amazonaws.com", "arn:aws:s3:::old-dags")) }, false,
			1, "queue", "lets s3.amazonaws.com not send", "arn:aws:s3:::acme-dags", rewire},
		{"the queue's policy leaves EventBridge out", func(a *amazon) {
			a.throughEventBridge()
			a.queue("Policy", queuePolicy("s3.amazonaws.com", "arn:aws:s3:::acme-dags"))
		}, false, 1, "queue", "lets events.amazonaws.com not send", "allow sqs:SendMessage to events.amazonaws.com", func(a *amazon) { a.throughEventBridge() }},
		{"the queue has AWS's own key", func(a *amazon) { a.queue("KmsMasterKeyId", "alias/aws/sqs") }, false, 1, "queue", "cannot use", "SSE-SQS", rewire},
		{"the queue has no dead-letter queue", func(a *amazon) { a.queue("RedrivePolicy", "") }, false, 2, "dead letters", "has none", "maxReceiveCount of 10", rewire},
		{"messages become dead letters too soon", func(a *amazon) {
			a.queue("RedrivePolicy", `{"deadLetterTargetArn":"`+deadARN+`","maxReceiveCount":"3"}`)
		}, false,
			2, "dead letters", "after 3 receives", "maxReceiveCount to 10", rewire},
		{"the dead-letter queue does not exist", func(a *amazon) { delete(a.queues, "dagbucket-dead-letters") }, false,
			1, "dead letters", "does not exist", "make that queue again", rewire},
		{"dead letters wait", func(a *amazon) { a.queues["dagbucket-dead-letters"]["ApproximateNumberOfMessages"] = "4" }, false,
			2, "dead letters", "about 4 messages", "start-message-move-task", rewire},
		{"no function reads the queue", func(a *amazon) { a.mappings = nil }, false, 1, "event source mapping", "no function reads", "create-event-source-mapping", rewire},
		{"the event source mapping is disabled", func(a *amazon) { a.mappings[0]["State"] = "Disabled" }, false, 1, "event source mapping", "it is Disabled", "--enabled", rewire},
		{"ReportBatchItemFailures is off", func(a *amazon) { a.mappings[0]["FunctionResponseTypes"] = []string{} }, false,
			1, "event source mapping", "are lost", "--function-response-types ReportBatchItemFailures", rewire},
		{"the function's role may not read the queue", func(a *amazon) {
			a.mappings[0]["LastProcessingResult"] = "PROBLEM: The function's execution role does not have permissions to call ReceiveMessage on SQS"
		}, false, 2, "event source mapping", "execution role", "sqs:ReceiveMessage", rewire},
	}
}

func functionFaults() []awsRow {
	variable := func(name, value string) func(*amazon) {
		return func(a *amazon) { a.function["Environment"].(object)["Variables"].(object)[name] = value }
	}
	return []awsRow{
		{"the function does not exist", func(a *amazon) { a.function = nil }, false, 1, "function", "does not exist", "apply Terraform again", rewire},
		{"the function cannot start", func(a *amazon) { a.function["State"], a.function["StateReason"] = "Failed", "The subnet is gone" }, false,
			1, "function", "The subnet is gone", "deploy the function again", rewire},
		{"the function's last update failed", func(a *amazon) {
			a.function["LastUpdateStatus"], a.function["LastUpdateStatusReason"] = "Failed", "The image is gone"
		}, false, 2, "function", "its former version runs: The image is gone", "deploy the function again", rewire},
		{"the function's variables cannot be read", func(a *amazon) {
			a.function["Environment"] = object{"Error": object{"ErrorCode": "KMSAccessDeniedException", "Message": "denied"}}
		}, false, 2, "function", "cannot be read: KMSAccessDeniedException", "allow kms:Decrypt", rewire},
		{"the function reads another configuration", variable("DAGBUCKET_CONFIG", "s3://old-state/dagbucket.yaml"), false,
			1, "function", "it reads s3://old-state/dagbucket.yaml", "DAGBUCKET_CONFIG=s3://old-state/dagbucket.yaml", rewire},
		{"the function has no configuration", func(a *amazon) { delete(a.function, "Environment") }, false,
			1, "function", "DAGBUCKET_CONFIG is not set", "set DAGBUCKET_CONFIG of the function", rewire},
		{"the configuration was changed behind Terraform's back", variable("CONFIG_SHA256", "0123"), false,
			2, "function", "was changed since the function was deployed", "apply Terraform again", rewire},
		{"the function is stopped", func(a *amazon) { a.reserved = 0 }, false, 1, "function", "reserved concurrency is 0", "delete-function-concurrency",
			func(a *amazon) { a.reserved = nil }},
		{"the function's time-out is too short", func(a *amazon) { a.function["Timeout"] = 60 }, false, 2, "function", "the time-out of dagbucket is 1m0s", "at least 300 s", rewire},
		{"the queue's visibility time-out is too short", func(a *amazon) { a.queue("VisibilityTimeout", "30") }, false,
			2, "function", "hands a message out again after 30s", "visibility time-out to at least 300 s", rewire},
		{"the function has too little memory", func(a *amazon) { a.function["MemorySize"] = 128 }, false, 2, "function", "has 128 MB", "512 MB", rewire},
		{"doctor may not look at the function", func(a *amazon) { a.refused["lambda:GetFunctionConfiguration"] = "AccessDeniedException" }, false,
			2, "function", "may not look", "allow lambda:GetFunctionConfiguration", permission("lambda:GetFunctionConfiguration")},
	}
}

func runFaults() []awsRow {
	sync := func(a *amazon) { a.sync() }
	return []awsRow{
		{"the schedule is disabled", func(a *amazon) {
			a.edit(func(r *state.Record) { r.Runs[len(r.Runs)-1].At = time.Now().Add(-time.Hour) })
		}, false, 2, "last run", "it ended 1h0m", "see that the schedule is enabled", sync},
		{"the schedule is disabled, and somebody promoted since", func(a *amazon) {
			a.edit(func(r *state.Record) {
				r.Runs[len(r.Runs)-1].At = time.Now().Add(-time.Hour)
				r.AddRun(state.Run{Run: "20261101T000000Z-00000000", At: time.Now(), Outcome: state.Promoted})
			})
		}, false, 2, "last run", "it ended 1h0m", "see that the schedule is enabled", sync},
		{"the route is paused", func(a *amazon) { require.NoError(a.t, a.route().Pause(a.t.Context(), "migration")) }, false,
			2, "outcome", "is paused since", "dagbucket resume", func(a *amazon) { require.NoError(a.t, a.route().Resume(a.t.Context())) }},
		{"the last run failed", func(a *amazon) {
			a.deployment(func(d *astrotest.Deployment) { d.DAGDeploysOff = true })
			require.Equal(a.t, "failed", string(a.sync().Outcome))
			a.deployment(func(d *astrotest.Deployment) { d.DAGDeploysOff = false })
		}, false, 1, "outcome", "DAG-only deploys are turned off", "dagbucket sync", sync},
		{"the last run was held", func(a *amazon) {
			a.remove("s3://acme-dags/dags/a.py")
			require.Equal(a.t, "held", string(a.sync().Outcome))
			a.put("s3://acme-dags/dags/a.py", "a = 1")
		}, false, 2, "outcome", "was held", "dagbucket status", sync},
		{"a run died and none came after it", func(a *amazon) {
			a.put("s3://acme-state/prod/lease.json", `{"format": 1, "nonce": "n", "holder": "20261101T000000Z-00000000", "again": true}`)
			a.leaseLate = 10 * time.Minute
		}, false, 2, "lease", "failed or died 10m", "dagbucket sync", func(a *amazon) { a.sync() }},
		{"somebody else deployed DAGs", func(a *amazon) {
			a.astro.DeployFromOutside(astrotest.DeploymentID, "DAG_ONLY", "by hand", []byte("archive"))
		}, false, 2, "drift", "others deployed", "a change in the bucket", func(a *amazon) {
			a.put("s3://acme-dags/dags/b.py", "b = 1")
			a.sync()
		}},
	}
}

// TestAmazonFirstThingsFirst has one fault cause others: it comes first, and what depends on it is skipped.
func TestAmazonFirstThingsFirst(t *testing.T) {
	a := healthyAmazon(t)
	a.refuse("s3:ListBucket acme-dags")
	a.secret = ""
	report := a.diagnose(false)
	require.Equal(t, "source", report.First.Name)
	found := statuses(report.Routes[0].Checks)
	require.Equal(t, doctor.Fault, found["token"])
	for _, name := range []string{"deployment", "dag deploys", "awake", "rights", "drift", "notifications", "clock"} {
		require.Equal(t, doctor.Skipped, found[name], name)
	}
	require.Contains(t, textOf(report), "not checked, because of: token")
}

// TestAmazonThroughEventBridge is the other way that infra/aws has, also beside a notification that leads elsewhere.
func TestAmazonThroughEventBridge(t *testing.T) {
	a := healthyAmazon(t)
	a.throughEventBridge()
	report := a.diagnose(false)
	requireWell(t, report)
	require.Contains(t, textOf(report), "EventBridge tell")
	a.notifications.Queues = []entry{{"others", "arn:aws:sqs:eu-west-1:123456789012:others", []string{"s3:ObjectCreated:*", "s3:ObjectRemoved:*"}, nil}}
	requireWell(t, a.diagnose(false))
	a.mappings = nil
	report = a.diagnose(false)
	require.Equal(t, "event source mapping", report.First.Name, "the way that gets furthest is told of: %s", textOf(report))
}

// TestAmazonWithoutAQueue has S3 call the function itself, or tell a topic.
func TestAmazonWithoutAQueue(t *testing.T) {
	both := []string{"s3:ObjectCreated:*", "s3:ObjectRemoved:*"}
	a := healthyAmazon(t)
	a.queues, a.mappings = nil, nil
	a.notifications = notifications{Functions: []direct{{ID: "call", Function: functionARN, Events: both}}}
	report := a.diagnose(false)
	requireWell(t, report)
	require.Contains(t, textOf(report), "dagbucket is ready: 300 s, 512 MB")
	a.function["MemorySize"] = 128
	require.Equal(t, "function", a.diagnose(false).First.Name)

	a.notifications = notifications{Topics: []direct{{ID: "tell", Topic: "arn:aws:sns:eu-west-1:123456789012:changes", Events: both}}}
	report = a.diagnose(false)
	requireWell(t, report)
	require.Equal(t, doctor.Skipped, statuses(report.Routes[0].Checks)["queue"])
	a.notifications.Topics[0].Topic = "arn:aws:kinesis:eu-west-1:123456789012:stream/changes"
	report = a.diagnose(false)
	require.Equal(t, doctor.Fault, report.First.Status)
	require.Contains(t, report.First.Says, "which leads to no function")
}

// TestAmazonListsEveryEvent has a notification that names each kind instead of all of them.
func TestAmazonListsEveryEvent(t *testing.T) {
	a := healthyAmazon(t)
	a.rewrite(func(e *entry) {
		e.Events = []string{"s3:ObjectCreated:Put", "s3:ObjectCreated:Post", "s3:ObjectCreated:Copy", "s3:ObjectCreated:CompleteMultipartUpload",
			"s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated"}
	})
	requireWell(t, a.diagnose(false))
}

// TestALeaseIsNoFault as long as no run is owed, or the schedule may still make up for it.
func TestALeaseIsNoFault(t *testing.T) {
	a := healthyAmazon(t)
	a.leaseLate = 10 * time.Minute
	requireWell(t, a.diagnose(false))
	a.leaseLate = 0
	a.put("s3://acme-state/prod/lease.json", `{"format": 1, "nonce": "n", "holder": "20261101T000000Z-00000000", "again": true}`)
	requireWell(t, a.diagnose(false))
}

// TestAmazonRights sees that doctor asks for nothing but what it says it needs: each refusal alone is a warning that names the right.
func TestAmazonRights(t *testing.T) {
	for _, right := range awsdoctor.Rights {
		t.Run(right, func(t *testing.T) {
			a := healthyAmazon(t)
			if strings.HasPrefix(right, "events:") {
				a.throughEventBridge()
			}
			a.refused[right] = "AccessDeniedException"
			requireRefusal(t, a.diagnose(false), right)
		})
	}
}

// TestAmazonAloneIsAServer has a server that stands in for S3 and nothing else.
func TestAmazonAloneIsAServer(t *testing.T) {
	a := healthyAmazon(t)
	a.reconfigure(func(s *settings) { s.Token = "env:TOKEN" })
	a.env["TOKEN"] = a.token
	t.Setenv("AWS_ENDPOINT_URL_S3", a.getenv("AWS_ENDPOINT_URL"))
	t.Setenv("AWS_ENDPOINT_URL", "")
	report := a.diagnose(false)
	requireWell(t, report)
	require.Equal(t, doctor.Skipped, statuses(report.Routes[0].Checks)["notifications"])
}

// TestDeepWhileItHibernates: nothing can be deployed then, so that there is nothing to prove.
func TestDeepWhileItHibernates(t *testing.T) {
	a := healthyAmazon(t)
	a.deployment(func(d *astrotest.Deployment) { d.Hibernating = true })
	report := a.diagnose(true)
	require.Equal(t, "awake", report.First.Name)
	require.Equal(t, doctor.OK, statuses(report.Routes[0].Checks)["rights"])
	require.Equal(t, 1, a.astro.Deploys(astrotest.DeploymentID))
}

// TestDeep sees what --deep leaves.
func TestDeep(t *testing.T) {
	a := healthyAmazon(t)
	report := a.diagnose(false)
	requireWell(t, report)
	require.Equal(t, 1, a.astro.Deploys(astrotest.DeploymentID), "doctor makes no deploy unless it is asked to")
	requireWell(t, a.diagnose(true))
	require.Equal(t, 2, a.astro.Deploys(astrotest.DeploymentID))
	require.Equal(t, "unchanged", string(a.sync().Outcome), "what --deep leaves changes nothing")
	requireWell(t, a.diagnose(false))
}
