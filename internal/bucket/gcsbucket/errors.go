package gcsbucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/googleapi"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/googleauth"
	"github.com/dagbucket/dagbucket/internal/network"
)

// attempts is more than other storages need: this one takes one write a second of an object, and several instances may want to.
const attempts = 6

// pauses come before each attempt but the first: chance picks one between nothing and the next step.
var pauses = gax.Backoff{Initial: 250 * time.Millisecond, Max: 5 * time.Second, Multiplier: 2}

// retryable reports whether the same request may go well in a moment. Cloud Storage also says 403 where it means 429.
func retryable(err error) bool {
	if _, broke := errors.AsType[*brokenBody](err); broke {
		return false
	}
	return storage.ShouldRetry(err) || tooFast(err)
}

func tooFast(err error) bool {
	code, reason, _ := answerOf(err)
	return code == http.StatusForbidden && strings.HasSuffix(strings.ToLower(reason), "ratelimitexceeded")
}

// checkKey says why an object cannot have this name (cloud.google.com/storage/docs/objects#naming).
func checkKey(key string) error {
	switch {
	case key == "":
		return errors.New("it is empty")
	case len(key) > 1024:
		return fmt.Errorf("it has %d bytes, and more than 1024 are not allowed", len(key))
	case !utf8.ValidString(key):
		return errors.New("it is not UTF-8")
	case strings.ContainsAny(key, "\r\n"):
		return errors.New("it has a line break")
	case key == "." || key == ".." || strings.HasPrefix(key, ".well-known/acme-challenge/"):
		return errors.New("the name is reserved")
	}
	return nil
}

// explain turns an error of the client library into one line that names the object and, where one is known, the repair. permission is
// the right that the call needs.
func (b *Bucket) explain(ctx context.Context, tries *atomic.Int32, verb, permission, key string, err error) error {
	where := fmt.Sprintf("cannot %s %s/%s", verb, b, network.OneLine(key))
	code, _, message := answerOf(err)
	switch {
	case ctx.Err() != nil:
	case code == http.StatusNotFound && (verb == "list" || strings.HasPrefix(message, "The specified bucket does not exist")):
		return fmt.Errorf("%s: %w: check the bucket's name", where, bucket.ErrNoBucket)
	case code == http.StatusNotFound && verb != "write", errors.Is(err, storage.ErrObjectNotExist): // a write's is a session that is lost
		return fmt.Errorf("%s: %w", where, bucket.ErrNotExist)
	case code == http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w", where, bucket.ErrChanged)
	case asksForPayer(err):
		return network.Say(fmt.Sprintf("%s: %v: the bucket is requester-pays: set GOOGLE_CLOUD_QUOTA_PROJECT to the project that pays, "+
			"and allow this service account serviceusage.services.use in it", where, bucket.ErrDenied), fmt.Errorf("%w: %w", bucket.ErrDenied, err))
	case (code == http.StatusBadRequest || code == http.StatusForbidden) && strings.Contains(message, "KMS"):
		return fmt.Errorf("%s: %w (%s): see that the bucket's KMS key is enabled, and allow Cloud Storage's service agent "+
			"roles/cloudkms.cryptoKeyEncrypterDecrypter on it", where, bucket.ErrDenied, message)
	case code == http.StatusUnauthorized, googleauth.Refused(err):
		return fmt.Errorf("%s: %w: there are no valid Google credentials: %s", where, bucket.ErrDenied, googleauth.LogIn)
	case code == http.StatusForbidden && !tooFast(err):
		return fmt.Errorf("%s: %w%s: the service account needs %s on it", where, bucket.ErrDenied, inBrackets(message), strings.TrimSuffix(permission, ","))
	}
	return fmt.Errorf("%s: %w", where, network.Say(reason(ctx, tries, err), network.WithCause(ctx, err)))
}

// reason is the cause in the words of who reads it: nothing of what the library wraps around it but how often it tried.
func reason(ctx context.Context, tries *atomic.Int32, err error) string {
	code, short, message := answerOf(err)
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return "it was cancelled before there was a complete answer"
	case ctx.Err() != nil:
		return "no complete answer by then"
	case errors.Is(err, errForeign):
		return errForeign.Error()
	case code >= 300 && short != "":
		return short + ": " + message + tried(tries)
	case code >= 300:
		text := strings.TrimSpace(fmt.Sprintf("HTTP %d %s", code, http.StatusText(code))) + " from the storage" + tried(tries)
		if code < 400 {
			text += ": " + network.NoProxy
		}
		return text
	}
	what, repair := network.Reason(err)
	if repair != "" {
		repair = ": " + repair
	}
	return what + tried(tries) + repair
}

// tried tells how often a call was tried before it was given up.
func tried(tries *atomic.Int32) string {
	if tries == nil || tries.Load() < 2 {
		return ""
	}
	return fmt.Sprintf(" (tried %d times)", tries.Load())
}

// answerOf takes apart the storage's answer: zero values where there is none. The reason is Google's short word, such as "forbidden".
func answerOf(err error) (code int, reason, message string) {
	var answer *googleapi.Error
	if !errors.As(err, &answer) {
		return 0, "", ""
	}
	document := struct{ Error googleapi.Error }{*answer}
	// The library leaves the answers to downloads as they come. Cloud Storage itself answers those with a bare line of text.
	if answer.Message == "" && json.Unmarshal([]byte(answer.Body), &document) != nil && answer.Header.Get(uploaderHeader) != "" {
		document.Error.Message = answer.Body
	}
	if len(document.Error.Errors) > 0 {
		reason = document.Error.Errors[0].Reason
	}
	return answer.Code, network.OneLine(reason), network.OneLine(document.Error.Message)
}

// uploaderHeader is in every answer of Cloud Storage, and in none of what may stand before it.
const uploaderHeader = "X-Guploader-Uploadid"

// asksForPayer recognises the answer of a requester-pays bucket to a request that names no project.
func asksForPayer(err error) bool {
	code, _, message := answerOf(err)
	return code == http.StatusBadRequest && strings.Contains(message, "requester pays")
}

func inBrackets(message string) string {
	if message == "" {
		return ""
	}
	return " (" + message + ")"
}
