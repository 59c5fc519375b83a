// Package webhook posts notices to web addresses, which are secrets, and signs them as Standard Webhooks (standardwebhooks.com) says.
package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/network"
	"github.com/dagbucket/dagbucket/internal/notify"
	"github.com/dagbucket/dagbucket/internal/state"
)

// Options say where a hook posts, and what.
type Options struct {
	// Address and Secret are asked at each send, so that a new address or key needs no restart. Their errors hold neither.
	Address func(context.Context) (string, error)
	Secret  func(context.Context) (string, error) // of the signature; nil: nothing is signed
	Slack   bool                                  // a text, as Slack and others take it, in place of the JSON
	Version string                                // of dagbucket

	Transport http.RoundTripper // nil is one with the usual limits
	Patience  notify.Patience   // without tries it is notify.Patient()
	Now       func() time.Time  // nil is time.Now
}

// hook is one address.
type hook struct {
	Options
	client *http.Client
}

// New returns the Send of an address.
func New(o Options) notify.Send {
	if o.Transport == nil {
		o.Transport = newTransport()
	}
	if o.Patience.Tries == 0 {
		o.Patience = notify.Patient()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &hook{Options: o, client: &http.Client{
		Transport: o.Transport,
		// A redirected POST may become a GET, and its target is none that anybody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return h.send
}

// newTransport keeps no connection: notices are rare, and a function that was frozen finds them dead.
func newTransport() *http.Transport {
	t := network.NewTransport()
	t.DisableKeepAlives = true
	return t
}

func (h *hook) send(ctx context.Context, n *state.Notice) error {
	address, err := h.address(ctx)
	if err != nil {
		return err
	}
	var key []byte
	if h.Secret != nil {
		if key, err = h.key(ctx); err != nil {
			return err
		}
	}
	content := notify.Body(n)
	if h.Slack {
		content = notify.SlackBody(n)
	}
	return h.Patience.Repeat(ctx, func() error { return h.post(ctx, address, key, n.ID, content) })
}

func (h *hook) address(ctx context.Context) (string, error) {
	address, err := h.Address(ctx)
	if err != nil {
		return "", fmt.Errorf("its address: %w", err)
	}
	if address = strings.TrimSpace(address); !isAddress(address) {
		return "", notify.Permanentf("what is stored as its address (not shown) is none: store an https address (plain http only to localhost)")
	}
	return address, nil
}

// isAddress accepts what the configuration accepts.
func isAddress(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	loopback := u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	return u.Scheme == "https" || u.Scheme == "http" && loopback
}

func (h *hook) key(ctx context.Context) ([]byte, error) {
	secret, err := h.Secret(ctx)
	if err != nil {
		return nil, fmt.Errorf("the key of its signature: %w", err)
	}
	return keyOf(secret)
}

func (h *hook) post(ctx context.Context, address string, key []byte, id string, content []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(content))
	if err != nil {
		return notify.Permanentf("its address (not shown) cannot be used: correct it") // err shows it
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "dagbucket/"+h.Version)
	sent := strconv.FormatInt(h.Now().Unix(), 10)
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", sent)
	if key != nil {
		r.Header.Set("Webhook-Signature", sign(key, id, sent, content))
	}
	answer, err := h.client.Do(r)
	if err != nil {
		return unanswered(ctx, err)
	}
	defer answer.Body.Close()
	return judge(answer, address)
}

// maxAnswer is as much of an answer as is read, in bytes.
const maxAnswer = 4 << 10

// word is an answer of Slack, such as "no_service"; a longer one could hold anything.
var word = regexp.MustCompile(`^[a-z]+(_[a-z]+){0,4}$`)

// judge says what an answer means. Of its body one word is shown at most, and only if it is none of the address.
func judge(answer *http.Response, address string) error {
	if answer.StatusCode < 300 {
		return nil // what it says beside that may take its time
	}
	content, _ := io.ReadAll(io.LimitReader(answer.Body, maxAnswer)) // what came is enough
	said := fmt.Sprintf("the webhook answered HTTP %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	if text := strings.TrimSpace(string(content)); len(text) <= 40 && word.MatchString(text) && !strings.Contains(address, text) {
		said += " (" + text + ")"
	}
	switch code := answer.StatusCode; {
	case code < 400:
		return notify.Permanentf("%s: it redirects, which is not followed; give the address that it redirects to", said)
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return &notify.LaterError{Err: fmt.Errorf("%s", said), After: network.RetryAfter(answer.Header)}
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code >= 500:
		return fmt.Errorf("%s", said)
	case code == http.StatusNotFound || code == http.StatusGone:
		return notify.Permanentf("%s: it is there no more; make a new one, or remove the target", said)
	default:
		return notify.Permanentf("%s: it does not take the notice; see that its address, its format and its key are right", said)
	}
}
