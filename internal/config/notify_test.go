package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/state"
)

func TestNotificationTargets(t *testing.T) {
	for s, want := range map[string]Target{
		"sns:arn:aws-cn:sns:cn-north-1:123456789012:dags.fifo": {Kind: "sns", Address: "arn:aws-cn:sns:cn-north-1:123456789012:dags.fifo"},
		"pubsub:projects/acme/topics/dags":                     {Kind: "pubsub", Address: "projects/acme/topics/dags"},
		"webhook:https://hooks.example/a?b=c":                  {Kind: "webhook", Address: "https://hooks.example/a?b=c", Format: "json"},
		"webhook:http://127.0.0.1:80/":                         {Kind: "webhook", Address: "http://127.0.0.1:80/", Format: "json"},
		"webhook:gcp-sm:projects/p/secrets/s/versions/latest":  {Kind: "webhook", Reference: "gcp-sm:projects/p/secrets/s/versions/latest", Format: "json"},
		"slack:aws-ssm:/slack":                                 {Kind: "webhook", Reference: "aws-ssm:/slack", Format: "slack"},
	} {
		got, err := parseTarget(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{
		"", "SECRET", "sns:SECRET", "sns:arn:aws:sqs:eu-west-1:123456789012:SECRET", "pubsub:SECRET", "pubsub:projects/a/topics/../SECRET", "pubsub:projects/a/topics/b?SECRET",
		"webhook:http://SECRET/", "webhook:https:///SECRET", "webhook:http://localhost.evil.example/SECRET", "webhook: https://hooks.example/SECRET", "webhook:https://hooks.example/SECRET ",
		"webhook:https://%zzSECRET", "webhook:SECRET", "webhook:env:SECRET.", "slack:https://SECRET", "slack:SECRET", "https://SECRET/",
	} {
		_, err := parseTarget(s)
		require.ErrorContains(t, err, "is not a target for notifications", "%q", s)
		require.NotContains(t, err.Error(), "SECRET")
	}
}

func TestNamesOfTargets(t *testing.T) {
	for s, want := range map[string]string{
		"sns:arn:aws:sns:eu-west-1:123456789012:dags": "sns:dags-7b7e789f",
		"pubsub:projects/acme/topics/dags":            "pubsub:dags-7f8e4c88",
		"webhook:https://hooks.example/SECRET":        "webhook-8702e23e",
		"slack:env:HOOK":                              "slack:env:HOOK-291c1e0f",
		"webhook:file:/run/é?":                        "webhook:file:/run/__-",
		"webhook:aws-sm:" + strings.Repeat("a", 200):  "webhook:aws-sm:" + strings.Repeat("a", 53) + "-",
	} {
		target, err := parseTarget(s)
		require.NoError(t, err)
		require.Regexp(t, "^"+want, target.Name(), "names are kept in the record: they stay as they are")
		for _, form := range []string{"%v", "%s", "%+v", "%#v", "%q"} {
			require.NotContains(t, fmt.Sprintf(form, target), "SECRET")
			require.NotContains(t, fmt.Sprintf(form, []Target{target}), "SECRET")
		}
	}
}

func TestWhatTheNameOfATargetDoesNotDependOn(t *testing.T) {
	a := Target{Kind: Webhook, Reference: "env:A", Format: FormatJSON}
	b := a
	b.Secret, b.Events = "env:B", []string{"held"}
	require.Equal(t, a.Name(), b.Name())
	b.Reference = "env:B"
	require.NotEqual(t, a.Name(), b.Name())
}

func TestEventsAreTheKindsOfNotices(t *testing.T) {
	require.Equal(t, []string{
		state.NoticeKept, state.NoticeLeftOut, state.NoticeHeld, state.NoticeFailed, state.NoticeRecovered, state.NoticeDrift, state.NoticeImportErrors,
		state.NoticeDeployed,
	}, events)
	require.NotContains(t, defaultEvents(), state.NoticeDeployed)
}

func TestOnePlaceIsToldOnce(t *testing.T) {
	for _, c := range []struct{ notify, want string }{
		{"[slack:env:A, {to: webhook:env:A, events: [held]}]", "routes[0].notify[1] (line 4): goes to the same place as routes[0].notify[0]: remove one"},
		{"[{to: 'webhook:https://h/SECRET'}, slack:env:A, 'webhook:https://h/SECRET']", "routes[0].notify[2] (line 4): goes to the same place as routes[0].notify[0]"},
		{"[slack:env:A, slack:env:B, webhook:https://h/A, 'sns:arn:aws:sns:eu-west-1:123456789012:dags', 'sns:arn:aws:sns:eu-west-2:123456789012:dags']", ""},
	} {
		_, err := loadFile(t, strings.Replace(minimal, "name:", "notify: "+c.notify+", name:", 1), nil)
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, c.want)
		require.ErrorContains(t, err, "has 1 problem:")
		require.NotContains(t, err.Error(), "SECRET")
	}
}
