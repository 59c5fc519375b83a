package s3bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// explain turns an SDK error into one line that names the object and, where one is known, the repair. permission is the
// right that the call needs.
func (b *Bucket) explain(verb, permission, key string, err error) error {
	where := fmt.Sprintf("cannot %s s3://%s/%s", verb, b.name, key)
	status, code, message := 0, "", ""
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil {
		status = answer.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	switch code {
	case "NoSuchBucket":
		return fmt.Errorf("%s: %w: check the bucket's name and region", where, bucket.ErrNoBucket)
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
		region := ""
		if answer != nil && answer.Response != nil {
			region = answer.Response.Header.Get("X-Amz-Bucket-Region")
		}
		return fmt.Errorf("%s: %w (%s): the bucket is in another region %s: set AWS_REGION", where, bucket.ErrDenied, code, region)
	}
	switch {
	case status == http.StatusForbidden || code == "AccessDenied":
		return fmt.Errorf("%s: %w: the role needs %s on it (and kms:Decrypt or kms:GenerateDataKey if it is encrypted with a KMS key)", where, bucket.ErrDenied, permission)
	case status == http.StatusNotFound && (code == "" || code == "UnknownError"): // an answer without a document
		return fmt.Errorf("%s: %w", where, bucket.ErrNotExist)
	case status == http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w", where, bucket.ErrChanged)
	case status == 0 && noCredentials(err):
		return fmt.Errorf("%s: %w: no AWS credentials were found: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or run with a role", where, bucket.ErrDenied)
	case code != "" && message != "":
		return fmt.Errorf("%s: %w", where, said{code + ": " + oneLine(message), err})
	}
	return fmt.Errorf("%s: %w", where, innermost(err))
}

func invalidRange(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "InvalidRange"
}

// noCredentials recognises the errors of the SDK's credential chain, which have no type of their own.
func noCredentials(err error) bool {
	text := err.Error()
	return strings.Contains(text, "get credentials") || strings.Contains(text, "failed to retrieve credentials") ||
		strings.Contains(text, "refresh cached credentials")
}

// said is an error with a text of its own in place of its chain's.
type said struct {
	text string
	err  error
}

func (s said) Error() string { return s.text }
func (s said) Unwrap() error { return s.err }

// innermost strips what the SDK wraps around the cause: the operation, the host, how many attempts were made.
func innermost(err error) error {
	for _, cut := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, cut) {
			return said{cut.Error(), err}
		}
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		if _, ok := next.(interface{ Unwrap() error }); !ok {
			return err
		}
		err = next
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
