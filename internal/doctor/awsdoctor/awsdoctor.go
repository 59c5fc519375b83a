// Package awsdoctor asks AWS how the changes of a bucket reach the function: the bucket's notifications or EventBridge's rules, the queue,
// its event source mapping and the function. It changes nothing.
package awsdoctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/dagbucket/dagbucket/internal/bucket/s3bucket"
	"github.com/dagbucket/dagbucket/internal/doctor"
)

// Rights are the IAM actions that looking needs, beyond those of a run.
var Rights = []string{
	"events:ListRules", "events:ListTargetsByRule", "events:TestEventPattern",
	"lambda:GetFunctionConcurrency", "lambda:GetFunctionConfiguration", "lambda:ListEventSourceMappings",
	"s3:GetBucketNotification",
	"sqs:GetQueueAttributes", "sqs:GetQueueUrl",
}

// Doctor is the doctor.Cloud of AWS. Its clients are made when they are first wanted.
type Doctor struct {
	env func(string) string

	once    sync.Once
	err     error
	config  aws.Config
	s3      *s3.Client
	sqs     *sqs.Client
	lambda  *lambda.Client
	events  *eventbridge.Client
	account string // whose credentials these are; "" if unknown
}

var _ doctor.Cloud = (*Doctor)(nil)

// New returns the doctor of an environment. The AWS SDK reads its own settings from the process's environment.
func New(env func(string) string) *Doctor { return &Doctor{env: env} }

func (d *Doctor) connect(ctx context.Context) error {
	d.once.Do(func() {
		cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(s3bucket.NewHTTPClient()))
		if err != nil {
			d.err = fmt.Errorf("reading the AWS settings: %w", err)
			return
		}
		d.config = cfg
		d.s3 = s3bucket.NewClient(cfg, d.ownServer())
		d.sqs, d.lambda, d.events = sqs.NewFromConfig(cfg), lambda.NewFromConfig(cfg), eventbridge.NewFromConfig(cfg)
	})
	return d.err
}

// ownServer reports whether buckets are on a server of one's own.
func (d *Doctor) ownServer() bool {
	return d.env("AWS_ENDPOINT_URL_S3") != "" || d.env("AWS_ENDPOINT_URL") != ""
}

// alone reports whether that server stands in for S3 only, so that there is nothing beside it to ask. Addresses of AWS itself, such as a VPC
// endpoint's, are none.
func (d *Doctor) alone() bool {
	endpoint := d.env("AWS_ENDPOINT_URL_S3")
	return endpoint != "" && d.env("AWS_ENDPOINT_URL") == "" && !strings.Contains(endpoint, ".amazonaws.com")
}

const logIn = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in again (aws sso login)"

// Credentials finds the credentials, and has AWS say whose they are; a server of one's own that stands in for S3 alone knows no such call.
func (d *Doctor) Credentials(ctx context.Context) doctor.Check {
	if err := d.connect(ctx); err != nil {
		return doctor.Bad("credentials", "correct the AWS settings (~/.aws/config, AWS_PROFILE)", "%s", brief(err))
	}
	if _, err := d.config.Credentials.Retrieve(ctx); err != nil {
		return doctor.Bad("credentials", logIn, "no AWS credentials were found: %s", brief(err))
	}
	if d.config.Region == "" {
		return doctor.Bad("credentials", "set AWS_REGION to the region of the buckets", "no AWS region is set")
	}
	if d.alone() {
		return doctor.Good("credentials", "there are some for the server at %s", d.env("AWS_ENDPOINT_URL_S3"))
	}
	who, err := sts.NewFromConfig(d.config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		if codeOf(err) == "" { // the network: the buckets' checks say more
			return doctor.Warn("credentials", "see that "+d.stsHost()+" can be reached", "AWS cannot be asked whose they are: %s", brief(err))
		}
		return doctor.Bad("credentials", logIn, "AWS does not accept them: %s", brief(err))
	}
	d.account = aws.ToString(who.Account)
	return doctor.Good("credentials", "AWS: %s, in %s", aws.ToString(who.Arn), d.config.Region)
}

func (d *Doctor) stsHost() string { return "sts." + d.config.Region + ".amazonaws.com" }

// codeOf is the short word of AWS's answer; "" if there was none.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// cannotLook is the check of what could not be looked at: that says nothing of what is there.
func cannotLook(name, action string, err error) doctor.Check {
	code := codeOf(err)
	if strings.Contains(code, "AccessDenied") || code == "AuthorizationError" || code == "UnauthorizedOperation" || code == "Forbidden" {
		return doctor.Warn(name, "allow "+action+" to these credentials to have it checked", "doctor may not look (%s)", action)
	}
	return doctor.Warn(name, "run doctor again", "it cannot be looked at (%s): %s", action, brief(err))
}

func isMissing(err error) bool {
	code := codeOf(err)
	return strings.Contains(code, "NonExistentQueue") || strings.Contains(code, "QueueDoesNotExist") || strings.HasPrefix(code, "ResourceNotFound")
}

// regionOf is an ARN's region, or the one that is set.
func (d *Doctor) regionOf(name arn.ARN) string {
	if name.Region != "" {
		return name.Region
	}
	return d.config.Region
}

// brief is the innermost words of an SDK's error, in one line.
func brief(err error) string {
	var api smithy.APIError
	text := err.Error()
	if errors.As(err, &api) {
		text = api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return doctor.Line(text)
}
