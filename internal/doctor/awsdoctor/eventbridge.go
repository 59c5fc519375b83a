package awsdoctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/dagbucket/dagbucket/internal/bucket"
)

// fromEventBridge adds the targets of rules that match changes below the source. AWS itself says what matches.
func (d *Doctor) fromEventBridge(ctx context.Context, source bucket.URL, f *ways) {
	if action, err := d.eachRule(ctx, func(rule types.Rule) (string, error) { return d.rule(ctx, source, rule, f) }); err != nil {
		c := cannotLook("notifications", action, err)
		f.unsure = &c
		return
	}
	if len(f.created) == 0 {
		f.notes = append(f.notes, "EventBridge is on, and no enabled rule of the default bus is for them")
		f.repair = cmp.Or(f.repair, fmt.Sprintf("apply Terraform again, or give the default bus a rule for Object Created and Object Deleted of %s below %q "+
			"that sends to the function's queue", source.Bucket, source.Prefix))
	}
}

// eachRule visits every rule. Its error, or visit's, comes with the action that failed.
func (d *Doctor) eachRule(ctx context.Context, visit func(types.Rule) (action string, err error)) (action string, err error) {
	var next *string
	for {
		page, err := d.events.ListRules(ctx, &eventbridge.ListRulesInput{NextToken: next})
		if err != nil {
			return "events:ListRules", err
		}
		for _, rule := range page.Rules {
			if action, err := visit(rule); err != nil {
				return action, err
			}
		}
		if next = page.NextToken; next == nil {
			return "", nil
		}
	}
}

func (d *Doctor) rule(ctx context.Context, source bucket.URL, rule types.Rule, f *ways) (action string, err error) {
	pattern := aws.ToString(rule.EventPattern)
	if !strings.Contains(pattern, "aws.s3") && !strings.Contains(pattern, source.Bucket) {
		return "", nil
	}
	var matches [2]bool
	for i, kind := range []string{"Object Created", "Object Deleted"} {
		sample := d.sample(source, kind)
		answer, err := d.events.TestEventPattern(ctx, &eventbridge.TestEventPatternInput{Event: &sample, EventPattern: &pattern})
		if err != nil {
			return "events:TestEventPattern", err
		}
		matches[i] = answer.Result
	}
	switch {
	case !matches[0] && !matches[1]:
		return "", nil
	case rule.State == types.RuleStateDisabled:
		f.notes = append(f.notes, fmt.Sprintf("the rule %q is disabled", aws.ToString(rule.Name)))
		f.repair = "aws events enable-rule --name " + aws.ToString(rule.Name)
		return "", nil
	}
	targets, err := d.events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: rule.Name})
	if err != nil {
		return "events:ListTargetsByRule", err
	}
	if len(targets.Targets) == 0 {
		f.notes = append(f.notes, fmt.Sprintf("the rule %q has no target", aws.ToString(rule.Name)))
	}
	for _, t := range targets.Targets {
		f.add(aws.ToString(t.Arn), senderEventBridge, matches[0], matches[1])
	}
	return "", nil
}

// sample is an event as S3 sends it, of a file below the source.
func (d *Doctor) sample(source bucket.URL, kind string) string {
	account := d.account
	if account == "" {
		account = "123456789012"
	}
	event, _ := json.Marshal(map[string]any{ // cannot fail
		"version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": kind, "source": "aws.s3", "account": account,
		"time": "2026-01-01T00:00:00Z", "region": d.config.Region, "resources": []string{"arn:aws:s3:::" + source.Bucket},
		"detail": map[string]any{"version": "0", "bucket": map[string]any{"name": source.Bucket},
			"object": map[string]any{"key": source.Prefix + "doctor.py", "size": 1, "sequencer": "00617F08299329D189"}},
	})
	return string(event)
}
