package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The kinds of a Target.
const (
	SNS     = "sns"
	PubSub  = "pubsub"
	Webhook = "webhook"
)

// The formats of a webhook's body.
const (
	FormatJSON  = "json"
	FormatSlack = "slack" // a text, as Slack and others take it
)

// Target is one place that notifications go to.
type Target struct {
	Kind      string   // SNS, PubSub or Webhook
	Address   string   // of SNS the topic's ARN, of PubSub its full name, of Webhook its URL: a secret, never to be shown; "" with a Reference
	Reference string   // of Webhook: where its URL is kept; "" with an Address
	Secret    string   // of Webhook: a reference of the key that signs; "": nothing is signed
	Format    string   // of Webhook: FormatJSON or FormatSlack
	Events    []string // what it is told of: some of the words of events, each once
}

// Name tells a target from others, in logs and in the record. It stays the same as long as the target does, and is no secret.
func (t Target) Name() string {
	word, label := t.Kind, t.Address[strings.LastIndexAny(t.Address, ":/")+1:]
	if t.Kind == Webhook {
		label = t.Reference
	}
	if t.Format == FormatSlack {
		word = FormatSlack
	}
	if label != "" {
		word += ":" + plainLabel(label)
	}
	sum := sha256.Sum256([]byte(t.place()))
	return word + "-" + hex.EncodeToString(sum[:4])
}

// String is the name, so that nobody prints an address by mistake.
func (t Target) String() string { return t.Name() }

// GoString is String for %#v.
func (t Target) GoString() string { return t.Name() }

// place is what no two targets of a route have in common.
func (t Target) place() string { return t.Kind + ":" + t.Address + t.Reference }

var notPlain = regexp.MustCompile(`[^A-Za-z0-9._:/#-]`)

func plainLabel(s string) string {
	const longest = 60
	return notPlain.ReplaceAllLiteralString(s[:min(len(s), longest)], "_")
}

// events are the kinds of notices. All but the last are told of unless a target names its own.
var events = []string{"kept", "left_out", "held", "failed", "recovered", "drift", "import_errors", "deployed"}

func defaultEvents() []string { return slices.Clone(events[:len(events)-1]) }

// target reads a place that is written as one text, or as a mapping with what else there is to say of it.
func (r *reader) target(n *yaml.Node, key string) Target {
	var t Target
	to := scalar(&t, aText, parseTarget)
	if n.Kind != yaml.MappingNode {
		to.decode(r, n, key)
		t.Events = defaultEvents()
		return t
	}
	if scheme := schemeAsKey(n); scheme != "" {
		r.problem(key, "has a space after %s:, and so it is a mapping: remove the space", scheme)
		return t
	}
	var secret, format string
	var wanted []string
	r.mapping(n, key, map[string]field{
		"to":     to.required("name the place, such as sns:ARN or webhook:https://…"),
		"secret": scalar(&secret, aText, parseReference),
		"format": scalar(&format, aText, oneOf(FormatJSON, FormatSlack)),
		"events": list(&wanted, func(r *reader, n *yaml.Node, key string) string {
			var event string
			scalar(&event, aText, oneOf(events...)).decode(r, n, key)
			return event
		}),
	})
	r.onlyOfWebhooks(t, key, secret, format)
	t.Secret, t.Events = secret, r.eventsOf(wanted, key)
	if format != "" {
		t.Format = format
	}
	return t
}

// schemeAsKey finds "webhook: https://…" in place of "webhook:https://…".
func schemeAsKey(n *yaml.Node) string {
	if len(n.Content) == 2 && slices.Contains([]string{SNS, PubSub, Webhook, "slack"}, n.Content[0].Value) {
		return n.Content[0].Value
	}
	return ""
}

// onlyOfWebhooks reports settings that would have no effect. t is as the place alone made it.
func (r *reader) onlyOfWebhooks(t Target, key, secret, format string) {
	if t.Kind == "" { // there is no place, which is reported
		return
	}
	if secret != "" && (t.Kind != Webhook || t.Format == FormatSlack) {
		r.problem(key+".secret", "is only for webhook: targets, whose bodies it signs; remove it")
	}
	if format != "" && t.Kind != Webhook {
		r.problem(key+".format", "is only for webhook: targets; remove it")
	}
	if format == FormatJSON && t.Format == FormatSlack {
		r.problem(key+".format", "contradicts slack:; write webhook: in place of slack:, or remove the format")
	}
}

// eventsOf puts the wanted kinds in order; nil are the default.
func (r *reader) eventsOf(wanted []string, key string) []string {
	if wanted == nil {
		return defaultEvents()
	}
	if len(wanted) == 0 {
		r.problem(key+".events", "is empty: list at least one, or remove it for all but deployed")
	}
	return slices.DeleteFunc(slices.Clone(events), func(e string) bool { return !slices.Contains(wanted, e) })
}

// checkNotify refuses two targets at one place: people would be told twice.
func (r *reader) checkNotify(route Route, at string) {
	first := map[string]int{}
	for i, t := range route.Notify {
		key := fmt.Sprintf("%s.notify[%d]", at, i)
		if t.Kind == "" {
			continue
		}
		if other, twice := first[t.place()]; twice {
			r.problem(key, "goes to the same place as %s.notify[%d]: remove one", at, other)
			continue
		}
		first[t.place()] = i
	}
}

var (
	snsTopic = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}$`)
	// pubsubTopic is narrow enough that no part can change the path of the request.
	pubsubTopic = regexp.MustCompile(`^projects/[a-z0-9][a-z0-9.:-]{0,99}/topics/[A-Za-z][A-Za-z0-9_.~+-]{2,254}$`)
)

// parseTarget accepts a place that notifications go to. Webhook addresses are secrets: none is shown.
func parseTarget(s string) (Target, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	t, good, repair := Target{Kind: scheme}, false, ""
	switch scheme {
	case SNS:
		t.Address = rest
		good, repair = snsTopic.MatchString(rest), "write sns: and the topic's ARN, as in sns:arn:aws:sns:eu-west-1:123456789012:dags"
	case PubSub:
		t.Address = rest
		good, repair = pubsubTopic.MatchString(rest), "write pubsub:projects/PROJECT/topics/TOPIC"
	case Webhook:
		t.Format = FormatJSON
		t.Address, t.Reference, good = parseWebhook(rest)
		repair = "write webhook: and an https address (plain http only to localhost), or where the address is kept, as in webhook:env:DAGS_WEBHOOK_URL"
	case "slack":
		t.Kind, t.Format = Webhook, FormatSlack
		_, t.Reference, good = parseWebhook(rest)
		good, repair = good && t.Reference != "", "write slack: and where the webhook's address is kept, as in slack:env:SLACK_WEBHOOK_URL"
	default:
		repair = "write sns:ARN, pubsub:projects/…/topics/…, webhook:https://… or slack:env:NAME"
	}
	if !good {
		return Target{}, errors.New("is not a target for notifications (its value is not shown): " + repair)
	}
	return t, nil
}

// parseWebhook accepts an address, or the reference of where one is kept.
func parseWebhook(s string) (address, reference string, good bool) {
	if _, err := parseReference(s); err == nil {
		return "", s, true
	}
	u, err := url.Parse(s)
	good = err == nil && u.Hostname() != "" && strings.TrimSpace(s) == s &&
		(u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()))
	return s, "", good
}
