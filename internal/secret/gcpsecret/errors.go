package gcpsecret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/api/googleapi"

	"github.com/dagbucket/dagbucket/internal/googleauth"
	"github.com/dagbucket/dagbucket/internal/secret"
)

func service(location string) string {
	if location == "" {
		return "Secret Manager"
	}
	return "Secret Manager in " + location
}

// explain says in one line what went wrong, and the repair where it will not pass by itself. from is the service.
func explain(err error, from string) error {
	var refusal *googleapi.Error
	if errors.As(err, &refusal) {
		return refused(refusal, from)
	}
	why := reason(err)
	switch {
	case why == "":
		return fmt.Errorf("cannot be read from %s: its answer broke off or cannot be understood", from) // err may quote the payload
	case googleauth.Refused(err):
		return permanent("Google does not accept the credentials: "+googleauth.LogIn, said{why, err})
	}
	return fmt.Errorf("cannot be read from %s: %w", from, said{why, err})
}

// reason is why a request got no answer, without its URL; "" if it got one.
func reason(err error) string {
	var request *url.Error
	switch {
	case errors.As(err, &request):
		return oneLine(request.Err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return oneLine(err.Error())
	}
	return ""
}

// refused explains an answer of Google that is an error. Only Google's message is shown, never the body.
func refused(err *googleapi.Error, from string) error {
	status, reasons := detailsOf(err)
	answer := said{oneLine(strings.TrimSpace(fmt.Sprintf("Google answered %d %s %s", err.Code, status, err.Message))), err}
	switch {
	case err.Code == http.StatusNotFound:
		return permanent("there is no such secret or version in the project: correct its name (a regional secret's has locations/LOCATION), "+
			"or add a version if the secret is empty", answer)
	case err.Code == http.StatusForbidden && isOff(err.Message, reasons):
		return permanent("the Secret Manager API is off in the project: enable secretmanager.googleapis.com there", answer)
	case err.Code == http.StatusForbidden:
		return permanent("access is denied, or there is no such secret: allow roles/secretmanager.secretAccessor on it to this function's "+
			"service account, and see that its name is right", answer)
	case err.Code == http.StatusUnauthorized:
		return permanent("Google does not accept the credentials: "+googleauth.LogIn, answer)
	case err.Code == http.StatusBadRequest && status == "FAILED_PRECONDITION":
		return permanent("it cannot be read as it is: enable its version if that is disabled, name another or add one if it is destroyed, "+
			"and see that its KMS key, if it has one, is enabled", answer)
	case err.Code == http.StatusBadRequest && status == "INVALID_ARGUMENT":
		return permanent("Google does not accept the reference: correct its name", answer)
	}
	return fmt.Errorf("cannot be read from %s: %w", from, answer)
}

func isOff(message string, reasons []string) bool {
	return slices.Contains(reasons, "SERVICE_DISABLED") || strings.Contains(message, "has not been used in project")
}

// detailsOf reads from the body what googleapi.Error has no field for, as far as it is an answer of Google's APIs.
func detailsOf(err *googleapi.Error) (status string, reasons []string) {
	var body struct {
		Error struct {
			Status  string `json:"status"`
			Details []struct {
				Reason string `json:"reason"`
			} `json:"details"`
		} `json:"error"`
	}
	_ = json.Unmarshal([]byte(err.Body), &body)
	for _, detail := range body.Error.Details {
		reasons = append(reasons, detail.Reason)
	}
	return body.Error.Status, reasons
}

func permanent(repair string, cause error) error {
	return &secret.PermanentError{Err: fmt.Errorf("%s: %w", repair, cause)}
}

// said is an error with a text of its own in place of its chain's.
type said struct {
	text string
	err  error
}

func (s said) Error() string { return s.text }
func (s said) Unwrap() error { return s.err }

// oneLine is the first line of s, cut where it gets long. The SDK's errors have bodies of answers in the others.
func oneLine(s string) string {
	const longest = 240 // bytes
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}
