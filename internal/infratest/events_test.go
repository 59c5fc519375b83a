//go:build infra

package infratest

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/config"
)

// matches evaluates an EventBridge pattern of exact values and prefixes, as described in "Event patterns" of the EventBridge user guide.
func matches(t *testing.T, pattern map[string]any, event any) bool {
	t.Helper()
	fields, _ := event.(map[string]any)
	for key, want := range pattern {
		have, given := fields[key]
		if !given {
			return false
		}
		if inner, ok := want.(map[string]any); ok {
			if !matches(t, inner, have) {
				return false
			}
			continue
		}
		if !slices.ContainsFunc(want.([]any), func(w any) bool {
			if filter, ok := w.(map[string]any); ok {
				require.Equal(t, []string{"prefix"}, slices.Collect(maps.Keys(filter)))
				text, _ := have.(string)
				return strings.HasPrefix(text, filter["prefix"].(string))
			}
			return w == have
		}) {
			return false
		}
	}
	return true
}

// event is a recorded one, of another bucket and key.
func event(t *testing.T, file, bucket, key string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "testdata", "events", "aws", file))
	require.NoError(t, err)
	var e map[string]any
	require.NoError(t, json.Unmarshal(text, &e))
	detail := e["detail"].(map[string]any)
	detail["bucket"] = map[string]any{"name": bucket}
	if object, ok := detail["object"].(map[string]any); ok {
		object["key"] = key
	}
	return e
}

func (i *installed) hasSource(bucket, key string) bool {
	return slices.ContainsFunc(i.config.Routes, func(r config.Route) bool {
		return slices.ContainsFunc(r.Sources, func(s config.Source) bool { return s.URL.Bucket == bucket && strings.HasPrefix(key, s.URL.Prefix) })
	})
}

// notified are the ARNs of the buckets that may send to the queue themselves.
func (i *installed) notified(t *testing.T) (buckets texts) {
	t.Helper()
	for _, p := range i.of("aws_sqs_queue_policy") {
		for _, s := range statements(t, p.text("policy")) {
			if strings.Contains(string(s.Principal), `"s3.amazonaws.com"`) {
				buckets = append(buckets, s.Condition["ArnEquals"]["aws:SourceArn"]...)
			}
		}
	}
	return buckets
}

// TestEventsOfASourceWakeTheFunction: recorded events below each source match a rule that leads to the queue, and others match none.
func TestEventsOfASourceWakeTheFunction(t *testing.T) {
	checked := 0
	for _, i := range installations(t) {
		var patterns []map[string]any
		for _, rule := range i.of("aws_cloudwatch_event_rule") {
			if rule.text("event_pattern") != "" {
				var p map[string]any
				require.NoError(t, json.Unmarshal([]byte(rule.text("event_pattern")), &p))
				patterns = append(patterns, p)
			}
		}
		if i.cloud != "aws" {
			continue
		}
		checked++
		notified := i.notified(t)
		rules := func(e map[string]any) (n int) {
			for _, p := range patterns {
				if matches(t, p, e) {
					n++
				}
			}
			return n
		}
		for _, route := range i.config.Routes {
			for _, source := range route.Sources {
				bucket, prefix := source.URL.Bucket, source.URL.Prefix
				if slices.Contains(notified, "arn:aws:s3:::"+bucket) {
					require.Zero(t, rules(event(t, "eventbridge-created.json", bucket, prefix+"a.py")), "%s: %s would come twice", i.plan, bucket)
					continue
				}
				for _, file := range []string{"eventbridge-created.json", "eventbridge-deleted.json", "eventbridge-delete-marker.json",
					"eventbridge-lifecycle-expiration.json", "eventbridge-restore-completed.json"} {
					require.Equal(t, 1, rules(event(t, file, bucket, prefix+"a/b.py")), "%s: %s of %s", i.plan, file, source.URL)
				}
				require.Zero(t, rules(event(t, "eventbridge-created.json", bucket+"2", prefix+"a.py")), i.plan)
				if beside := strings.TrimSuffix(prefix, "/") + "_old/a.py"; !i.hasSource(bucket, beside) {
					require.Zero(t, rules(event(t, "eventbridge-created.json", bucket, beside)), "%s: %s beside %s", i.plan, beside, source.URL)
				}
			}
		}
		require.Zero(t, rules(event(t, "eventbridge-created.json", i.state, "prod/record.json")), "%s: its own state would wake it", i.plan)
	}
	require.NotZero(t, checked)
}
