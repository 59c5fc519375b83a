// Package notify tells people and programs of changes of a route: what it says, and where it goes. When to tell, and to try again, is
// the pipeline's.
//
// Its text is for people, and its JSON, which is documented in the README and stable, for programs. Names and messages in a notice come
// from whoever may write to the bucket, so all words are made harmless for where they go.
package notify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dagbucket/dagbucket/internal/state"
)

// sendTimeout bounds a send with its repeats.
const sendTimeout = 10 * time.Second

// Send sends a notice to one place. It may be called concurrently. What will not pass by itself is a *PermanentError. After any error the
// notice may have arrived. No error holds a secret.
type Send func(ctx context.Context, n *state.Notice) error

// Topics makes the Send of a topic of a cloud. It asks nothing of it.
type Topics func(topic string) Send

// Clouds holds Topics for each kind of topic that a program has a client for: "sns", "pubsub".
type Clouds map[string]Topics

// With is c and more; a kind of both is more's.
func (c Clouds) With(more Clouds) Clouds {
	all := maps.Clone(c)
	maps.Copy(all, more)
	return all
}

// Target is one place that notices go to.
type Target struct {
	Name  string   // no secret, and unlike any other's
	Kinds []string // of the notices that it gets
	Send  Send
}

// Notifier sends notices to targets. It may be used concurrently.
type Notifier struct{ targets []Target }

// New returns the Notifier of some targets.
func New(targets ...Target) *Notifier { return &Notifier{targets} }

// Targets names where notices of a kind go.
func (n *Notifier) Targets(kind string) []string {
	var names []string
	for _, t := range n.targets {
		if slices.Contains(t.Kinds, kind) {
			names = append(names, t.Name)
		}
	}
	return names
}

// Send sends a notice to the target of that name, in 10 seconds at most. That there is none is a *PermanentError.
func (n *Notifier) Send(ctx context.Context, target string, notice *state.Notice) error {
	at := slices.IndexFunc(n.targets, func(t Target) bool { return t.Name == target })
	if at < 0 {
		return Permanentf("notify %s: the configuration has no such target any more", target)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, sendTimeout, fmt.Errorf("not within %s: %w", sendTimeout, context.DeadlineExceeded))
	defer cancel()
	if err := n.targets[at].Send(ctx, notice); err != nil {
		return fmt.Errorf("notify %s: %w", target, err)
	}
	return nil
}

// PermanentError is a failure that somebody has to repair.
type PermanentError struct{ Err error }

func (e *PermanentError) Error() string { return e.Err.Error() }
func (e *PermanentError) Unwrap() error { return e.Err }

// Permanent is true.
func (e *PermanentError) Permanent() bool { return true }

// Permanentf makes a PermanentError of a message as fmt.Errorf does.
func Permanentf(format string, args ...any) error {
	return &PermanentError{Err: fmt.Errorf(format, args...)}
}
