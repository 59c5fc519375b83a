package s3bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/network"
)

// explain turns an SDK error into one line that names the object and, where one is known, the repair. permission is the
// right that the call needs.
func (b *Bucket) explain(ctx context.Context, verb, permission, key string, err error) error {
	where := fmt.Sprintf("cannot %s s3://%s/%s", verb, b.name, key)
	status, code, message, region := answerOf(err)
	switch code {
	case "NoSuchBucket", "InvalidBucketName":
		return fmt.Errorf("%s: %w (%s): check the bucket's name and region", where, bucket.ErrNoBucket, code)
	case "NoSuchKey", "NotFound":
		return fmt.Errorf("%s: %w", where, bucket.ErrNotExist)
	case "PreconditionFailed", "ConditionalRequestConflict":
		return fmt.Errorf("%s: %w", where, bucket.ErrChanged)
	case "InvalidObjectState":
		return fmt.Errorf("%s: %w", where, bucket.ErrArchived)
	case "KeyTooLongError", "XMinioInvalidObjectName":
		return fmt.Errorf("%s: %w (%s)", where, bucket.ErrBadKey, code)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "InvalidClientTokenId", "XAdminUserNotFound":
		return fmt.Errorf("%s: %w (%s): the AWS credentials are wrong or have expired", where, bucket.ErrDenied, code)
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return fmt.Errorf("%s: %w (%s): the bucket is in another region: set AWS_REGION%s", where, bucket.ErrDenied, code, region)
	}
	switch {
	case status == http.StatusForbidden || code == "AccessDenied":
		return fmt.Errorf("%s: %w%s: %s", where, bucket.ErrDenied, inBrackets(code, message), repairOf(permission))
	case status == http.StatusNotFound && (code == "" || code == "UnknownError"): // an answer without a document
		return fmt.Errorf("%s: %w", where, bucket.ErrNotExist)
	case status == http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w", where, bucket.ErrChanged)
	case status == 0 && noRegion(err):
		return fmt.Errorf("%s: %w: no valid AWS region is set: set AWS_REGION to the bucket's", where, bucket.ErrNoBucket)
	case status == 0 && noCredentials(err):
		return fmt.Errorf("%s: %w: no AWS credentials were found: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or run with a role", where, bucket.ErrDenied)
	}
	return fmt.Errorf("%s: %w", where, network.Say(reason(ctx, err), network.WithCause(ctx, err)))
}

// reason is the cause in the words of who reads it: nothing of what the SDK wraps around it but how often it tried.
func reason(ctx context.Context, err error) string {
	status, code, message, _ := answerOf(err)
	spoken := code != "" && message != "" && !strings.EqualFold(code, strings.ReplaceAll(http.StatusText(status), " ", ""))
	switch {
	case spoken && code != "UnknownError":
		return code + ": " + message + tries(err)
	case status >= 300:
		text := strings.TrimSpace(fmt.Sprintf("HTTP %d %s", status, http.StatusText(status))) + " from the storage" + tries(err)
		if status < 400 {
			text += ": " + network.NoProxy
		}
		return text
	case ctx.Err() != nil:
		return interruption(ctx, err)
	}
	what, repair := networkReason(err)
	if repair != "" {
		repair = ": " + repair
	}
	return what + tries(err) + repair
}

// interruption is the reason where time ran out, or the caller had enough.
func interruption(ctx context.Context, err error) string {
	text := "no complete answer by then"
	if errors.Is(ctx.Err(), context.Canceled) {
		text = "it was cancelled before there was a complete answer"
	}
	var repeated interrupted
	if errors.As(err, &repeated) {
		text += "; the attempt before: " + reason(context.WithoutCancel(ctx), repeated.last)
	}
	return text
}

// networkReason is the reason of a call without an answer that makes sense. repair is "" where only time helps.
func networkReason(err error) (what, repair string) {
	var document *smithy.DeserializationError
	switch {
	case brokenAnswer(err):
		return "the answer broke off", ""
	case errors.As(err, &document):
		return errForeign.Error(), ""
	}
	return network.Reason(err)
}

// tries tells how often the SDK tried before it gave up.
func tries(err error) string {
	var all *retry.MaxAttemptsError
	if errors.As(err, &all) && all.Attempt > 1 {
		return fmt.Sprintf(" (tried %d times)", all.Attempt)
	}
	return ""
}

// answerOf takes apart the storage's answer: zero values where there is none. The message is one short line, and the region
// begins with "=" if the answer names one.
func answerOf(err error) (status int, code, message, region string) {
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil {
		status = answer.HTTPStatusCode()
		if name := answer.Response.Header.Get("X-Amz-Bucket-Region"); name != "" {
			region = "=" + name
		}
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		code, message = network.OneLine(api.ErrorCode()), network.OneLine(api.ErrorMessage())
	}
	return status, code, message, region
}

// inBrackets is what the storage says of a refusal: S3 names the user and the policy. It is empty where that is nothing new.
func inBrackets(code, message string) string {
	switch {
	case code == "" || code == "Forbidden" || code == "UnknownError":
		return ""
	case message == "" || strings.EqualFold(strings.TrimSuffix(message, "."), "access denied"):
		return " (" + code + ")"
	}
	return " (" + code + ": " + message + ")"
}

func repairOf(permission string) string {
	repair := "the role needs " + permission + " on it (and kms:Decrypt or kms:GenerateDataKey if it is encrypted with a KMS key)"
	if permission == "s3:GetObject" {
		repair += "; without s3:ListBucket a missing object is refused too"
	}
	return repair
}

func invalidRange(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "InvalidRange"
}

func noSuchUpload(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "NoSuchUpload"
}

// noCredentials recognises the errors of the SDK's credential chain, which have no type of their own.
func noCredentials(err error) bool {
	text := err.Error()
	return strings.Contains(text, "get credentials") || strings.Contains(text, "failed to retrieve credentials") ||
		strings.Contains(text, "refresh cached credentials")
}

// noRegion recognises the error of the SDK's endpoint rules, which has no type of its own.
func noRegion(err error) bool {
	text := err.Error()
	return strings.Contains(text, "Invalid region") || strings.Contains(text, "Missing Region")
}
