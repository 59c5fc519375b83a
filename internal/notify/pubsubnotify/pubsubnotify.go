// Package pubsubnotify publishes notices to topics of Google Cloud Pub/Sub, over its REST interface: the gRPC client would make the function
// larger by 0.9 MB, and keep a connection for a few messages a day.
package pubsubnotify

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"sync"

	"google.golang.org/api/option"
	"google.golang.org/api/pubsub/v1"

	"github.com/dagbucket/dagbucket/internal/googleauth"
	"github.com/dagbucket/dagbucket/internal/notify"
	"github.com/dagbucket/dagbucket/internal/state"
)

const scope = "https://www.googleapis.com/auth/pubsub"

// Options say where and as whom notices are published.
type Options struct {
	Emulator string          // host and port of a server without authentication, such as PUBSUB_EMULATOR_HOST has; "" is Pub/Sub itself
	Patience notify.Patience // without tries it is notify.Patient()
}

// publisher makes its client when a notice first needs it.
type publisher struct {
	Options
	as []option.ClientOption // in place of the credentials that are found

	mu     sync.Mutex
	client *pubsub.Service
}

// New returns the topics that are published to with the Application Default Credentials.
func New(o Options) notify.Topics {
	if o.Patience.Tries == 0 {
		o.Patience = notify.Patient()
	}
	return (&publisher{Options: o}).topic
}

func (p *publisher) topic(name string) notify.Send {
	return func(ctx context.Context, n *state.Notice) error {
		return p.Patience.Repeat(ctx, func() error { return p.publish(ctx, name, n) })
	}
}

func (p *publisher) publish(ctx context.Context, topic string, n *state.Notice) error {
	client, err := p.service(ctx)
	if err != nil {
		return err
	}
	in := &pubsub.PublishRequest{Messages: []*pubsub.PubsubMessage{{
		Data:       base64.StdEncoding.EncodeToString(notify.Body(n)),
		Attributes: map[string]string{"id": n.ID, "kind": n.Kind, "route": n.Route},
	}}}
	if _, err = client.Projects.Topics.Publish(topic, in).Context(ctx).Do(); err != nil {
		return explain(ctx, err)
	}
	return nil
}

// service returns the client. One that cannot be made is tried again by the next notice.
func (p *publisher) service(ctx context.Context) (*pubsub.Service, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil {
		return p.client, nil
	}
	opts := append([]option.ClientOption{}, p.as...)
	switch {
	case p.Emulator != "":
		opts = append(opts, option.WithEndpoint("http://"+p.Emulator+"/"), option.WithoutAuthentication())
	case len(p.as) == 0:
		found, err := googleauth.Default(scope)
		if err != nil {
			return nil, &notify.PermanentError{Err: err}
		}
		opts = append(opts, option.WithAuthCredentials(found))
	}
	// The SDK's debug log, which its environment can turn on, shows tokens.
	opts = append(opts, option.WithLogger(slog.New(slog.DiscardHandler)), option.WithTelemetryDisabled())
	client, err := pubsub.NewService(context.WithoutCancel(ctx), opts...) // it outlives this notice
	if err != nil {
		return nil, fmt.Errorf("making a client of Pub/Sub: %w", err)
	}
	p.client = client
	return client, nil
}
