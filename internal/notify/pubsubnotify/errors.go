package pubsubnotify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/api/googleapi"

	"github.com/dagbucket/dagbucket/internal/googleauth"
	"github.com/dagbucket/dagbucket/internal/network"
	"github.com/dagbucket/dagbucket/internal/notify"
)

// explain says what went wrong, and the repair where it will not pass by itself. Of an answer only Google's message is shown.
func explain(ctx context.Context, err error) error {
	var refusal *googleapi.Error
	if errors.As(err, &refusal) {
		return refused(refusal)
	}
	if googleauth.Refused(err) {
		return notify.Permanentf("Google does not accept the credentials: %s: %w", googleauth.LogIn, network.Say(reason(ctx, err), err))
	}
	return fmt.Errorf("Pub/Sub could not be asked: %w", network.Say(reason(ctx, err), err))
}

// reason is why there was no answer. The library's own words may hold a whole answer.
func reason(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return network.OneLine(context.Cause(ctx).Error())
	}
	var request *url.Error
	if !errors.As(err, &request) {
		return "its answer broke off or cannot be understood"
	}
	what, repair := network.Reason(err)
	if repair != "" {
		what += ": " + repair
	}
	return what
}

func refused(err *googleapi.Error) error {
	said := network.Say(network.OneLine(strings.TrimSpace(fmt.Sprintf("Google answered %d %s", err.Code, err.Message))), err)
	switch {
	case err.Code == http.StatusNotFound:
		return notify.Permanentf("there is no such topic: correct its name, or make it: %w", said)
	case err.Code == http.StatusForbidden:
		return notify.Permanentf("access is denied: allow roles/pubsub.publisher on the topic to this function's service account, and see that the Pub/Sub API "+
			"is enabled in its project: %w", said)
	case err.Code == http.StatusUnauthorized:
		return notify.Permanentf("Google does not accept the credentials: %s: %w", googleauth.LogIn, said)
	case err.Code == http.StatusTooManyRequests || err.Code >= 500:
		return fmt.Errorf("Pub/Sub did not take it: %w", said)
	}
	return notify.Permanentf("Pub/Sub does not accept the notice: see that the topic's name is right, and that it has no schema that the notice does not follow: %w", said)
}
