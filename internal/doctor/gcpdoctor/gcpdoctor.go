// Package gcpdoctor asks Google Cloud how the changes of a bucket reach the function: the bucket's notifications, their topic, its push
// subscription and the function. It changes nothing.
package gcpdoctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	functions "cloud.google.com/go/functions/apiv2"
	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dagbucket/dagbucket/internal/doctor"
	"github.com/dagbucket/dagbucket/internal/googleauth"
)

// Rights are the permissions that looking needs, beyond those of a run.
var Rights = []string{
	"cloudfunctions.functions.list",
	"pubsub.subscriptions.get", "pubsub.topics.get", // of the topic: to list its subscriptions
	"storage.buckets.get",
}

const scope = "https://www.googleapis.com/auth/cloud-platform"

// Options are the clients' own; nil are Google's services with the Application Default Credentials.
type Options struct {
	Storage, PubSub, Functions []option.ClientOption
}

// Doctor is the doctor.Cloud of Google. Its clients are made when they are first wanted.
type Doctor struct {
	env     func(string) string
	options *Options

	once          sync.Once
	err           error
	storage       *storage.Client
	topics        *pubsub.TopicAdminClient
	subscriptions *pubsub.SubscriptionAdminClient
	functions     *functions.FunctionClient

	known map[string]functionList // by project
}

var _ doctor.Cloud = (*Doctor)(nil)

// New returns the doctor of an environment; o may be nil.
func New(env func(string) string, o *Options) *Doctor {
	return &Doctor{env: env, options: o, known: map[string]functionList{}}
}

// emulated reports whether the storage is a stand-in, beside which there is nothing to ask.
func (d *Doctor) emulated() bool { return d.options == nil && d.env("STORAGE_EMULATOR_HOST") != "" }

// Credentials finds the Application Default Credentials and has Google give an access token for them.
func (d *Doctor) Credentials(ctx context.Context) doctor.Check {
	const name = "credentials"
	switch {
	case d.emulated():
		return doctor.Good(name, "the storage at %s wants none", d.env("STORAGE_EMULATOR_HOST"))
	case d.options != nil:
		return doctor.Good(name, "they are given")
	}
	found, err := googleauth.Default(scope)
	if err != nil {
		return doctor.Bad(name, googleauth.LogIn, "%s", doctor.Line(err.Error()))
	}
	if _, err := found.Token(ctx); err != nil {
		return doctor.Bad(name, googleauth.LogIn, "Google gives no access token for them: %s", doctor.Line(err.Error()))
	}
	project, err := found.ProjectID(ctx)
	if err != nil || project == "" {
		return doctor.Good(name, "Google accepts them")
	}
	return doctor.Good(name, "Google accepts them; their project is %s", project)
}

// connect makes the clients, which ask nothing yet.
func (d *Doctor) connect(ctx context.Context) error {
	d.once.Do(func() {
		o := d.options
		if o == nil {
			found, err := googleauth.Default(scope)
			if err != nil {
				d.err = err
				return
			}
			same := []option.ClientOption{option.WithAuthCredentials(found)}
			o = &Options{Storage: same, PubSub: same, Functions: same}
		}
		errs := make([]error, 4)
		d.storage, errs[0] = storage.NewClient(ctx, append(o.Storage, storage.WithDisabledClientMetrics())...)
		d.topics, errs[1] = pubsub.NewTopicAdminClient(ctx, o.PubSub...)
		d.subscriptions, errs[2] = pubsub.NewSubscriptionAdminClient(ctx, o.PubSub...)
		d.functions, errs[3] = functions.NewFunctionClient(ctx, o.Functions...)
		d.err = errors.Join(errs...)
	})
	return d.err
}

// cannotLook is the check of what could not be looked at: that says nothing of what is there.
func cannotLook(name, right string, err error) doctor.Check {
	text := reason(err)
	switch {
	case strings.Contains(text, "has not been used in project") || strings.Contains(text, "is disabled"):
		return doctor.Warn(name, "enable that API in the project, or run doctor with GOOGLE_CLOUD_QUOTA_PROJECT set to a project that has it", "doctor may not look: %s", text)
	case status.Code(err) == codes.PermissionDenied: // also of a 403
		return doctor.Warn(name, "allow "+right+" to these credentials to have it checked", "doctor may not look (%s)", right)
	}
	return doctor.Warn(name, "run doctor again", "it cannot be looked at (%s): %s", right, text)
}

// reason is Google's message without what libraries wrap around it.
func reason(err error) string {
	var answer *googleapi.Error
	if errors.As(err, &answer) && answer.Message != "" {
		return doctor.Line(fmt.Sprintf("%d %s", answer.Code, answer.Message))
	}
	if s, ok := status.FromError(err); ok {
		return doctor.Line(fmt.Sprintf("%s: %s", s.Code(), s.Message()))
	}
	return doctor.Line(err.Error())
}
