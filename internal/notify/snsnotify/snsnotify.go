// Package snsnotify publishes notices to topics of Amazon SNS: a text for people's subscriptions, JSON for those of programs.
package snsnotify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"

	"github.com/dagbucket/dagbucket/internal/notify"
	"github.com/dagbucket/dagbucket/internal/state"
)

// throttled are codes that the SDK does not know as ones that pass.
var throttled = map[string]struct{}{"Throttled": {}, "KMSThrottling": {}}

// New returns the topics of a configuration: each is asked for in its own region. The SDK repeats what may pass, within the time of a send.
func New(cfg aws.Config) notify.Topics {
	client := sns.NewFromConfig(cfg, func(o *sns.Options) {
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts, r.MaxBackoff = 4, 2*time.Second
			r.Retryables = append(r.Retryables, retry.RetryableErrorCode{Codes: throttled})
		})
	})
	return func(topic string) notify.Send {
		return func(ctx context.Context, n *state.Notice) error { return publish(ctx, client, topic, n) }
	}
}

func publish(ctx context.Context, client *sns.Client, topic string, n *state.Notice) error {
	name, err := arn.Parse(topic)
	if err != nil {
		return notify.Permanentf("%s is not the ARN of a topic: correct it", topic)
	}
	in := &sns.PublishInput{
		TopicArn: &topic, Subject: aws.String(notify.Subject(n)), MessageStructure: aws.String("json"), Message: aws.String(message(n)),
		MessageAttributes: map[string]types.MessageAttributeValue{"kind": attribute(n.Kind), "route": attribute(n.Route)},
	}
	if strings.HasSuffix(topic, ".fifo") {
		in.MessageGroupId, in.MessageDeduplicationId = &n.Route, aws.String(deduplication(n.ID))
	}
	_, err = client.Publish(ctx, in, func(o *sns.Options) { o.Region = name.Region })
	return explain(err, name.Region)
}

func attribute(value string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
}

// maxMessage is below SNS's limit of 256 KiB for a message with all its forms and attributes.
const maxMessage = 250_000

// message is what each kind of subscription gets. Without a form of its own it gets the default.
func message(n *state.Notice) string {
	for {
		text, program := notify.Text(n), string(notify.Body(n))
		content, _ := json.Marshal(map[string]string{ // never fails
			"default": text, "email": text, "sms": notify.Title(n),
			"sqs": program, "lambda": program, "http": program, "https": program, "firehose": program,
		})
		if len(content) <= maxMessage || len(n.Files) == 0 {
			return string(content)
		}
		less := *n
		less.Total, less.Files = max(n.Total, len(n.Files)), n.Files[:len(n.Files)/2]
		n = &less
	}
}

var deduplicationForm = regexp.MustCompile(`^[!-~]{1,128}$`)

// deduplication is what a FIFO topic knows a repeat by.
func deduplication(id string) string {
	if deduplicationForm.MatchString(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

const denied = "access is denied: allow sns:Publish on the topic to this function's role"

// repairs are the refusals of SNS that will not pass by themselves. %[1]s is the region.
var repairs = map[string]string{
	"NotFound":                    "there is no such topic in region %[1]s: correct its ARN, or make the topic",
	"ResourceNotFound":            "there is no such topic in region %[1]s: correct its ARN, or make the topic",
	"AuthorizationError":          denied,
	"AccessDenied":                denied,
	"AccessDeniedException":       denied,
	"InvalidParameter":            "SNS does not accept the notice: see that the topic's ARN is right",
	"ParameterValueInvalid":       "SNS does not accept the notice: see that the topic's ARN is right",
	"InvalidSecurity":             "SNS does not accept the credentials: correct them",
	"InvalidClientTokenId":        "AWS does not know the credentials: correct them",
	"UnrecognizedClientException": "AWS does not know the credentials: correct them",
	"SignatureDoesNotMatch":       "AWS does not accept the credentials: correct them",
	"MissingAuthenticationToken":  "AWS got no credentials: set them",
	"KMSAccessDenied":             "the topic is encrypted: allow kms:GenerateDataKey and kms:Decrypt on its key to this function's role",
	"KMSDisabled":                 "the topic's KMS key is disabled: enable it",
	"KMSInvalidState":             "the topic's KMS key cannot be used: see that it is enabled and not to be deleted",
	"KMSNotFound":                 "the topic's KMS key is not there: give the topic another",
	"KMSOptInRequired":            "the topic's KMS key cannot be used: turn KMS on in its account",
}

// explain adds the repair. The SDK's error holds codes and a request ID, and no secret.
func explain(err error, region string) error {
	if err == nil {
		return nil
	}
	var refusal smithy.APIError
	if errors.As(err, &refusal) {
		if repair, ok := repairs[refusal.ErrorCode()]; ok {
			return &notify.PermanentError{Err: fmt.Errorf(repair+": %[2]w", region, err)}
		}
	}
	return fmt.Errorf("SNS in region %s did not take it: %w", region, err)
}
