package service

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/notify"
	"github.com/dagbucket/dagbucket/internal/notify/webhook"
)

// notifier tells people of a route's changes; nil if nobody is to be told.
func (w *wiring) notifier(r config.Route) (deployer.Notifier, error) {
	if len(r.Notify) == 0 {
		return nil, nil
	}
	var targets []notify.Target
	for _, t := range r.Notify {
		send, err := w.sender(t)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name(), err)
		}
		targets = append(targets, notify.Target{Name: t.Name(), Kinds: t.Events, Send: send})
	}
	return notify.New(targets...), nil
}

func (w *wiring) sender(t config.Target) (notify.Send, error) {
	if t.Kind == config.Webhook {
		return w.webhook(t)
	}
	topics, ok := w.deps.Topics[t.Kind]
	if !ok {
		known := append(slices.Sorted(maps.Keys(w.deps.Topics)), "webhook", "slack")
		return nil, notify.Permanentf("this program cannot publish to %s: topics, only to %s:; a function has its own cloud's clients alone, "+
			"so name a topic of that cloud, or a webhook", t.Kind, strings.Join(known, ":, "))
	}
	return topics(t.Address), nil
}

// webhook resolves nothing yet: what is wrong with a secret keeps no run from its work.
func (w *wiring) webhook(t config.Target) (notify.Send, error) {
	o := webhook.Options{Slack: t.Format == config.FormatSlack, Version: w.deps.Version}
	o.Address = func(context.Context) (string, error) { return t.Address, nil }
	var err error
	if t.Reference != "" {
		if o.Address, err = w.resolved(t.Reference); err != nil {
			return nil, err
		}
	}
	if t.Secret != "" {
		if o.Secret, err = w.resolved(t.Secret); err != nil {
			return nil, fmt.Errorf("secret: %w", err)
		}
	}
	return webhook.New(o), nil
}

// resolved reads what a reference names each time: notices are rare, and so a new address or key needs no restart.
func (w *wiring) resolved(reference string) (func(context.Context) (string, error), error) {
	if err := w.deps.Secrets.Check(reference); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (string, error) { return w.secrets.Read(ctx, reference) }, nil
}
