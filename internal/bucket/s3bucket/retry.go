package s3bucket

import (
	"context"
	"encoding/xml"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/dagbucket/dagbucket/internal/network"
)

// retryBrokenAnswer lets the SDK repeat a call whose answer, such as a page of a listing, broke off; by itself it would not.
func retryBrokenAnswer(err error) aws.Ternary {
	if brokenAnswer(err) {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// brokenAnswer reports whether err says that an answer began well and did not come to its end.
func brokenAnswer(err error) bool {
	var document *smithy.DeserializationError
	if !errors.As(err, &document) {
		return false
	}
	var syntax *xml.SyntaxError // of an answer whose length was not announced
	return network.Broken(err) || errors.As(err, &syntax) && syntax.Msg == "unexpected EOF"
}

// interrupted is the error of a call whose context ended while it was being repeated.
type interrupted struct {
	error
	last error // the attempt's before; not in the chain, since it did not end the call
}

func (i interrupted) Unwrap() error { return i.error }

type lastFailureKey struct{}

// keepLastFailure makes a call that ends with its context tell what went wrong before that.
func keepLastFailure(stack *middleware.Stack) error {
	call := middleware.FinalizeMiddlewareFunc("LastFailure", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
		middleware.FinalizeOutput, middleware.Metadata, error,
	) {
		var last error
		out, metadata, err := next.HandleFinalize(context.WithValue(ctx, lastFailureKey{}, &last), in)
		if err != nil && last != nil && ctx.Err() != nil {
			err = interrupted{err, last}
		}
		return out, metadata, err
	})
	attempt := middleware.FinalizeMiddlewareFunc("AttemptFailure", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
		middleware.FinalizeOutput, middleware.Metadata, error,
	) {
		out, metadata, err := next.HandleFinalize(ctx, in)
		if last, ok := ctx.Value(lastFailureKey{}).(*error); ok && err != nil && ctx.Err() == nil {
			*last = err
		}
		return out, metadata, err
	})
	return errors.Join(stack.Finalize.Insert(call, "Retry", middleware.Before), stack.Finalize.Insert(attempt, "Retry", middleware.After))
}

var errForeign = errors.New("the answer is not one of S3: " + network.NoProxy)

// refuseForeignParts refuses an answer without what the uploader needs of it: it would fail with a panic, or go on without the part.
func refuseForeignParts(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("ForeignParts", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
		middleware.InitializeOutput, middleware.Metadata, error,
	) {
		out, metadata, err := next.HandleInitialize(ctx, in)
		if err != nil {
			return out, metadata, err
		}
		switch answer := out.Result.(type) {
		case *s3.CreateMultipartUploadOutput:
			if aws.ToString(answer.UploadId) == "" {
				err = errForeign
			}
		case *s3.UploadPartOutput:
			if aws.ToString(answer.ETag) == "" {
				err = errForeign
			}
		}
		return out, metadata, err
	}), middleware.After)
}
